"""Shape of each stain by complex moments about its own centroid, whatever the cell's place and orientation.

The moments of a stain f are c_pq = sum of z**p * conj(z)**q * f / sum of f, with z = x + iy measured from the stain's
centroid. A rotation by a multiplies c_pq by exp(i(p - q)a), which neither moduli nor the products below feel (Flusser,
Suk and Zitova 2009, Moments and Pattern Recognition, chapter 2). The pixels enter through two small matrix products;
everything after them is done on a few numbers per channel, in plain operators.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

THRESHOLDS = (0.2, 0.4, 0.6, 0.8)
"""Shares of the stain's peak at which soft masks are cut."""
MOMENTS = ((1, 1), (2, 0), (2, 1), (3, 0), (2, 2), (3, 1), (4, 0))
"""p and q of the central moments c_pq."""
INVARIANT_LIMITS = (
    (-6.0, -1.0),  # log of the mean weight: area as a share of the crop
    (-3.5, 1.0),  # log of the second moment: spread
    (-3.5, 1.0),  # log of the second moment along the short axis
    (0.0, 1.0),  # |c20|: elongation, 0 for a disc and 1 for a line
    (0.0, 1.2),  # |c21|: lopsidedness
    (0.0, 1.2),  # |c30|: triangularity
    (1.0, 4.0),  # c22: 4/3 for a disc, 2 for a Gaussian, more with a far outlier
    (0.0, 1.5),  # |c40|: fourfold symmetry
    (-0.3, 1.5),  # c40 along the long axis: two lobes against a bar
    (0.0, 2.5),  # c31 along the long axis
)
"""Where the encoding of each invariant begins and ends. Moments are for a spread of 1."""
NUM_RUNGS = 6
"""Steps of the encoding of each invariant."""
NUM_WEIGHTINGS = 2 + len(THRESHOLDS)
NUM_SHAPE_STATISTICS = NUM_WEIGHTINGS * len(INVARIANT_LIMITS) * NUM_RUNGS
"""Numbers per channel."""
_SLOPE = 5.0  # of the soft masks: from 0 to 1 over a fifth of the peak
_PEAK_FLOOR = 0.02  # normalised intensity: a channel without stain has no shape
_LEAST_MODULUS = 0.01  # rounds off the modulus where it is 0
_LEAST_ELONGATION = 0.03  # a rounder stain has no long axis: its angle would be rounding error
_LEAST_MASS = 3e-5  # mean weight below which moments fade out, since rounding then decides
_LEAST_TOTAL_SHARE = 1 / 30  # of that: below it centroids fade out too, long after the moments that rest on them
_NUM_POWERS = 5  # 0 to 4 of each coordinate


@cache
def _complex_terms() -> np.ndarray:
    """Real and imaginary parts of z**p * conj(z)**q of `MOMENTS` in turn, as columns over x**a * y**b (25 rows).

    Monomials are numbered 5 * b + a.
    """
    columns = []
    for p, q in MOMENTS:
        found: dict[tuple[int, int], complex] = {(0, 0): 1 + 0j}
        for sign in [1] * p + [-1] * q:
            grown: dict[tuple[int, int], complex] = {}
            for (a, b), value in found.items():
                grown[a + 1, b] = grown.get((a + 1, b), 0) + value
                grown[a, b + 1] = grown.get((a, b + 1), 0) + 1j * sign * value
            found = grown
        column = np.zeros(_NUM_POWERS**2, dtype=complex)
        for (a, b), value in found.items():
            column[_NUM_POWERS * b + a] = value
        columns += [np.real(column), np.imag(column)]
    return np.stack(columns, axis=1)


def _positions(count: int, like: Tensor) -> Tensor:
    """Centres of `count` blocks in quarters of the crop's edge, from its middle."""
    return ((torch.arange(count, device=like.device, dtype=like.dtype) + 0.5) / count - 0.5) * 4.0


def _powers_about_mean(profile: Tensor, total: Tensor) -> Tensor:
    """Powers 0 to 4 of positions measured from the profile's mean, (..., n, 5); profile (..., n), total (..., 1)."""
    x = _positions(profile.shape[-1], profile)
    centred = x - (profile * x).sum(profile.ndim - 1, keepdim=True) / total
    square = centred * centred
    return torch.stack([torch.ones_like(centred), centred, square, square * centred, square * square], dim=-1)


def central_moments(weights: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Mass and central complex moments, with lengths in quarters of the crop's edge.

    Coordinates are measured from the centroid before powers are taken: moments about the crop's middle would cancel in
    float32 when moved to it.

    Args:
        weights: (..., h, w) float, 0 or greater.

    Returns:
        mean weight (...,); real and imaginary parts of c_pq, (..., len(MOMENTS)) each.
    """
    last = weights.ndim - 1  # onnxruntime does not reduce over an axis counted from the end where a batch is empty
    columns, rows = weights.sum(last - 1), weights.sum(last)
    total = columns.sum(last - 1, keepdim=True)
    least = _LEAST_MASS * weights.shape[-2] * weights.shape[-1]
    x, y = (_powers_about_mean(profile, total.clamp(min=_LEAST_TOTAL_SHARE * least)) for profile in (columns, rows))
    moments = (y.transpose(-1, -2) @ (weights @ x)).flatten(-2) / (total + least)
    complex_moments = moments @ torch.from_numpy(_complex_terms()).to(weights)
    mean = total[..., 0] / (weights.shape[-2] * weights.shape[-1])
    return mean, complex_moments[..., 0::2], complex_moments[..., 1::2]


def shape_invariants(weights: Tensor) -> Tensor:
    """Numbers that neither shifts nor rotations change, in the order of `INVARIANT_LIMITS`.

    Args:
        weights: (..., h, w) float, 0 or greater.

    Returns:
        (..., len(INVARIANT_LIMITS)).
    """
    height, width = weights.shape[-2:]
    mass, real, imaginary = central_moments(weights)
    block = (4.0 / height) ** 2 / 12 + (4.0 / width) ** 2 / 12  # second moment of one block: one block is no line
    spread = F.relu(real[..., 0]) + block
    third, second = spread * torch.sqrt(spread), spread * spread
    powers = torch.stack([spread, spread, third, third, second, second, second], dim=-1)
    real, imaginary = real / powers, imaginary / powers
    moduli = torch.sqrt(real * real + imaginary * imaginary + _LEAST_MODULUS**2)
    elongation = moduli[..., 1]
    steady = elongation + _LEAST_ELONGATION
    cosine, sine = real[..., 1] / steady, imaginary[..., 1] / steady  # of twice the angle of the long axis
    c31_along = real[..., 5] * cosine + imaginary[..., 5] * sine
    c40_along = real[..., 6] * (cosine * cosine - sine * sine) + imaginary[..., 6] * (2 * cosine * sine)
    return torch.stack(
        [
            torch.log(mass + 1e-3),
            torch.log(spread),
            torch.log(F.relu(spread * (1 - elongation)) + 1e-3),
            elongation,
            moduli[..., 2],
            moduli[..., 3],
            real[..., 4],
            moduli[..., 6],
            c40_along,
            c31_along,
        ],
        dim=-1,
    )


def shape_statistics(above: Tensor) -> Tensor:
    """Piecewise-linear encoding of the invariants of each stain, of its square and of soft masks of it.

    The square stresses what is condensed. The encoding bounds what a stain without shape can do and makes a limit on a
    number one large weight (Gorishniy et al. 2022).

    Args:
        above: (N, C, h, w) float, means of blocks above the border, 0 or greater, normalised.

    Returns:
        (N, C, NUM_SHAPE_STATISTICS), 0 to 1.
    """
    share = above / (above.amax((2, 3)) + _PEAK_FLOOR)[:, :, None, None]
    steep = share * _SLOPE
    masks = [(steep - (_SLOPE * level - 0.5)).clamp(0.0, 1.0) for level in THRESHOLDS]
    invariants = shape_invariants(torch.stack([share, share * share, *masks], dim=2))
    low, high = above.new_tensor(INVARIANT_LIMITS).unbind(1)
    rungs = torch.arange(NUM_RUNGS, device=above.device, dtype=above.dtype)
    height = (invariants - low) * (NUM_RUNGS / (high - low))
    return (height[..., None] - rungs).clamp(0.0, 1.0).flatten(2)
