"""A model meets a cartridge: channels by name, levels from the cartridge or the model, never mixed."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from ctcnet.errors import CartridgeError, ModelPanelError
from ctcnet.panel import Channel, Panel
from ctcnet.runtime import OnnxPredictor, Predictions
from ctcnet.runtime.predictions import CPU_BATCH_SIZE
from ctcnet.scan.cartridge import Cartridge, Frame
from ctcnet.scan.pipeline.classification import CropClassifier, model_channels
from ctcnet.scan.pipeline.prologue import describe_levels, levels_of_model, sample_of

pytestmark = pytest.mark.unit

PANEL = Panel("three", (Channel("ck", "epithelial"), Channel("FITC", "none"), Channel("dapi", "nucleus")), 12, 0.5)


NO_SAMPLE = np.zeros(0, dtype=np.int64)


def cartridge(panel: Panel = PANEL, frames: int = 1) -> Cartridge:
    places = tuple(Frame(k + 1, 0, k, 0.0, 0.0) for k in range(frames))
    return Cartridge(
        "c", Path("c"), "folder", "folder", panel, 0.5, 64, 64, places, (), lambda index: np.zeros(0)
    )  # fmt: skip


def levels(scale: float | None = 50.0) -> dict:
    entry = {"background": 10.0, "scale": scale, "noise": 1.0}
    return {"source": "measured", "leukocytes": 100, "levels": {"ck": entry, "dapi": entry}, "notes": []}


def test_channels_are_matched_by_name_and_others_are_not_fed(two_channel_card):
    assert model_channels(PANEL, two_channel_card) == [2, 0]


def test_a_missing_channel_lists_both_sides(two_channel_card):
    panel = Panel("one", (Channel("DAPI", "nucleus"),), 12, 0.5)
    with pytest.raises(ModelPanelError, match="CK") as error:
        model_channels(panel, two_channel_card)
    assert error.value.found == "DAPI"


def test_a_channel_of_another_role_is_refused(two_channel_card):
    panel = Panel("odd", (Channel("DAPI", "nucleus"), Channel("CK", "target")), 12, 0.5)
    with pytest.raises(ModelPanelError, match="role"):
        model_channels(panel, two_channel_card)


def test_levels_of_the_cartridge_go_to_the_model_in_its_order(two_channel_card):
    background, scale, source, notes = levels_of_model(levels(), two_channel_card, cartridge(), [2, 0])
    assert source == "cartridge"
    assert (background.tolist(), scale.tolist(), notes) == ([10.0, 10.0], [50.0, 50.0], [])


def test_levels_not_known_are_the_models_and_said(two_channel_card):
    background, scale, source, (note,) = levels_of_model(levels(None), two_channel_card, cartridge(), [2, 0])
    assert (background, scale, source, note.flag) == (None, None, "model", "model_levels")


def test_the_models_levels_are_not_those_of_another_bit_depth(two_channel_card):
    with pytest.raises(CartridgeError, match="bit depth"):
        levels_of_model(levels(None), two_channel_card, cartridge(replace(PANEL, bit_depth=8)), [2, 0])


def test_a_model_of_the_mode_per_crop_says_so(two_channel_card):
    card = replace(
        two_channel_card,
        normalization=replace(two_channel_card.normalization, mode="per_crop", background=None, scale=None),
    )
    _, _, source, (note,) = levels_of_model(levels(), card, cartridge(), [2, 0])
    assert (source, note.flag) == ("per_crop", "per_crop_levels")


def test_a_model_of_fixed_levels_uses_its_own_and_says_so_where_others_were_given(two_channel_card):
    card = replace(two_channel_card, normalization=replace(two_channel_card.normalization, mode="fixed"))
    assert levels_of_model(levels(), card, cartridge(), [2, 0]) == (None, None, "model", [])
    *_, (note,) = levels_of_model(levels() | {"source": "given"}, card, cartridge(), [2, 0])
    assert note.flag == "unused_levels"
    with pytest.raises(CartridgeError, match="fixed levels") as error:
        levels_of_model(levels(), card, cartridge(replace(PANEL, bit_depth=16)), [2, 0])
    assert "--levels" not in str(error.value)


@pytest.mark.parametrize(("frames", "expected"), [(1, [0]), (3, [0, 1, 2]), (180, list(range(10, 180, 20)))])
def test_the_sample_is_spread_evenly(frames, expected):
    assert sample_of(cartridge(frames=frames)) == expected


def test_levels_are_described_in_a_line():
    line = describe_levels("c1", levels(None))
    assert "c1" in line
    assert "100 leukocytes" in line
    assert "ck 10 + not known" in line


def test_crops_are_classified_in_batches_as_the_predictor_does(write_linear_model):
    predictor = OnnxPredictor(write_linear_model())
    crops = np.random.default_rng(0).integers(0, 4096, (CPU_BATCH_SIZE + 3, 2, 8, 8)).astype(np.uint16)
    background, scale = np.array([90.0, 40.0], np.float32), np.array([300.0, 200.0], np.float32)
    frames = [torch.from_numpy(part) for part in np.split(crops, [5, 5, CPU_BATCH_SIZE - 1])]
    found = CropClassifier(predictor, background, scale).classify(frames, NO_SAMPLE)
    expected = predictor.predict(crops, background, scale)
    np.testing.assert_allclose(found.probabilities, expected.probabilities, atol=1e-6)
    np.testing.assert_array_equal(found.unassigned, expected.unassigned)


@pytest.mark.parametrize("sizes", [[], [0], [1], [64], [63, 1], [50, 50, 50], [64, 64, 5], [3, 0, 200, 64]])
def test_batches_hold_every_crop_once_and_in_order(write_linear_model, sizes):
    seen = []

    class Recorder(OnnxPredictor):
        def predict(self, crops, background=None, scale=None):
            seen.append(crops[:, 0, 0, 0].tolist())
            return super().predict(crops, background, scale)

    numbers = torch.arange(sum(sizes), dtype=torch.int32).to(torch.uint16)[:, None, None, None].expand(-1, 2, 8, 8)
    classifier = CropClassifier(Recorder(write_linear_model()), None, None)
    found = classifier.classify(list(numbers.split(sizes)), NO_SAMPLE)
    assert len(found.probabilities) == sum(sizes)
    assert [number for batch in seen for number in batch] == list(range(sum(sizes)))
    assert all(len(batch) == CPU_BATCH_SIZE for batch in seen[:-1])
    assert all(batch for batch in seen)


def test_no_crops(write_linear_model):
    found = CropClassifier(OnnxPredictor(write_linear_model()), None, None).classify(
        [torch.zeros(0, 2, 8, 8, dtype=torch.uint16)], NO_SAMPLE
    )
    assert found.probabilities.shape == (0, 5)


@pytest.mark.parametrize("sizes", [[200], [3, 0, 130, 67]])
def test_embeddings_are_those_of_the_sample(write_linear_model, sizes):
    predictor = OnnxPredictor(write_linear_model())
    crops = np.random.default_rng(0).integers(0, 4096, (200, 2, 8, 8)).astype(np.uint16)
    expected = predictor.predict(crops).embedding
    frames = list(torch.from_numpy(crops).split(sizes))
    for rows in ([0, 63, 64, 130, 199], [], list(range(200))):
        found = CropClassifier(predictor, None, None).classify(frames, np.array(rows, np.int64)).embedding
        np.testing.assert_allclose(found, expected[rows], atol=1e-6)


class WideEmbeddings:
    """Predictor whose embeddings would be the most of what is held: 4 kB for each crop."""

    batch_size = 64

    def __init__(self, card):
        self.card, self.cartridge_reference = card, True

    def predict(self, crops, background=None, scale=None):
        count = len(crops)
        p = np.full((count, 5), 0.2, np.float32)
        return Predictions(p, np.zeros(count, bool), p[:, 0].copy(), np.ones((count, 1024), np.float32))


def test_embeddings_of_other_crops_are_not_held(two_channel_card):
    classifier = CropClassifier(WideEmbeddings(two_channel_card), None, None)
    crops, sampled = torch.zeros(10_000, 2, 8, 8, dtype=torch.uint16), np.arange(0, 10_000, 100)
    tracemalloc.start()
    found = classifier.classify([crops], sampled)
    peak_mb = tracemalloc.get_traced_memory()[1] / 1e6
    tracemalloc.stop()
    assert found.embedding.shape == (100, 1024)
    assert peak_mb < 8  # all of them are 41 MB
