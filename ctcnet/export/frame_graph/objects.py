"""Objects without a nucleus in the graph: the twin of `ctcnet.scan.detect.objects`."""

from __future__ import annotations

from ctcnet.export.frame_graph.arrays.array import Array
from ctcnet.export.frame_graph.arrays.elements import maximum, minimum
from ctcnet.export.frame_graph.arrays.indices import marked, rows_of, take
from ctcnet.export.frame_graph.arrays.loops import part
from ctcnet.export.frame_graph.arrays.shapes import concat
from ctcnet.export.frame_graph.cells import stained_um
from ctcnet.export.frame_graph.outlines import outline
from ctcnet.export.frame_graph.pairs import near_others, near_pairs, strongest
from ctcnet.export.frame_graph.planes import WorkingPlanes
from ctcnet.export.frame_graph.rows import EventRows, join
from ctcnet.export.frame_graph.sampling import valley_ratio
from ctcnet.export.frame_graph.scale_space import find_peaks, opened
from ctcnet.scan.detect import objects as rule
from ctcnet.scan.detect.cells import LARGEST_CELL_UM
from ctcnet.scan.detect.outlines import OBJECT_LEVEL
from ctcnet.scan.platform import DetectionSettings


def find_objects(
    image: WorkingPlanes, settings: DetectionSettings, channels: list[int], stains: list[int], cells: EventRows
) -> EventRows:
    """Objects of at least 4 um in which no nucleus lies, see `ctcnet.scan.detect.objects.find_objects`."""
    found = [_of_channel(image, settings, channel, channel in stains, cells) for channel in channels]
    objects = join([cells.kept(cells.snr < 0), *found])  # none, where no channel is looked in
    objects = objects.kept(_free_of_nuclei(objects.y, objects.x, objects.diameter_um / 2, cells, image.pixel_um))
    radius = objects.diameter_um / 2
    return objects.kept(_one_each(objects.y, objects.x, radius, objects.snr, settings.min_distance_um, image.pixel_um))


def _of_channel(
    image: WorkingPlanes, settings: DetectionSettings, channel: int, is_stain: bool, cells: EventRows
) -> EventRows:
    plane, noise = opened(image.planes[channel]), image.noise(channel)
    peaks = find_peaks(plane, image.pixel_um, settings.cell_diameter_um, settings.object_snr * noise)
    radius = peaks.diameter_um / 2
    peaks = peaks.take(rows_of(_free_of_nuclei(peaks.y, peaks.x, rule.SURE_SHARE * radius, cells, image.pixel_um)))
    radius = peaks.diameter_um / 2
    one = _one_each(peaks.y, peaks.x, radius, peaks.height, settings.min_distance_um, image.pixel_um)
    peaks = peaks.take(rows_of(one))
    level = image.level_at(channel, peaks.y, peaks.x)
    largest_um = 1.5 * settings.cell_diameter_um[1]
    y, x, diameter_um, height = outline(plane, peaks.y, peaks.x, level, OBJECT_LEVEL, largest_um, image.pixel_um)
    objects = EventRows(y, x, diameter_um, minimum(height, peaks.height) / noise)
    objects = objects.kept((objects.snr >= settings.object_snr) & (objects.diameter_um >= rule.LEAST_OBJECT_UM))
    if not is_stain:
        return objects
    return objects.kept(~_is_cytoplasm(image, settings.object_snr, channel, objects, cells))


def _free_of_nuclei(y: Array, x: Array, radius_um: Array, cells: EventRows, pixel_um: float) -> Array:
    """(N,) bool, whether no nucleus lies within the radius of each place."""

    def free() -> Array:
        row, _, _ = near_others(y * pixel_um, x * pixel_um, radius_um, cells.y * pixel_um, cells.x * pixel_um)
        return ~marked(y.size(0), row, row >= 0)

    return part(free)


def _is_cytoplasm(image: WorkingPlanes, least_snr: float, channel: int, objects: EventRows, cells: EventRows) -> Array:
    """(N,) bool, whether each object is the brighter side of a cell that stains unevenly."""
    return part(_within_a_cell, image, least_snr, channel, objects, cells)


def _within_a_cell(image: WorkingPlanes, least_snr: float, channel: int, objects: EventRows, cells: EventRows) -> Array:
    scale = image.pixel_um
    reach = 0 * objects.y + LARGEST_CELL_UM / 2
    row, cell, apart = near_others(objects.y * scale, objects.x * scale, reach, cells.y * scale, cells.x * scale)
    owners = cells.take(cell)
    within = rows_of(apart < stained_um(image, least_snr, channel, owners) / 2)
    row, owners = take(row, within), owners.take(within)
    number = objects.y.size(0)
    y, x = concat([objects.y, owners.y]), concat([objects.x, owners.x])
    level = image.level_at(channel, y, x) - least_snr * image.noise(channel)
    owner = number + rows_of(row >= 0)
    ratio = valley_ratio(image.planes[channel], y, x, level, row, owner)
    return marked(number, row, ratio > rule.DEEPEST_VALLEY)


def _one_each(y: Array, x: Array, radius_um: Array, strength: Array, min_distance_um: float, pixel_um: float) -> Array:
    """(N,) bool, whether each place is the strongest within its radius and the least distance."""
    reach = maximum(radius_um, min_distance_um)
    return part(lambda: strongest(strength, *near_pairs(y * pixel_um, x * pixel_um, reach)))
