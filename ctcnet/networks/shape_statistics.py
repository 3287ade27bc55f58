"""Shape of each stain by complex moments about its own centroid, whatever the cell's place and orientation.

The moments of a stain f are c_pq = sum of z**p * conj(z)**q * f / sum of f, with z = x + iy measured from the stain's
centroid. A rotation by a multiplies c_pq by exp(i(p - q)a), which neither moduli nor the products below feel (Flusser,
Suk and Zitova 2009, Moments and Pattern Recognition, chapter 2). The blocks enter through two matrix products; what
follows is plain arithmetic on a few numbers per row and then per stain.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

THRESHOLDS = (0.2, 0.4, 0.6, 0.8)
"""Shares of the stain's peak at which soft masks are cut."""
MOMENTS = ((2, 0), (2, 1), (3, 0), (3, 1), (4, 0), (1, 1), (2, 2))
"""p and q of the central moments c_pq; those with p = q, which are real, stand last."""
_NUM_COMPLEX = 5
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
_MONOMIALS = tuple((a, b) for a in range(_NUM_POWERS) for b in range(_NUM_POWERS - a))
"""Powers of x and y, up to four together."""


@cache
def _complex_terms() -> np.ndarray:
    """Real parts of z**p * conj(z)**q of `MOMENTS`, then the imaginary parts of the complex ones, as rows over
    x**a * y**b (columns, as `_MONOMIALS`).
    """
    rows = []
    for p, q in MOMENTS:
        found: dict[tuple[int, int], complex] = {(0, 0): 1 + 0j}
        for sign in [1] * p + [-1] * q:
            grown: dict[tuple[int, int], complex] = {}
            for (a, b), value in found.items():
                grown[a + 1, b] = grown.get((a + 1, b), 0) + value
                grown[a, b + 1] = grown.get((a, b + 1), 0) + 1j * sign * value
            found = grown
        row = np.zeros(len(_MONOMIALS), dtype=complex)
        for powers, value in found.items():
            row[_MONOMIALS.index(powers)] = value
        rows.append(row)
    return np.concatenate([np.real(rows), np.imag(rows[:_NUM_COMPLEX])])


def _positions(count: int, like: Tensor) -> Tensor:
    """Centres of `count` blocks in quarters of the crop's edge, from its middle."""
    return ((torch.arange(count, device=like.device, dtype=like.dtype) + 0.5) / count - 0.5) * 4.0


def _powers_about(positions: Tensor, centre: Tensor) -> Tensor:
    """Powers 0 to 4 of positions (n,) measured from each centre (M, 1): (M, 5, n)."""
    centred = positions - centre
    square = centred * centred
    return torch.stack([torch.ones_like(centred), centred, square, square * centred, square * square], dim=1)


def central_moments(weights: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Mass and central complex moments, with lengths in quarters of the crop's edge.

    Coordinates are measured from the centroid before powers are taken: moments about the crop's middle would cancel in
    float32 when moved to it. Sums over y are one small matrix product for each stain; sums over x, of which there are
    too few for that to pay, are products and sums of long rows, one number of each stain beside the other.

    Args:
        weights: (M, h, w) float, 0 or greater.

    Returns:
        mean weight (M,); real parts of c_pq (len(MOMENTS), M); imaginary parts of those with p other than q, (5, M).
    """
    height, width = weights.shape[1:]
    x, y = _positions(width, weights), _positions(height, weights)
    plane = torch.stack(
        [torch.ones_like(x).expand(height, width), x.expand(height, width), y[:, None].expand(-1, width)]
    )
    total, sum_x, sum_y = (plane.flatten(1) @ weights.flatten(1).T).split(1)
    least = _LEAST_MASS * height * width
    divisor = total.clamp(min=_LEAST_TOTAL_SHARE * least)
    rows = (_powers_about(y, (sum_y / divisor).T) @ weights).flatten(1).T.unflatten(0, (_NUM_POWERS, width))
    centred = x[:, None] - sum_x / divisor  # (width, M); rows are (powers of y, width, M)
    moments = []
    for power in range(_NUM_POWERS):
        rows = rows[: _NUM_POWERS - power] * centred if power else rows
        moments.append(rows.sum(1))
    parts = torch.from_numpy(_complex_terms()).to(weights) @ torch.cat(moments) / (total + least)
    real, imaginary = parts.split([len(MOMENTS), _NUM_COMPLEX])
    return total[0] / (height * width), real, imaginary


def shape_invariants(weights: Tensor) -> Tensor:
    """Numbers that neither shifts nor rotations change, in the order of `INVARIANT_LIMITS`.

    Args:
        weights: (M, h, w) float, 0 or greater.

    Returns:
        (len(INVARIANT_LIMITS), M): runtimes do arithmetic faster on rows than on columns.
    """
    height, width = weights.shape[1:]
    mass, real, imaginary = central_moments(weights)
    block = (4.0 / height) ** 2 / 12 + (4.0 / width) ** 2 / 12  # second moment of one block: one block is no line
    real, c11, c22 = real.split([_NUM_COMPLEX, 1, 1])
    spread = F.relu(c11) + block
    second, third = 1 / (spread * spread), 1 / (spread * torch.sqrt(spread))
    powers = torch.cat([1 / spread, third, third, second, second])
    real, imaginary = real * powers, imaginary * powers
    moduli = torch.sqrt(real * real + imaginary * imaginary + _LEAST_MODULUS**2)
    elongation, lopsidedness, triangularity, _, fourfold = moduli.split(1)
    (real20, _, _, real31, real40), (imaginary20, _, _, imaginary31, imaginary40) = real.split(1), imaginary.split(1)
    steady = elongation + _LEAST_ELONGATION
    cosine, sine = real20 / steady, imaginary20 / steady  # of twice the angle of the long axis
    c31_along = real31 * cosine + imaginary31 * sine
    c40_along = real40 * (cosine * cosine - sine * sine) + imaginary40 * (2 * cosine * sine)
    logarithms = torch.log(torch.cat([mass[None] + 1e-3, spread, F.relu(spread * (1 - elongation)) + 1e-3]))
    bounded = [elongation, lopsidedness, triangularity, c22 * second, fourfold, c40_along, c31_along]
    return torch.cat([logarithms, *bounded])


def _encoding(like: Tensor) -> tuple[Tensor, Tensor]:
    """Slopes (invariants, invariants * rungs) and offsets (invariants * rungs,) of the encoding's steps."""
    low, high = like.new_tensor(INVARIANT_LIMITS).unbind(1)
    slope = NUM_RUNGS / (high - low)
    slopes = torch.diag(slope)[:, :, None].expand(-1, -1, NUM_RUNGS).flatten(1)
    rungs = torch.arange(NUM_RUNGS, device=like.device, dtype=like.dtype)
    return slopes, (-(low * slope)[:, None] - rungs).flatten()


def shape_statistics(above: Tensor) -> Tensor:
    """Piecewise-linear encoding of the invariants of each stain, of its square and of soft masks of it.

    The square stresses what is condensed. The encoding bounds what a stain without shape can do and makes a limit on a
    number one large weight (Gorishniy et al. 2022).

    Args:
        above: (N, C, h, w) float, means of blocks above the border, 0 or greater, normalised.

    Returns:
        (N, C, NUM_SHAPE_STATISTICS), 0 to 1.
    """
    share = (above / (above.amax((2, 3), keepdim=True) + _PEAK_FLOOR))[None]
    starts = above.new_tensor([_SLOPE * level - 0.5 for level in THRESHOLDS])[:, None, None, None, None]
    masks = (share * _SLOPE - starts).clamp(0.0, 1.0)
    weightings = torch.cat([share, share * share, masks])  # (NUM_WEIGHTINGS, N, C, h, w): large pieces copy fast
    slopes, offsets = _encoding(above)
    encoded = torch.addmm(offsets, shape_invariants(weightings.flatten(0, 2)).T, slopes).clamp(0.0, 1.0)
    return encoded.unflatten(0, weightings.shape[:3]).permute(1, 2, 0, 3).flatten(2)
