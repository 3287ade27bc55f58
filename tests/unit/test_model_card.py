import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ctcnet.errors import ModelFileError
from ctcnet.labels import load_schema
from ctcnet.model_card import (
    ConformalCard,
    ModelCard,
    NormalizationCard,
    TrainingDataCard,
    hash_group,
    panel_limits,
)
from ctcnet.model_card_reading import card_from_dict
from ctcnet.panel import load_panel
from ctcnet.resources import resource_dir

pytestmark = pytest.mark.unit


def _card() -> ModelCard:
    panel = load_panel("cellsearch4")
    labels = load_schema("five_class")
    data = TrainingDataCard("ab" * 32, True, 100, 4, dict.fromkeys(labels.classes, 20), (hash_group("patient 1"),))
    return ModelCard(
        name="test",
        backbone="compact",
        panel=panel,
        labels=labels,
        pixel_size_um=0.64,
        crop_size_px=64,
        normalization=NormalizationCard("cartridge", (1.0,) * 4, (2.0,) * 4, 64.0),
        temperature=1.1,
        training_prior=(0.2,) * 5,
        unassigned_below=0.5,
        training_data=data,
        software_version="0.1.0",
        limits=panel_limits(panel, labels),
    )


def test_card_survives_json():
    card = _card()
    assert card_from_dict(json.loads(json.dumps(card.to_dict()))) == card


def test_conformal_sets_and_atypicality_survive_json_and_stand_on_the_page():
    thresholds = tuple(float(np.float32(value)) for value in (0.1, 0.2, 0.3, 0.4, 1 / 3))
    card = replace(_card(), conformal=ConformalCard((0.01,) * 5, thresholds, (4000,) * 5), atypicality_quantile=0.998)
    assert card_from_dict(json.loads(json.dumps(card.to_dict()))) == card
    assert "alpha 0.01, 0.01, 0.01, 0.01, 0.01; ctc from p = 0.1," in card.to_markdown()
    assert "score above 1, as 0.2 % of typical crops have" in card.to_markdown()


def test_cards_of_before_conformal_sets_load():
    content = _card().to_dict()
    assert "conformal" not in content
    assert "atypicality_quantile" not in content
    assert card_from_dict(content).conformal is None
    assert card_from_dict({**content, "conformal": None, "atypicality_quantile": None}) == _card()


@pytest.mark.parametrize("conformal", [{"alpha": 0.1}, [1], {"alpha": 0.1, "thresholds": 3, "calibration_crops": []}])
def test_malformed_conformal_sets_are_refused(conformal):
    with pytest.raises(ModelFileError, match="malformed"):
        card_from_dict({**_card().to_dict(), "conformal": conformal})


def test_limits_name_the_missing_markers():
    assert any("neutrophil" in limit for limit in _card().limits)
    assert panel_limits(load_panel("ctc5"), load_schema("five_class")) == ()


def test_page_says_whether_a_temperature_was_fitted():
    assert "| 1.1, fitted on validation data |" in _card().to_markdown()
    assert "| 1, not fitted |" in replace(_card(), temperature=1.0).to_markdown()


@pytest.mark.parametrize("name", ["model", "model_cellsearch4"])
def test_pages_beside_the_shipped_files_are_those_of_their_cards(name: str):
    folder = resource_dir("models") / "ctcnet-s"
    card = card_from_dict(json.loads((folder / f"{name}.card.json").read_text(encoding="utf-8")))
    page = (folder / f"{name}.README.md").read_text(encoding="utf-8")
    assert page == card.to_markdown()
    assert "fitted on simulated crops of this panel, none of them trained on |" in page
    assert "validation data" not in page


def test_page_says_research_use_and_simulated(tmp_path: Path):
    _card().write(tmp_path)
    text = (tmp_path / "README.md").read_text()
    assert "research use only" in text
    assert "simulated cells" in text
    assert json.loads((tmp_path / "card.json").read_text())["name"] == "test"


@pytest.mark.parametrize(
    "changes",
    [
        {"temperature": 0.0},
        {"training_prior": (0.5, 0.5)},
        {"training_prior": (0.1,) * 5},
        {"crop_size_px": 0},
        {"conformal": ConformalCard((0.1,) * 5, (0.5,) * 4, (10,) * 5)},
        {"conformal": ConformalCard((0.1,) * 5, (0.5,) * 5, (10,) * 4)},
        {"conformal": ConformalCard((0.1,) * 5, (0.5, 0.5, 0.5, 0.5, 1.5), (10,) * 5)},
        {"conformal": ConformalCard((0.0,) * 5, (0.5,) * 5, (10,) * 5)},
        {"atypicality_quantile": 1.0},
        {"folded": {"ctc": "nothing"}},
        {"folded": {"ctc": "ctc"}},
        {"folded": ["ctc"]},
        {"normalization": NormalizationCard("cartridge", None, None, 1.0)},
        {"normalization": NormalizationCard("other", (1.0,) * 4, (1.0,) * 4, 1.0)},
        {"normalization": NormalizationCard("fixed", (1.0,) * 3, (1.0,) * 4, 1.0)},
        {"normalization": NormalizationCard("fixed", (1.0,) * 4, (0.0,) * 4, 1.0)},
        {"normalization": NormalizationCard("fixed", (1.0,) * 4, (), 1.0)},
        {"normalization": NormalizationCard("cartridge", (1.0,) * 4, None, 1.0)},
        {"guard_band": "wide"},
        {"guard_band": 0.03},
        {"guard_band": -0.001},
        {"unassigned_below": float("nan")},
        {"temperature": 10**400},
        {"licence": None},
        {"validation": [0.9]},
    ],
)
def test_a_card_that_contradicts_itself_is_refused(changes):
    with pytest.raises(ModelFileError, match="contradicts"):
        card_from_dict(replace(_card(), **changes).to_dict())


@pytest.mark.parametrize(
    "changes",
    [{"simulated": "yes"}, {"sha256": 7}, {"crops_per_class": [20] * 5}, {"crops_per_class": {"ctc": "many"}}],
)
def test_training_data_of_other_types_are_refused(changes):
    content = _card().to_dict()
    with pytest.raises(ModelFileError, match="contradicts"):
        card_from_dict({**content, "training_data": {**content["training_data"], **changes}})


def test_levels_too_large_for_a_float_are_refused():
    content = _card().to_dict()
    content["normalization"]["scale"][0] = 10**400
    with pytest.raises(ModelFileError, match="malformed"):
        card_from_dict(content)


def test_unknown_and_missing_keys_are_named():
    content = _card().to_dict()
    del content["backbone"]
    content["colour"] = "red"
    with pytest.raises(ModelFileError, match="missing backbone; unknown colour"):
        card_from_dict(content)


def test_a_newer_format_is_refused():
    with pytest.raises(ModelFileError, match="another format"):
        card_from_dict({**_card().to_dict(), "card_format": 99})
