"""Shape of each stain by complex moments about its own centroid, whatever the cell's place, size and orientation.

The moments of a stain f are c_pq = sum of z**p * conj(z)**q * f / sum of f, with z = x + iy measured from the stain's
centroid; a rotation by a multiplies c_pq by exp(i(p - q)a), so that moduli and the products below do not change
(Flusser, Suk and Zitova 2009, Moments and Moment Invariants in Pattern Recognition, chapter 2). Every step is a matrix
product, a product of a few numbers, or a function of N x C x NUM_WEIGHTINGS numbers: plain operators, cheap on a CPU.
"""

from __future__ import annotations

from functools import cache
from math import comb

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

THRESHOLDS = (0.2, 0.4, 0.6, 0.8)
"""Shares of the stain's peak at which soft masks are cut."""
_SLOPE = 5.0
_PEAK_FLOOR = 0.02
NUM_WEIGHTINGS = 2 + len(THRESHOLDS)
"""The stain itself, its square, which stresses what is condensed, and the soft masks."""
NUM_INVARIANTS = 10
NUM_SHAPE_STATISTICS = NUM_WEIGHTINGS * NUM_INVARIANTS
"""Numbers per channel."""
_MOMENTS = ((1, 1), (2, 0), (2, 1), (3, 0), (2, 2), (3, 1), (4, 0))
_MONOMIALS = tuple((a, b) for order in range(5) for a in range(order + 1) for b in (order - a,))


@cache
def _central_terms() -> tuple[tuple[int, ...], tuple[int, ...], np.ndarray]:
    """Central moments as sums of products of a raw moment and a power of the centroid.

    Returns:
        Index of the raw monomial of each term (T,), index of the centroid's monomial (T,), and coefficients
        (T, 2 * len(_MOMENTS)) of the terms in the real and imaginary parts of the moments.
    """
    terms: dict[tuple[int, int], np.ndarray] = {}
    for column, (p, q) in enumerate(_MOMENTS):
        expanded = np.array([[1.0 + 0j]])  # coefficients of x**a * y**b
        for sign in [1] * p + [-1] * q:
            grown = np.zeros((expanded.shape[0] + 1, expanded.shape[1] + 1), dtype=complex)
            grown[1:, :-1] += expanded
            grown[:-1, 1:] += 1j * sign * expanded
            expanded = grown
        for a, b in zip(*np.nonzero(expanded), strict=True):
            for i in range(a + 1):
                for j in range(b + 1):
                    key = (_MONOMIALS.index((i, j)), _MONOMIALS.index((a - i, b - j)))
                    value = expanded[a, b] * comb(a, i) * comb(b, j) * (-1.0) ** (a - i + b - j)
                    row = terms.setdefault(key, np.zeros(2 * len(_MOMENTS)))
                    row[2 * column] += value.real
                    row[2 * column + 1] += value.imag
    keys = sorted(terms)
    raw, centroid = zip(*keys, strict=True)
    return raw, centroid, np.stack([terms[key] for key in keys])


def _positions(count: int, device: torch.device) -> Tensor:
    """Centres of `count` blocks in quarters of the crop's edge, from its middle."""
    return ((torch.arange(count, device=device) + 0.5) / count - 0.5) * 4.0


def _monomials(x: Tensor, y: Tensor) -> Tensor:
    """Products x**a * y**b of `_MONOMIALS`, stacked last."""
    powers_x, powers_y = [torch.ones_like(x), x], [torch.ones_like(y), y]
    for _ in range(3):
        powers_x.append(powers_x[-1] * x)
        powers_y.append(powers_y[-1] * y)
    return torch.stack([powers_x[a] * powers_y[b] for a, b in _MONOMIALS], dim=-1)


def central_moments(weights: Tensor) -> tuple[Tensor, Tensor]:
    """Mass and normalised central complex moments.

    Args:
        weights: (..., h, w) float32, 0 or greater.

    Returns:
        mean weight (...,), and (..., 2 * len(_MOMENTS)): real and imaginary part of c_pq for each (p, q) of `_MOMENTS`,
        with lengths in quarters of the crop's edge.
    """
    height, width = weights.shape[-2:]
    raw_index, centroid_index, coefficients = _central_terms()
    y, x = torch.meshgrid(_positions(height, weights.device), _positions(width, weights.device), indexing="ij")
    basis = _monomials(x.flatten(), y.flatten()) / (height * width)
    pick = [_MONOMIALS.index(pair) for pair in ((0, 0), (1, 0), (0, 1))]
    columns = basis[:, [*pick, *raw_index]]
    sums = weights.flatten(-2) @ columns
    mass = sums[..., 0]
    sums = sums[..., 1:] / (mass[..., None] + 1e-6)
    centroid = _monomials(sums[..., 0], sums[..., 1])
    spread_out = torch.zeros(len(_MONOMIALS), len(centroid_index), device=weights.device)
    spread_out[list(centroid_index), range(len(centroid_index))] = 1.0
    terms = sums[..., 2:] * (centroid @ spread_out)
    return mass, terms @ torch.from_numpy(coefficients).to(terms)


def _invariants(weights: Tensor) -> Tensor:
    height, width = weights.shape[-2:]
    mass, c = central_moments(weights)
    re, im = c[..., 0::2], c[..., 1::2]
    own_extent = (4.0 / height) ** 2 / 12 + (4.0 / width) ** 2 / 12  # second moment of one block
    spread = F.relu(c[..., 0]) + own_extent
    squares = torch.sqrt(re * re + im * im + 1e-10)
    c20, c21, c30, c40 = squares[..., 1], squares[..., 2], squares[..., 3], squares[..., 6]
    ux, uy = re[..., 1] / c20, im[..., 1] / c20
    along31 = re[..., 5] * ux + im[..., 5] * uy
    along40 = re[..., 6] * (ux * ux - uy * uy) + im[..., 6] * 2 * ux * uy
    second, third = spread * spread, spread * torch.sqrt(spread)
    return torch.stack(
        [
            torch.log(mass + 1e-3) + 2.0,
            torch.log(spread) + 1.0,
            torch.log(F.relu(spread - c20) + 1e-3) + 1.0,
            4.0 * c20 / spread,
            4.0 * c21 / third,
            4.0 * c30 / third,
            re[..., 4] / second,
            4.0 * c40 / second,
            4.0 * along40 / second,
            2.0 * along31 / second,
        ],
        dim=-1,
    )


def shape_statistics(above: Tensor) -> Tensor:
    """Shape of each stain.

    Args:
        above: (N, C, h, w) float32, means of blocks above the border, 0 or greater.

    Returns:
        (N, C, NUM_SHAPE_STATISTICS).
    """
    share = above / (above.amax((2, 3)) + _PEAK_FLOOR)[:, :, None, None]
    steep = share * _SLOPE
    masks = [(steep - (_SLOPE * level - 0.5)).clamp(0.0, 1.0) for level in THRESHOLDS]
    weights = torch.stack([share, share * share, *masks], dim=2)
    return _invariants(weights).flatten(2)
