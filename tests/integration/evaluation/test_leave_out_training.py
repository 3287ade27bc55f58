from dataclasses import replace

import pytest
import yaml
from stain_model import SIZE, StainModel, write_crops

from ctcnet.cli.leave_out import LeaveOneOut
from ctcnet.errors import ModelFileError, SettingError
from ctcnet.model_card import hash_group
from ctcnet.resources import resource_dir

pytestmark = pytest.mark.integration


@pytest.fixture
def trainer(tmp_path):
    model = StainModel()
    settings = yaml.safe_load((resource_dir("configs") / "five_class.yaml").read_text())
    del settings["run_dir"]
    settings["trainer"] |= {"max_epochs": 1, "enable_progress_bar": False, "accelerator": "cpu"}
    settings["data"] |= {"crop_size_px": SIZE, "manifest": "elsewhere.csv", "least_steps_per_epoch": 1}
    card = replace(model.card, training_settings=settings)
    (tmp_path / "runs").mkdir()
    return LeaveOneOut(card, write_crops(tmp_path), card.panel, None, tmp_path / "runs", "cpu")


def test_training_follows_the_card_and_never_sees_the_batch(trainer):
    predictor, sha256 = trainer("site-A")
    card = predictor.card
    assert len(sha256) == 64
    assert card.labels.classes == trainer.card.labels.classes
    assert card.crop_size_px == SIZE
    seen = set(card.training_data.group_hashes)
    assert seen
    assert seen <= {hash_group(f"patient-{odd}") for odd in (1, 3, 5)}


def test_training_that_fails_is_an_error(trainer):
    with pytest.raises(SettingError, match="site-Z"):
        trainer("site-Z")


def test_card_without_settings_cannot_train(tmp_path):
    card = StainModel().card
    with pytest.raises(ModelFileError, match="training settings"):
        LeaveOneOut(card, tmp_path / "m.csv", card.panel, None, tmp_path, "cpu")
