from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from ctcnet.cli.leave_out import LeaveOneOut
from ctcnet.errors import ModelFileError
from ctcnet.training.shipped_weights import read_card

pytestmark = [pytest.mark.unit, pytest.mark.usefixtures("shipped_models")]


def _train(card, start_from, folder, sha256="ab"):
    settings = {"data": {}, "model": {"start_from": start_from}}
    if sha256:
        settings["started_from"] = {"model": start_from, "sha256": sha256}
    return LeaveOneOut(replace(card, training_settings=settings), Path("m.csv"), card.panel, None, folder, "cpu")


def test_model_tuned_from_a_shipped_one_is_trained_from_it_again(two_channel_card, tmp_path, shipped_models):
    _train(two_channel_card, "ctcnet-s", tmp_path, read_card(shipped_models / "ctcnet-s").weights_sha256)
    settings = yaml.safe_load((tmp_path / "settings.yaml").read_text())
    assert settings["model"] == {"start_from": "ctcnet-s"}
    assert "started_from" not in settings  # no option of the training command line


def test_model_tuned_from_a_checkpoint_is_refused(two_channel_card, tmp_path):
    with pytest.raises(ModelFileError, match="weights that are not at hand") as caught:
        _train(two_channel_card, "best.ckpt", tmp_path)
    assert "ctcnet-s" in str(caught.value.expected)
    assert not list(tmp_path.glob("*.yaml"))


@pytest.mark.parametrize("sha256", ["ab", ""])
def test_model_tuned_from_other_weights_of_a_shipped_name_is_refused(
    two_channel_card, tmp_path, shipped_models, sha256
):
    with pytest.raises(ModelFileError, match="not those of the shipped 'ctcnet-s'") as caught:
        _train(two_channel_card, "ctcnet-s", tmp_path, sha256)
    assert read_card(shipped_models / "ctcnet-s").weights_sha256 in str(caught.value.expected)
    assert not list(tmp_path.glob("*.yaml"))


def test_model_that_another_network_taught_is_refused(two_channel_card, tmp_path):
    settings = {"data": {}, "model": {"start_from": None}, "taught_by": {"model": "large", "sha256": "ab"}}
    card = replace(two_channel_card, training_settings=settings)
    with pytest.raises(ModelFileError, match="taught by a network that saw every batch") as caught:
        LeaveOneOut(card, Path("m.csv"), card.panel, None, tmp_path, "cpu")
    assert "large" in str(caught.value.found)
    assert not list(tmp_path.glob("*.yaml"))
