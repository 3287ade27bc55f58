"""Seeded dropout."""

import pytest
import torch

from ctcnet.errors import SettingError
from ctcnet.networks.dropout import SeededDropout
from ctcnet.seeded_random import uniform

pytestmark = pytest.mark.unit


def test_the_mask_depends_on_the_sample_only():
    dropout = SeededDropout(0.5).train()
    x, seeds = torch.ones(6, 32), torch.tensor([0, 1, 2, 2**40, -1, 2**62])
    whole = dropout(x, seeds)
    order = torch.tensor([4, 2, 0])
    torch.testing.assert_close(dropout(x[order], seeds[order]), whole[order], rtol=0, atol=0)
    assert len({tuple(row.tolist()) for row in whole}) == 6


def test_uniform_numbers_are_uniform_over_samples_and_over_features():
    numbers = uniform(torch.arange(2000), 0, 50)
    assert numbers.min() >= 0
    assert numbers.max() < 1
    histogram = torch.histc(numbers, 20, 0, 1) / numbers.numel()
    assert (histogram - 0.05).abs().max() < 0.003
    assert numbers.mean(0).sub(0.5).abs().max() < 0.04
    assert torch.corrcoef(numbers.T).fill_diagonal_(0).abs().max() < 0.12


def test_kept_features_are_scaled_up():
    out = SeededDropout(0.25).train()(torch.ones(500, 40), torch.arange(500))
    assert out.unique().tolist() == pytest.approx([0.0, 4 / 3])
    assert out.mean().item() == pytest.approx(1.0, abs=0.02)


def test_nothing_is_dropped_in_evaluation_and_seeds_are_needed_in_training():
    x = torch.randn(3, 8)
    assert SeededDropout(0.5).eval()(x, None) is x
    assert SeededDropout(0.0).train()(x, None) is x
    with pytest.raises(SettingError, match="sample_seed"):
        SeededDropout(0.5).train()(x, None)


@pytest.mark.parametrize("probability", [-0.1, 1.0, float("nan")])
def test_a_probability_out_of_range_is_refused(probability):
    with pytest.raises(SettingError, match="dropout"):
        SeededDropout(probability)
