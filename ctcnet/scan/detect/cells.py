"""Cells: nuclei, however many lobes they have, and the stained area around them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from ctcnet.scan.detect.background import Background
from ctcnet.scan.detect.found import Found, to_numpy
from ctcnet.scan.detect.lobes import Nuclei, group_lobes
from ctcnet.scan.detect.outlines import NUCLEUS_LEVEL, outline, stained_diameter
from ctcnet.scan.detect.scale_space import find_peaks
from ctcnet.scan.detect.working_image import WorkingImage
from ctcnet.scan.platform import DetectionSettings

LARGEST_CELL_UM = 30.0
"""Stain farther out than half of this is not taken for a cell's own."""

SPREAD_PX = 1.6  # working pixels that an outline is wider, in quadrature; a speck's is 3.7 to 4.6 um wide, not more
CONDENSED = 4.0  # times the least height, from which something as narrow as a speck is condensed chromatin
RESPONSE_SHARE = 0.5  # a lobed or hollow nucleus answers no filter for discs with more of its height than this


def find_cells(
    image: WorkingImage,
    background: Background,
    settings: DetectionSettings,
    nucleus: int,
    stains: list[int],
    position: Mapping[int, int],
) -> Found:
    """Find the nuclei of a batch and measure the cells around them; faint specks of its stain are left out.

    Args:
        image: the working image.
        background: background of all channels.
        settings: sizes and limits.
        nucleus: index of the nucleus channel.
        stains: indices of the channels that stain whole cells or their membranes.
        position: index of a channel -> its place in the working image.
    """
    plane = image.pixels[:, position[nucleus]]
    least = settings.nucleus_snr * background.noise[:, nucleus]
    peaks = find_peaks(plane, image.pixel_um, settings.nucleus_diameter_um, RESPONSE_SHARE * least)
    level = background.at(peaks.image, nucleus, image.to_image(peaks.y), image.to_image(peaks.x))
    grouped = group_lobes(plane, peaks, level, settings.min_distance_um, image.pixel_um)
    rows = torch.as_tensor(np.concatenate((grouped.peak, grouped.lobe)), device=plane.device)
    largest_um = 1.5 * settings.nucleus_diameter_um[1]
    outlines = outline(plane, peaks.take(rows), level[rows], NUCLEUS_LEVEL, largest_um, image.pixel_um)
    noise = background.noise[peaks.image[rows], nucleus]
    cells = _nuclei(to_numpy(peaks.image[rows]), outlines, to_numpy(noise), grouped, image.pixel_um)
    cells = cells.take(cells.snr >= settings.nucleus_snr)
    for stain in stains:
        stained = stained_um(image, background, settings.object_snr, stain, position[stain], cells)
        cells = Found(cells.image, cells.y, cells.x, np.maximum(cells.diameter_um, stained), cells.snr)
    least_um = np.hypot(settings.nucleus_diameter_um[0], SPREAD_PX * image.pixel_um)
    bright = cells.snr >= CONDENSED * settings.nucleus_snr
    return cells.take((cells.diameter_um >= least_um) | bright)


def _nuclei(
    image: np.ndarray, outlines: tuple[Tensor, ...], noise: np.ndarray, grouped: Nuclei, pixel_um: float
) -> Found:
    """Nuclei from their peaks' outlines, followed by those of their lobes.

    The centre is the mean of the lobes' centres by area and height. The area is the sum of the lobes', but the diameter
    is at most that of the circle that holds them.
    """
    y, x, diameter_um, height = map(to_numpy, outlines)
    number = len(grouped.peak)
    member = np.concatenate((np.arange(number), grouped.owner))
    weight = diameter_um**2 * np.maximum(height, 1e-6)
    total = np.bincount(member, weight, number)
    centre_y, centre_x = (np.bincount(member, weight * values, number) / total for values in (y, x))
    reach_um = 2 * np.hypot(y - centre_y[member], x - centre_x[member]) * pixel_um + diameter_um
    enclosing, highest = np.zeros(number), np.zeros(number)
    np.maximum.at(enclosing, member, reach_um)
    np.maximum.at(highest, member, height / noise)
    diameter = np.minimum(np.sqrt(np.bincount(member, diameter_um**2, number)), enclosing)
    return Found(image[:number], centre_y, centre_x, diameter, highest)


def stained_um(
    image: WorkingImage, background: Background, least_snr: float, stain: int, place: int, cells: Found
) -> np.ndarray:
    """(N,) diameter in um of the area of each cell that a stain shows, 0 where it shows none."""
    plane = image.pixels[:, place]
    row = torch.as_tensor(cells.image, device=plane.device)
    y, x, core_um = (
        torch.as_tensor(values, dtype=plane.dtype, device=plane.device)
        for values in (cells.y, cells.x, cells.diameter_um)
    )
    level = background.at(row, stain, image.to_image(y), image.to_image(x))
    least = least_snr * background.noise[row, stain]
    return to_numpy(stained_diameter(plane, row, y, x, level, least, core_um, LARGEST_CELL_UM, image.pixel_um))
