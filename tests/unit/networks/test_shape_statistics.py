"""Shape statistics of stains against numpy sums and scikit-image, and what must not change them."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.measure import moments_central

from ctcnet.networks.shape_statistics import (
    INVARIANT_LIMITS,
    MOMENTS,
    NUM_RUNGS,
    NUM_SHAPE_STATISTICS,
    NUM_WEIGHTINGS,
    central_moments,
    shape_invariants,
    shape_statistics,
)
from ctcnet.networks.stain_statistics import channel_statistics

pytestmark = pytest.mark.unit

_SPREAD, _SHORT, _ELONGATION, _C21, _C22, _C40_ALONG = 1, 2, 3, 4, 6, 8


def _invariants(image: torch.Tensor) -> torch.Tensor:
    return shape_invariants(image[None])[:, 0]


def _ellipse(size: int, centre: tuple[float, float], axes: tuple[float, float], angle: float = 0.0) -> torch.Tensor:
    """Filled ellipse with soft edges, float64 (size, size); lengths in blocks, centre as (x, y) from the middle."""
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    x, y = x - centre[0], y - centre[1]
    along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    radius = np.hypot(along / axes[0], across / axes[1])
    return torch.from_numpy(np.clip((1 - radius) * min(axes) + 0.5, 0, 1))


@pytest.mark.parametrize("shape", [(16, 20), (20, 16), (9, 9)])
def test_moments_are_those_of_a_plain_sum(shape):
    weights = torch.rand(3, *shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    mass, real, imaginary = central_moments(weights)
    x, y = (((np.arange(count) + 0.5) / count - 0.5) * 4 for count in (shape[1], shape[0]))
    imaginary = torch.cat([imaginary, torch.zeros(2, 3, dtype=torch.float64)])  # of moments that are real
    for weight, mean, found in zip(weights.numpy(), mass, torch.complex(real, imaginary).T, strict=True):
        z = x[None] + 1j * y[:, None]
        z = z - (z * weight).sum() / weight.sum()
        expected = [(z**p * z.conj() ** q * weight).sum() / weight.sum() for p, q in MOMENTS]
        np.testing.assert_allclose(found.numpy(), expected, rtol=1e-3, atol=1e-4)
        assert mean.item() == pytest.approx(weight.mean())


def test_second_moments_agree_with_scikit_image():
    image = _ellipse(32, (3.2, -4.5), (9, 5), 0.7)
    mu = moments_central(image.numpy(), order=2) / image.sum().item() * (4 / 32) ** 2  # mu[row order, column order]
    _, real, imaginary = central_moments(image[None])
    second, spread = MOMENTS.index((2, 0)), MOMENTS.index((1, 1))
    assert real[spread].item() == pytest.approx(mu[0, 2] + mu[2, 0], rel=1e-3)
    assert real[second].item() == pytest.approx(mu[0, 2] - mu[2, 0], rel=1e-3)
    assert imaginary[second].item() == pytest.approx(2 * mu[1, 1], rel=1e-3)


@settings(max_examples=25)
@given(
    st.floats(-3, 3), st.floats(-3, 3), st.floats(6, 9), st.floats(0.5, 0.9), st.floats(0, np.pi), st.floats(0, np.pi)
)
def test_neither_place_nor_angle_matters(x, y, axis, ratio, angle, other):
    axes = (axis, axis * ratio)
    moved = _invariants(_ellipse(40, (x, y), axes, angle))
    still = _invariants(_ellipse(40, (0, 0), axes, other))
    span = torch.tensor([high - low for low, high in INVARIANT_LIMITS], dtype=torch.float64)
    assert ((moved - still).abs() / span).max() < 0.05  # what the grid and the soft edge leave


def test_quarter_turns_and_flips_change_nothing():
    lump = torch.rand(12, 12, generator=torch.Generator().manual_seed(2), dtype=torch.float64) ** 4
    reference = _invariants(lump)
    for turned in (lump.rot90(), lump.flip(0), lump.T):
        torch.testing.assert_close(_invariants(turned), reference, rtol=1e-6, atol=1e-6)


def test_shapes_are_told_apart():
    disc, bar = (_invariants(_ellipse(40, (0, 0), axes)) for axes in ((7, 7), (12, 4)))
    lobes = _invariants(_ellipse(40, (-9, 0), (4, 4)) + _ellipse(40, (9, 0), (4, 4)))
    drop = _invariants(_ellipse(40, (-3, 0), (8, 8)) + _ellipse(40, (9, 0), (5, 2)))
    assert disc[_ELONGATION] < 0.02
    assert bar[_ELONGATION].item() == pytest.approx((12**2 - 4**2) / (12**2 + 4**2), abs=0.03)
    assert disc[_C22].item() == pytest.approx(4 / 3, abs=0.1)
    assert bar[_SHORT] < disc[_SHORT]
    assert lobes[_C22] < bar[_C22]  # mass at the ends, none between
    assert lobes[_SPREAD] > bar[_SPREAD]
    assert drop[_C21] > 10 * bar[_C21].abs()
    assert lobes[_C40_ALONG] > disc[_C40_ALONG] + 0.1


def test_statistics_are_bounded_and_the_gain_of_a_stain_does_not_matter():
    above = torch.rand(4, 3, 16, 16, generator=torch.Generator().manual_seed(3)) ** 6
    found = shape_statistics(above)
    assert found.shape == (4, 3, NUM_SHAPE_STATISTICS)
    assert found.min() >= 0
    assert found.max() <= 1
    assert found.std(dim=0).max() > 0.01
    difference = (shape_statistics(1e4 * above) - shape_statistics(1e5 * above)).abs()
    assert difference.max() < 0.01  # the floor of the peak is all that is left


def test_each_channel_of_each_crop_stands_alone_and_its_weightings_one_after_another():
    above = torch.rand(3, 2, 16, 16, generator=torch.Generator().manual_seed(5), dtype=torch.float64) ** 4
    found = shape_statistics(above)
    for crop, channel in ((0, 1), (2, 0)):
        alone = shape_statistics(above[crop : crop + 1, channel : channel + 1])
        torch.testing.assert_close(found[crop, channel], alone[0, 0])
    stain, squared, *masks = found.unflatten(2, (NUM_WEIGHTINGS, len(INVARIANT_LIMITS), NUM_RUNGS)).sum(4).unbind(2)
    assert (squared[..., 0] < stain[..., 0]).all()  # the mean weight is the first of the invariants
    for mask, tighter in pairwise(masks):
        assert (tighter[..., 0] < mask[..., 0]).all()


def test_empty_channel_and_lone_speck_are_finite_with_finite_gradients():
    above = torch.zeros(1, 3, 16, 16)
    above[0, 1, 15, 15] = 5.0
    above[0, 2] = 1.0
    above.requires_grad_()
    found = shape_statistics(above)
    found.sum().backward()
    assert torch.isfinite(found).all()
    assert above.grad is not None
    assert torch.isfinite(above.grad).all()


def test_rounding_of_float32_does_not_show_even_for_a_speck_in_a_corner():
    above = torch.zeros(3, 1, 16, 16, dtype=torch.float64)
    above[0, 0, 15, 14] = 3.0
    above[1, 0, 13:, 14:] = torch.rand(3, 2, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    above[2, 0] = _ellipse(16, (1, 2), (5, 3), 0.4)
    torch.testing.assert_close(shape_statistics(above.float()).double(), shape_statistics(above), rtol=0, atol=1e-3)


def test_rounding_in_a_flat_area_has_no_shape():
    x = torch.full((1, 1, 64, 64), -7.369)
    x[..., 40, 8] += 0.16
    noise = 1e-6 * torch.rand(1, 1, 64, 64, generator=torch.Generator().manual_seed(0))
    exact, rounded = (channel_statistics(values, 4)[..., -NUM_SHAPE_STATISTICS:] for values in (x, x + noise))
    assert exact.max() > 0.5, "the bright block has a shape"
    torch.testing.assert_close(rounded, exact, atol=2e-3, rtol=0)
