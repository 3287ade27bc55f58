"""Channels of a frame reduced to structures of the size of cells, and the correlation between two of them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ctcnet.cartridge_levels import NOISE_FACTOR
from ctcnet.scan.order_statistics import lower_median
from ctcnet.scan.preprocess.square_means import square_means

COARSE_UM = 1.8
"""Frames are reduced to about this many um per pixel: a third at 10x, still several pixels per cell."""
FINE_SIGMA_UM, WIDE_SIGMA_UM = 1.0, 6.0
"""The band is the difference of two Gaussians: noise below and uneven background above are left out."""
CELL_RADIUS_UM = 3.5
"""A cell's area, for counting structures, is that of a disc of this radius (7 um nuclei, see the field notes)."""
LEAST_NOISE_COUNTS = 0.29
"""Deviation of rounding to whole counts, 1 / sqrt(12): the floor where a background is clipped to zero."""
STRUCTURE_SNR, SHRINK_SNR = 5.0, 1.0
"""A structure stands out by the first; the second is taken off every pixel. More would lose weak cells among specks."""
SAMPLE_STRIDE = 3
FLAT_POWER = 1e-6
"""Band-passed channels of less power per pixel hold rounding errors only."""
REFINE_STEPS = 10
"""Points of the fine grid per coarse pixel; a parabola then finds the peak between them."""
APART_UM = 8.0
"""Correlations at least this far from the peak are 'elsewhere'."""


@dataclass(frozen=True)
class Peak:
    """Where the correlation of two channels is highest.

    Attributes:
        x_px, y_px: displacement of the second channel from the first, in pixels of the frame.
        height: correlation there, -1 to 1; NaN where a channel is flat.
        unshifted: correlation without a displacement.
        elsewhere: highest correlation at least `APART_UM` from the peak.
        cells: matching structures that the peak rests on, as a number of cells.
        at_limit: whether the peak lies at the border of the shifts looked at, so that it may be no peak.
    """

    x_px: float
    y_px: float
    height: float
    unshifted: float
    elsewhere: float
    cells: float
    at_limit: bool


class CellBand:
    """The channels of one frame, reduced, compressed and band-passed.

    Args:
        counts: (C, H, W) float32 camera counts; at least 16 px a side after reduction.
        pixel_size_um: micrometres per pixel.
        largest_shift_um: displacements up to this are looked at, along x and along y.
    """

    def __init__(self, counts: Tensor, pixel_size_um: float, largest_shift_um: float) -> None:
        self._factor = max(1, round(COARSE_UM / pixel_size_um))
        self._coarse_um = self._factor * pixel_size_um
        compressed = _compress(square_means(counts.float(), self._factor))
        height, width = compressed.shape[1:]
        self._size = (_smooth_length(height), _smooth_length(width))
        banded = torch.fft.irfft2(torch.fft.rfft2(compressed, s=self._size) * self._band(counts.device), s=self._size)
        self._images, self._noise = _stand_out(banded[:, :height, :width])
        self._spectra = torch.fft.rfft2(self._images, s=self._size)
        self._energy = self._images.square().sum((1, 2)).tolist()
        reach = max(2, int(largest_shift_um / self._coarse_um))
        self._reach_y, self._reach_x = min(reach, height // 3), min(reach, width // 3)
        self._peaks: dict[tuple[int, int], Peak] = {}

    def _band(self, device: torch.device) -> Tensor:
        rows = torch.fft.fftfreq(self._size[0], self._coarse_um, device=device)[:, None]
        columns = torch.fft.rfftfreq(self._size[1], self._coarse_um, device=device)
        exponent = -2 * math.pi**2 * (rows.square() + columns.square())
        return (exponent * FINE_SIGMA_UM**2).exp() - (exponent * WIDE_SIGMA_UM**2).exp()

    def cells(self, channel: int) -> float:
        """Area that stands out of the noise in a channel, as a number of cells; a crowd lowers it, never raises it."""
        least = self._images[channel].min() + (STRUCTURE_SNR - SHRINK_SNR) * self._noise[channel]
        area_um2 = float((self._images[channel] > least).sum()) * self._coarse_um**2
        return area_um2 / (math.pi * CELL_RADIUS_UM**2)

    def compare(self, first: int, second: int) -> Peak:
        """Displacement of channel `second` from channel `first`; found once, then remembered."""
        if (first, second) not in self._peaks:
            self._peaks[first, second] = self._find_peak(first, second)
        return self._peaks[first, second]

    def _find_peak(self, first: int, second: int) -> Peak:
        energy = math.sqrt(self._energy[first] * self._energy[second])
        if energy <= FLAT_POWER * self._images[first].numel():
            return Peak(0.0, 0.0, math.nan, math.nan, math.nan, 0.0, at_limit=False)
        cross = self._spectra[first].conj() * self._spectra[second]
        surface = self._surface(cross) / energy
        row, column = divmod(int(surface.argmax()), surface.shape[1])
        at_limit = row in (0, surface.shape[0] - 1) or column in (0, surface.shape[1] - 1)
        y, x = row - self._reach_y, column - self._reach_x
        refined_y, refined_x, height = self._refine(cross / energy, y, x)
        apart = max(2, math.ceil(APART_UM / self._coarse_um))
        unshifted = float(surface[self._reach_y, self._reach_x])
        surface[max(0, row - apart) : row + apart + 1, max(0, column - apart) : column + apart + 1] = -1
        return Peak(
            self._factor * refined_x,
            self._factor * refined_y,
            height,
            unshifted,
            float(surface.max()),
            self._matching_cells(first, second, y, x),
            at_limit,
        )

    def _surface(self, cross: Tensor) -> Tensor:
        """Correlation at whole coarse pixels, rows and columns from -reach to reach."""
        y = torch.arange(-self._reach_y, self._reach_y + 1, device=cross.device)
        x = torch.arange(-self._reach_x, self._reach_x + 1, device=cross.device)
        return self._correlation(cross, y, x)

    def _correlation(self, cross: Tensor, y: Tensor, x: Tensor) -> Tensor:
        """Correlation (rows, columns) at displacements y and x: the Fourier sum as a product of matrices.

        For the few displacements that are believed this is faster than a whole transform.
        """
        rows, columns = self._size
        frequency_y = torch.fft.fftfreq(rows, device=cross.device)
        frequency_x = torch.fft.rfftfreq(columns, device=cross.device)
        weight = torch.full_like(frequency_x, 2.0)  # every column but these stands for its mirror image too
        weight[0] = 1.0
        if columns % 2 == 0:
            weight[-1] = 1.0
        along_y = torch.polar(torch.ones(()).to(cross.device), 2 * math.pi * y[:, None] * frequency_y)
        along_x = torch.polar(weight[:, None], 2 * math.pi * frequency_x[:, None] * x)
        return (along_y @ cross @ along_x).real / (rows * columns) / self._overlap(y, x)

    def _overlap(self, y: Tensor, x: Tensor) -> Tensor:
        """Share of a channel that lies on the other one at displacements y and x: (rows, columns).

        The Fourier sum runs over this share only, and would otherwise favour small displacements.
        """
        height, width = self._images.shape[1:]
        return (1 - y.abs() / height)[:, None] * (1 - x.abs() / width)

    def _refine(self, cross: Tensor, y: int, x: int) -> tuple[float, float, float]:
        """Peak between coarse pixels, within one of (y, x): the Fourier sum on a fine grid, then a parabola."""
        steps = torch.arange(-REFINE_STEPS, REFINE_STEPS + 1, device=cross.device) / REFINE_STEPS
        fine = self._correlation(cross, steps + y, steps + x)
        row, column = divmod(int(fine.argmax()), fine.shape[1])
        offset_y = float(steps[row]) + _vertex(fine[:, column], row) / REFINE_STEPS
        offset_x = float(steps[column]) + _vertex(fine[row], column) / REFINE_STEPS
        return y + offset_y, x + offset_x, float(fine[row, column])

    def _matching_cells(self, first: int, second: int, y: int, x: int) -> float:
        """Participation ratio of the product of both channels at a displacement, as a number of cells.

        (sum p)^2 / sum p^2 is the area over which the product p is spread; one bright speck or fibre makes it small.
        """
        height, width = self._images.shape[1:]
        here = self._images[first, max(0, -y) : height - max(0, y), max(0, -x) : width - max(0, x)]
        there = self._images[second, max(0, y) : height + min(0, y), max(0, x) : width + min(0, x)]
        product = (here * there).clamp(min=0)
        spread = float(product.square().sum())
        area_um2 = float(product.sum()) ** 2 / spread * self._coarse_um**2 if spread > 0 else 0.0
        return area_um2 / (math.pi * CELL_RADIUS_UM**2)


def _compress(coarse: Tensor) -> Tensor:
    """Square root of the height over the background (bright cells must not outvote the others), about a zero mean."""
    sample = coarse[:, ::SAMPLE_STRIDE, ::SAMPLE_STRIDE].flatten(1)
    background = lower_median(sample)
    noise = NOISE_FACTOR * lower_median((sample - background[:, None]).abs())
    offset = 3 * noise.clamp(min=LEAST_NOISE_COUNTS) - background
    root = (coarse + offset[:, None, None]).clamp(min=0).sqrt()
    return root - root.mean((1, 2), keepdim=True)


def _stand_out(banded: Tensor) -> tuple[Tensor, Tensor]:
    """Band-passed channels (C, H, W) less `SHRINK_SNR` deviations of their noise, at least 0, about a zero mean.

    Without this the noise of a frame with few cells outweighs the cells. Also gives the deviations (C,).
    """
    sample = banded[:, ::SAMPLE_STRIDE, ::SAMPLE_STRIDE].flatten(1)
    median = lower_median(sample)
    noise = NOISE_FACTOR * lower_median((sample - median[:, None]).abs())
    least = median + SHRINK_SNR * noise
    shrunk = (banded - least[:, None, None]).clamp(min=0)
    return shrunk - shrunk.mean((1, 2), keepdim=True), noise


def _smooth_length(length: int) -> int:
    """The next length that has no prime factor above 5, for fast transforms."""
    while True:
        rest = length
        for prime in (2, 3, 5):
            while rest % prime == 0:
                rest //= prime
        if rest == 1:
            return length
        length += 1


def _vertex(line: Tensor, index: int) -> float:
    """Position of a parabola's vertex through three points, relative to the middle one; 0 at the line's ends."""
    if not 0 < index < len(line) - 1:
        return 0.0
    left, middle, right = (float(line[index + step]) for step in (-1, 0, 1))
    bend = left - 2 * middle + right
    return float(np.clip(0.5 * (left - right) / bend, -0.5, 0.5)) if bend < 0 else 0.0
