import json
from dataclasses import replace

import numpy as np
import pytest

from ctcnet.cli.prediction_table import prediction_table, table_metadata
from ctcnet.model_card import ConformalCard
from ctcnet.runtime import Predictions

pytestmark = pytest.mark.unit


def test_conformal_sets_bring_their_columns(two_channel_card):
    card = replace(two_channel_card, conformal=ConformalCard((0.1,) * 5, (0.3,) * 5, (10,) * 5))
    p = np.array([[0.9, 0.1, 0, 0, 0], [0.4, 0.6, 0, 0, 0], [0, 0.3, 0, 0, 0.7]], np.float32)
    atypicality = np.array([0.5, 1.5, 0.1], np.float32)
    answers = Predictions(p, np.array([False, True, True]), atypicality, np.zeros((3, 0)))
    paths, levels = np.array(["a", "b", "c"]), np.array(["model"] * 3)
    table = prediction_table(paths, answers, levels, card)
    assert table.column_names[-3:] == ["atypicality", "set", "review"]
    assert table["set"].to_pylist() == ["ctc", "ctc|leukocyte", "leukocyte|debris"]
    assert table["review"].to_pylist() == [False, True, False]
    assert table["atypicality"].to_pylist() == pytest.approx([0.5, 1.5, 0.1])
    plain = prediction_table(paths, answers, levels, two_channel_card)
    assert plain.column_names[-1] == "atypicality"


def test_metadata_name_the_classes_that_are_not_told(two_channel_card):
    folded = {"ctc_platelet_cluster": "ctc"}
    for card, expected in ((replace(two_channel_card, folded=folded), folded), (two_channel_card, {})):
        assert json.loads(table_metadata("ab", card, card.panel)["not_told"]) == expected
