import shutil
from dataclasses import replace

import numpy as np
import pytest

from ctcnet.errors import ModelFileError
from ctcnet.export.parity import random_crops
from ctcnet.panel import load_panel
from ctcnet.pretrained import calibration, specialise
from ctcnet.pretrained.stored_calibrations import write_calibrations
from ctcnet.training.shipped_weights import CALIBRATIONS_FILE, read_shipped, write_card

pytestmark = pytest.mark.unit

PANEL = load_panel("cellsearch4").network_panel()
WITH_CARTRIDGES = calibration.CalibrationSize(2, 2, 30)


@pytest.fixture
def stored(shipped_models, tmp_path, monkeypatch):
    """A copy of the stand-in that holds a calibration of one panel, and where calibrating again is an error."""
    monkeypatch.setattr(calibration, "LEAST_LEUKOCYTES", 20)
    folder = shutil.copytree(shipped_models / "ctcnet-s", tmp_path / "ctcnet-s")
    shipped = read_shipped(folder)
    network = specialise.panel_network(shipped, PANEL, "cartridge")
    fitted = calibration.calibrate(shipped.card, network, PANEL, "cartridge", WITH_CARTRIDGES)
    return write_calibrations(shipped, {PANEL: fitted})


def test_stored_calibration_gives_the_answers_of_a_fresh_one_without_simulating(stored, monkeypatch):
    fresh = specialise.specialise(replace(stored, card=replace(stored.card, calibrations_sha256=None)), PANEL)
    monkeypatch.setattr(specialise, "calibrate", lambda *_: pytest.fail("simulated again"))
    read = specialise.specialise(stored, load_panel("cellsearch4"))
    assert read.card == fresh.card
    assert read.cartridge_reference is not None
    assert fresh.cartridge_reference is None
    crops = random_crops(read.card, 16, np.random.default_rng(0))
    for name in ("probabilities", "atypicality", "unassigned"):
        np.testing.assert_array_equal(getattr(read.predict(crops), name), getattr(fresh.predict(crops), name))


def test_a_panel_without_a_stored_calibration_is_calibrated(stored, monkeypatch):
    asked = []

    def calibrate(card, network, panel, mode):
        asked.append((panel, mode))
        return calibration.calibrate(card, network, panel, mode)

    monkeypatch.setattr(specialise, "calibrate", calibrate)
    panel = load_panel("hdsca4").network_panel()
    assert specialise.specialise(stored, panel).card.panel == panel
    assert asked == [(panel, "cartridge")]


def test_a_changed_or_missing_file_is_refused(stored):
    path = stored.folder / CALIBRATIONS_FILE
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(ModelFileError, match="not the file that the card describes"):
        specialise.specialise(stored, PANEL)
    path.unlink()
    with pytest.raises(ModelFileError, match="cannot be read"):
        specialise.specialise(stored, PANEL)


def test_card_keeps_the_hash(stored):
    write_card(stored.folder, stored.card)
    assert read_shipped(stored.folder).card.calibrations_sha256 == stored.card.calibrations_sha256
