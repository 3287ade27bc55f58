from dataclasses import replace

import numpy as np
import pytest

from ctcnet.pretrained import simulated_crops as module
from ctcnet.pretrained.simulated_crops import simulated_crops
from ctcnet.runtime.crop_prediction import match_channels

pytestmark = pytest.mark.unit


@pytest.fixture
def card(two_channel_card, monkeypatch):
    for name, value in (("PIECES", 2), ("GROUPS", 2), ("GROUP_CROPS", 40)):
        monkeypatch.setattr(module, name, value)
    return replace(two_channel_card, crop_size_px=32, pixel_size_um=0.64)


def test_counts_and_levels_are_those_of_cartridges(card):
    crops = simulated_crops(card)
    pixels = crops.read(np.arange(len(crops)), card.pixel_size_um, card.crop_size_px)
    assert pixels.dtype == np.uint16
    assert pixels.shape == (160, 2, 32, 32)
    assert pixels.max() <= card.panel.full_scale
    assert len(set(crops.group)) == 4
    assert set(crops.labels) == set(range(5))
    levels = np.concatenate([crops.background, crops.scale], axis=1)
    assert len(np.unique(levels, axis=0)) == 4, "one pair for each cartridge"
    normalised = (pixels - crops.background[:, :, None, None]) / crops.scale[:, :, None, None]
    leukocytes = normalised[crops.labels == card.labels.index("leukocyte", where="test")]
    assert 0.3 < np.median(leukocytes[:, 0].max(axis=(1, 2))) < 6, "their nuclei have the cartridge's level"
    assert match_channels(crops.panel, card) == [0, 1]
    again = simulated_crops(card)
    np.testing.assert_array_equal(again.read(np.arange(160), None, 32), pixels)


def test_crops_that_are_normalised_one_by_one_have_no_levels(card):
    levels = replace(card.normalization, mode="per_crop", background=None, scale=None)
    crops = simulated_crops(replace(card, normalization=levels))
    assert np.isnan(crops.background).all()
    assert np.isnan(crops.scale).all()
    pixels = crops.read(np.arange(len(crops)), None, 32).astype(float)
    assert np.median(pixels.max(axis=(2, 3)) - pixels.min(axis=(2, 3))) > card.panel.full_scale / 4
