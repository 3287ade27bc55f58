"""Cells in the graph: the twin of `ctcnet.scan.detect.cells`."""

from __future__ import annotations

import math

from ctcnet.export.frame_graph.arrays.array import Array
from ctcnet.export.frame_graph.arrays.elements import distance, maximum, minimum, sqrt
from ctcnet.export.frame_graph.arrays.indices import scattered, take
from ctcnet.export.frame_graph.arrays.loops import part
from ctcnet.export.frame_graph.arrays.shapes import arange, concat
from ctcnet.export.frame_graph.lobes import LobedNuclei, group_lobes
from ctcnet.export.frame_graph.outlines import outline, stained_diameter
from ctcnet.export.frame_graph.planes import WorkingPlanes
from ctcnet.export.frame_graph.rows import EventRows
from ctcnet.export.frame_graph.scale_space import find_peaks
from ctcnet.scan.detect import cells as rule
from ctcnet.scan.detect.outlines import NUCLEUS_LEVEL
from ctcnet.scan.platform import DetectionSettings


def find_cells(image: WorkingPlanes, settings: DetectionSettings, nucleus: int, stains: list[int]) -> EventRows:
    """Nuclei of a frame and the size of the cells around them, see `ctcnet.scan.detect.cells.find_cells`."""
    plane, noise = image.planes[nucleus], image.noise(nucleus)
    least = settings.nucleus_snr * noise
    peaks = find_peaks(plane, image.pixel_um, settings.nucleus_diameter_um, rule.RESPONSE_SHARE * least)
    level = image.level_at(nucleus, peaks.y, peaks.x)
    grouped = group_lobes(plane, peaks, level, settings.min_distance_um, image.pixel_um)
    rows = concat([grouped.peak, grouped.lobe])
    tops = peaks.take(rows)
    largest_um = 1.5 * settings.nucleus_diameter_um[1]
    drawn = outline(plane, tops.y, tops.x, take(level, rows), NUCLEUS_LEVEL, largest_um, image.pixel_um)
    cells = _nuclei(drawn, noise, grouped, image.pixel_um)
    cells = cells.kept(cells.snr >= settings.nucleus_snr)
    for stain in stains:
        stained = stained_um(image, settings.object_snr, stain, cells)
        cells = EventRows(cells.y, cells.x, maximum(cells.diameter_um, stained), cells.snr)
    least_um = math.hypot(settings.nucleus_diameter_um[0], rule.SPREAD_PX * image.pixel_um)
    bright = cells.snr >= rule.CONDENSED * settings.nucleus_snr
    return cells.kept((cells.diameter_um >= least_um) | bright)


def _nuclei(drawn: tuple[Array, Array, Array, Array], noise: Array, grouped: LobedNuclei, pixel_um: float) -> EventRows:
    """Nuclei from their peaks' outlines, followed by those of their lobes."""
    y, x, diameter_um, height = drawn
    number = grouped.peak.size(0)
    member = concat([arange(number), grouped.owner])
    square = diameter_um * diameter_um
    weight = square * maximum(height, 1e-6)
    total = scattered(number, member, weight, "add")
    centre_y, centre_x = (scattered(number, member, weight * values, "add") / total for values in (y, x))
    away = distance(y - take(centre_y, member), x - take(centre_x, member))
    enclosing = scattered(number, member, 2 * away * pixel_um + diameter_um, "max")
    highest = scattered(number, member, height / noise, "max")
    diameter = minimum(sqrt(scattered(number, member, square, "add")), enclosing)
    return EventRows(centre_y, centre_x, diameter, highest)


def stained_um(image: WorkingPlanes, least_snr: float, stain: int, cells: EventRows) -> Array:
    """(N,) diameter in um of the area of each cell that a stain shows, 0 where it shows none."""
    return part(_stained_um, image, least_snr, stain, cells)


def _stained_um(image: WorkingPlanes, least_snr: float, stain: int, cells: EventRows) -> Array:
    level = image.level_at(stain, cells.y, cells.x)
    least = least_snr * image.noise(stain)
    return stained_diameter(
        image.planes[stain], cells.y, cells.x, level, least, cells.diameter_um, rule.LARGEST_CELL_UM, image.pixel_um
    )
