"""Objects without a nucleus: peaks of the cytoplasm and platelet channels."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from scipy.spatial import KDTree
from torch import Tensor

from ctcnet.scan.detect.background import Background
from ctcnet.scan.detect.cells import LARGEST_CELL_UM, stained_um
from ctcnet.scan.detect.found import Found, join, places_um, to_numpy
from ctcnet.scan.detect.neighbourhoods import opened
from ctcnet.scan.detect.outlines import OBJECT_LEVEL, outline
from ctcnet.scan.detect.scale_space import Peaks, find_peaks
from ctcnet.scan.detect.suppression import near_pairs, strongest, valley_ratio
from ctcnet.scan.detect.working_image import WorkingImage
from ctcnet.scan.platform import DetectionSettings

LEAST_OBJECT_UM = 4.0
"""Smaller things are specks."""

DEEPEST_VALLEY = 0.75  # of the lower end's height: where less lies between object and nucleus, they are two things
SURE_SHARE = 0.8  # of a peak's radius, known to within a step of the scale, in which no nucleus may lie


def find_objects(
    image: WorkingImage,
    background: Background,
    settings: DetectionSettings,
    channels: list[int],
    stains: list[int],
    position: Mapping[int, int],
    cells: Found,
) -> Found:
    """Find objects of at least 4 um in which no nucleus lies and which are no part of a cell's cytoplasm.

    Specks and clumps of them are taken away first by a grey-scale opening: what stays is at least three working
    pixels wide in every direction.

    Args:
        image: the working image.
        background: background of all channels.
        settings: sizes and limits.
        channels: indices of the channels to look in.
        stains: indices of the channels that stain whole cells or their membranes.
        position: index of a channel -> its place in the working image.
        cells: the cells of the batch.
    """
    found = [cells.take(np.zeros(len(cells), bool))]
    for channel in channels:
        plane = opened(image.pixels[:, position[channel]])
        noise = background.noise[:, channel]
        peaks = find_peaks(plane, image.pixel_um, settings.cell_diameter_um, settings.object_snr * noise)
        peaks = peaks.take(_candidates(peaks, cells, settings.min_distance_um, image.pixel_um))
        level = background.at(peaks.image, channel, image.to_image(peaks.y), image.to_image(peaks.x))
        largest_um = 1.5 * settings.cell_diameter_um[1]
        y, x, diameter_um, height = outline(plane, peaks, level, OBJECT_LEVEL, largest_um, image.pixel_um)
        snr = torch.minimum(height, peaks.height) / noise[peaks.image]
        objects = Found(*map(to_numpy, (peaks.image, y, x, diameter_um, snr)))
        objects = objects.take((objects.snr >= settings.object_snr) & (objects.diameter_um >= LEAST_OBJECT_UM))
        if channel in stains:
            within = _is_cytoplasm(image, background, settings.object_snr, channel, position[channel], objects, cells)
            objects = objects.take(~within)
        found.append(objects)
    objects = join(found)
    places, radius_um = objects.places_um(image.pixel_um), objects.diameter_um / 2
    objects = objects.take(_free_of_nuclei(places, radius_um, cells, image.pixel_um))
    places, radius_um = objects.places_um(image.pixel_um), objects.diameter_um / 2
    return objects.take(_one_each(places, radius_um, objects.snr, settings.min_distance_um))


def _candidates(peaks: Peaks, cells: Found, min_distance_um: float, pixel_um: float) -> Tensor:
    """Rows of the peaks that are worth a closer look, so that few outlines have to be drawn."""
    image, y, x, radius_um, height = map(to_numpy, (peaks.image, peaks.y, peaks.x, peaks.diameter_um / 2, peaks.height))
    places = places_um(image, y, x, pixel_um)
    rows = np.flatnonzero(_free_of_nuclei(places, SURE_SHARE * radius_um, cells, pixel_um))
    rows = rows[_one_each(places[rows], radius_um[rows], height[rows], min_distance_um)]
    return torch.as_tensor(rows, device=peaks.image.device)


def _free_of_nuclei(places: np.ndarray, radius_um: np.ndarray, cells: Found, pixel_um: float) -> np.ndarray:
    """(N,) bool, whether no nucleus lies within the radius of each place."""
    if not len(cells) or not len(places):
        return np.ones(len(places), bool)
    return KDTree(cells.places_um(pixel_um)).query(places)[0] > radius_um


def _is_cytoplasm(
    image: WorkingImage,
    background: Background,
    least_snr: float,
    channel: int,
    place: int,
    objects: Found,
    cells: Found,
) -> np.ndarray:
    """(N,) bool, whether each object is the brighter side of a cell that stains unevenly.

    Its centre lies in the disc that the channel shows around a nucleus, and on the way to that nucleus there is no
    valley: the stain of an eccentric cytoplasm falls off towards the nucleus and does not rise again.
    """
    within = np.zeros(len(objects), bool)
    pair = _near(objects, cells, image.pixel_um)
    if not len(pair):
        return within
    near, row = np.unique(pair[:, 1], return_inverse=True)
    owners = cells.take(near)
    stained = stained_um(image, background, least_snr, channel, place, owners)
    both = join([objects, owners])
    pair = np.column_stack((pair[:, 0], len(objects) + row))
    there, nucleus = (both.take(column).places_um(image.pixel_um) for column in pair.T)
    pair = pair[np.hypot(*(there - nucleus).T) < stained[row] / 2]
    plane = image.pixels[:, place]
    number = torch.as_tensor(both.image, device=plane.device)
    y, x = (torch.as_tensor(values, dtype=plane.dtype, device=plane.device) for values in (both.y, both.x))
    level = background.at(number, channel, image.to_image(y), image.to_image(x))
    level = level - least_snr * background.noise[number, channel]  # a valley is deeper than noise makes one
    ratio = to_numpy(valley_ratio(plane, number, y, x, level, torch.as_tensor(pair, device=plane.device)))
    within[pair[ratio > DEEPEST_VALLEY, 0]] = True
    return within


def _near(objects: Found, cells: Found, pixel_um: float) -> np.ndarray:
    """(P, 2) int64, rows of objects and of the cells that are large enough, if they are the largest, to hold them."""
    if not len(objects) or not len(cells):
        return np.empty((0, 2), np.int64)
    trees = KDTree(objects.places_um(pixel_um)), KDTree(cells.places_um(pixel_um))
    found = trees[0].sparse_distance_matrix(trees[1], LARGEST_CELL_UM / 2, output_type="ndarray")
    return np.column_stack((found["i"], found["j"])).astype(np.int64)


def _one_each(places: np.ndarray, radius_um: np.ndarray, strength: np.ndarray, min_distance_um: float) -> np.ndarray:
    """(N,) bool, whether each place is the strongest within its radius and the least distance."""
    return strongest(strength, near_pairs(places[:, 0], places[:, 1], np.maximum(radius_um, min_distance_um)))
