from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from ctcnet.cli.leave_out import LeaveOneOut
from ctcnet.errors import ModelFileError

pytestmark = [pytest.mark.unit, pytest.mark.usefixtures("shipped_models")]


def _train(card, start_from, folder):
    settings = {"data": {}, "model": {"start_from": start_from}, "started_from": {"model": start_from, "sha256": "ab"}}
    return LeaveOneOut(replace(card, training_settings=settings), Path("m.csv"), card.panel, None, folder, "cpu")


def test_model_tuned_from_a_shipped_one_is_trained_from_it_again(two_channel_card, tmp_path):
    _train(two_channel_card, "ctcnet-s", tmp_path)
    settings = yaml.safe_load((tmp_path / "settings.yaml").read_text())
    assert settings["model"] == {"start_from": "ctcnet-s"}
    assert "started_from" not in settings  # no option of the training command line


def test_model_tuned_from_a_checkpoint_is_refused(two_channel_card, tmp_path):
    with pytest.raises(ModelFileError, match="weights that are not at hand") as caught:
        _train(two_channel_card, "best.ckpt", tmp_path)
    assert "ctcnet-s" in str(caught.value.expected)
    assert not list(tmp_path.glob("*.yaml"))
