from dataclasses import replace

import numpy as np
import pytest
import torch

from ctcnet.contract.golden_sample import golden_from_text
from ctcnet.export.golden_crops import MOST_CROPS, cell_crops, golden_sample
from ctcnet.normalization import normalize
from ctcnet.runtime import OnnxPredictor
from ctcnet.uncertainty import typical_features

pytestmark = pytest.mark.unit

UINT16 = np.dtype(np.uint16)


@pytest.mark.parametrize("mode", ["cartridge", "per_crop"])
def test_sample_calls_for_several_decisions_and_levels(make_predictor, mode):
    predictor = make_predictor(mode, uncertain=True)
    levels = predictor.card.normalization
    if levels.mode == "cartridge":
        own = np.array(levels.background, np.float32), np.array(levels.scale, np.float32)
        cells = normalize(cell_crops(predictor.card, 200, np.random.default_rng(1)).astype(np.float32), *own)
        half = typical_features(predictor.network, [torch.from_numpy(cells)])
        predictor.atypicality = predictor.atypicality.with_quantile(half, 0.5)  # one cell in two is typical
    sample = golden_sample(predictor, UINT16, 1e-4)
    assert len(sample.crops) == MOST_CROPS
    none, given, some = sample.cases
    assert np.isnan(none.background).all()
    assert np.isfinite(given.scale).all()
    assert np.isnan(some.scale).tolist() == [True, False]
    assert not np.array_equal(none.probabilities, given.probabilities)
    unassigned = np.concatenate([case.unassigned for case in sample.cases])
    assert unassigned.any()
    assert mode == "per_crop" or not unassigned.all()
    assert (none.atypicality > 1).any()


def test_sample_calls_for_several_classes(write_linear_model):
    case = golden_sample(OnnxPredictor(write_linear_model()), UINT16, 1e-4).cases[0]
    assert {0, 1, 4} <= set(case.probabilities.argmax(axis=1))


def test_same_model_gives_the_same_sample(make_predictor):
    texts = {golden_sample(make_predictor(), UINT16, 1e-4).to_text() for _ in range(2)}
    assert len(texts) == 1


def test_no_crop_is_in_the_guard_band(write_linear_model):
    predictor = OnnxPredictor(write_linear_model())
    predictor.card = replace(predictor.card, guard_band=0.02)
    for case in golden_sample(predictor, UINT16, 1e-4).cases:
        ordered = np.sort(case.probabilities, axis=1)
        assert (ordered[:, -1] - ordered[:, -2] > 0.04).all()
        assert (np.abs(ordered[:, -1] - predictor.card.unassigned_below) > 0.04).all()


def test_a_model_that_decides_nothing_clearly_has_a_sample_too(write_linear_model):
    predictor = OnnxPredictor(write_linear_model())
    predictor.card = replace(predictor.card, guard_band=2.0)
    sample = golden_sample(predictor, UINT16, 1e-4)
    assert golden_from_text(sample.to_text(), "x").crops.shape == (MOST_CROPS, 2, 8, 8)


def test_larger_crops_make_no_larger_file(two_channel_card):
    class Untrained:
        card = replace(two_channel_card, crop_size_px=160)

        def predict(self, crops, background=None, scale=None):
            from ctcnet.runtime import Predictions

            p = np.tile(np.array([0.8, 0.05, 0.05, 0.05, 0.05], np.float32), (len(crops), 1))
            return Predictions(p, np.zeros(len(crops), bool), np.full(len(crops), np.nan), np.zeros((len(crops), 1)))

    text = golden_sample(Untrained(), UINT16, 1e-4).to_text()
    assert len(text) < 100_000


def test_cells_use_the_models_levels(two_channel_card):
    crops = cell_crops(two_channel_card, 32, np.random.default_rng(0))
    assert crops.dtype == np.uint16
    assert (crops % 16 == 0).all()
    np.testing.assert_allclose(np.median(crops[:, :, 0], axis=(0, 2)), [100, 50], atol=16)
