import json
from dataclasses import replace

import numpy as np
import pytest
from scored_factory import FIVE, make_scored
from sklearn import metrics as reference

from ctcnet.errors import StatisticsError
from ctcnet.evaluation.summary import summarise
from ctcnet.labels import LabelSchema

pytestmark = pytest.mark.unit
PRIOR = [0.2] * 5


def test_contract_of_the_keys():
    scored = make_scored(300, batches=("north", "south"))
    found = summarise(scored, PRIOR, resamples=50)
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    for name in ("macro_f1", "balanced_accuracy", "accuracy", "cohen_kappa", "ece"):
        low, high = found["intervals"][name]
        assert low <= high
        assert isinstance(found[name], float)
        if name != "ece":  # resampling adds noise, and noise adds to an absolute error
            assert low <= found[name] <= high
    for name in FIVE.classes:
        entry, interval = found["per_class"][name], found["intervals"]["per_class"][name]
        assert set(entry) == {"precision", "recall", "f1", "average_precision", "support"}
        for figure in ("precision", "recall", "f1", "average_precision"):
            assert interval[figure][0] <= entry[figure] <= interval[figure][1]
    expected = reference.confusion_matrix(scored.truth, scored.called)
    assert found["confusion"] == expected.tolist()
    assert found["classes"] == list(FIVE.classes)
    assert set(found["recall_at_false_calls"]) == {"1", "10", "100"}
    assert all("reason" in entry for entry in found["recall_at_false_calls"].values())
    assert set(found["per_batch"]) == {"north", "south"}
    assert found["per_batch"]["north"]["crops"] == 150
    assert found["levels"] == {"cartridge": 300}
    assert found["contains_ctc"]["negatives_mix"].keys() == {"leukocyte", "debris"}
    assert found["unassigned"]["crops"] == scored.unassigned.sum()


def test_same_seed_same_content_and_zero_is_a_seed():
    scored = make_scored(200)
    assert summarise(scored, PRIOR, resamples=50, seed=0) == summarise(scored, PRIOR, resamples=50, seed=0)
    other = summarise(scored, PRIOR, resamples=50, seed=1)
    assert other["intervals"] != summarise(scored, PRIOR, resamples=50, seed=0)["intervals"]


def test_schema_without_rollup_and_without_batches():
    schema = LabelSchema("phases", ("G1", "S", "G2"))
    found = summarise(make_scored(60, schema=schema), [1 / 3] * 3, resamples=0)
    assert "recall_at_false_calls" not in found
    assert "calibration" not in found
    assert found["per_batch"] == {}
    assert found["intervals"]["accuracy"] is None
    assert "no resamples" in found["intervals_method"]["reason"]


def test_absent_class_has_no_figures():
    scored = make_scored(200)
    found = summarise(scored.subset(scored.truth != 4), PRIOR, resamples=20)
    assert found["classes_absent"] == ["debris"]
    assert found["per_class"]["debris"]["recall"] is None
    assert found["per_class"]["debris"]["support"] == 0
    assert found["per_class"]["debris"]["average_precision"] is None
    assert found["intervals"]["per_class"]["debris"]["f1"] is None


def test_mix_of_the_set_shifts_the_log_odds_expected():
    scored = make_scored(300)
    rare = summarise(scored, [0.001, 0.9, 0.001, 0.001, 0.097], resamples=0)["calibration"]
    share = rare["fraction_in_this_set"]
    expected = np.log(share / (1 - share)) - np.log(0.003 / 0.997)
    assert rare["shift_expected_from_mix"] == pytest.approx(expected)


def test_rows_that_do_not_add_up_are_refused():
    scored = make_scored(20)
    with pytest.raises(StatisticsError, match="add up"):
        replace(scored, probabilities=scored.probabilities * 2)
    with pytest.raises(StatisticsError, match="no crops"):
        scored.subset(np.zeros(20, bool))
