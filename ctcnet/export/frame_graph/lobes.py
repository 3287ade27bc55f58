"""One nucleus for each group of peaks in the graph: the twin of `ctcnet.scan.detect.lobes`."""

from __future__ import annotations

from dataclasses import dataclass

from ctcnet.export.frame_graph.arrays.array import Array
from ctcnet.export.frame_graph.arrays.elements import clip, distance, maximum, power, where
from ctcnet.export.frame_graph.arrays.indices import marked, rows_of, scattered, take
from ctcnet.export.frame_graph.arrays.loops import part
from ctcnet.export.frame_graph.arrays.shapes import arange
from ctcnet.export.frame_graph.pairs import near_pairs, strongest
from ctcnet.export.frame_graph.sampling import valley_ratio
from ctcnet.export.frame_graph.scale_space import PeakRows
from ctcnet.scan.detect import lobes as rule


@dataclass(frozen=True)
class LobedNuclei:
    """Peaks that stand and the lobes that belong to them, see `ctcnet.scan.detect.lobes.Nuclei`.

    Attributes:
        peak: (N,) int64 rows of the peaks.
        lobe: (L,) int64 rows of further peaks.
        owner: (L,) int64, position in `peak`.
    """

    peak: Array
    lobe: Array
    owner: Array


def group_lobes(plane: Array, peaks: PeakRows, level: Array, min_distance_um: float, pixel_um: float) -> LobedNuclei:
    """Decide which peaks of a plane (h, w) are nuclei of their own; `level` (N,) is the background at the peaks."""
    return part(_group_lobes, plane, peaks, level, min_distance_um, pixel_um)


def _group_lobes(plane: Array, peaks: PeakRows, level: Array, min_distance_um: float, pixel_um: float) -> LobedNuclei:
    y, x = peaks.y * pixel_um, peaks.x * pixel_um
    strength = peaks.height * power(peaks.diameter_um, rule.SCALE_PREFERENCE)
    nearest = near_pairs(y, x, 0 * y + min_distance_um)
    kept = rows_of(strongest(strength, *nearest))
    level, strength, y, x = (take(values, kept) for values in (level, strength, y, x))
    peaks = peaks.take(kept)
    diameter = peaks.diameter_um
    first, second = near_pairs(y, x, maximum(rule.REACH * diameter, rule.LEAST_REACH_UM))
    first_is_stronger = take(strength, first) >= take(strength, second)
    larger = where(first_is_stronger, take(diameter, first), take(diameter, second))
    apart = distance(take(y, first) - take(y, second), take(x, first) - take(x, second))
    limit = _deepest_lobe_valley(apart, larger)
    straight = valley_ratio(plane, peaks.y, peaks.x, level, first, second)
    one = straight > limit
    for bulge in rule.BULGES[1:]:
        parted = rows_of(~one)
        bent = valley_ratio(plane, peaks.y, peaks.x, level, take(first, parted), take(second, parted), bulge)
        one = one | marked(one.size(0), parted, bent > take(limit, parted))
    joined = rows_of(one)
    first, second, apart, straight = (take(values, joined) for values in (first, second, apart, straight))
    stands = strongest(strength, first, second)
    lobe, owner = _with_owners(stands, first, second, apart, straight, diameter)
    peak = rows_of(stands)
    place = scattered(stands.size(0), peak, arange(peak.size(0)), "add")
    return LobedNuclei(take(kept, peak), take(kept, lobe), take(place, owner))


def _deepest_lobe_valley(apart_um: Array, diameter_um: Array) -> Array:
    scaled = apart_um * rule.USUAL_UM / maximum(rule.LARGE_SHARE * diameter_um, rule.USUAL_UM)
    (near_um, low), (far_um, high) = rule.VALLEY_BY_DISTANCE
    return low + clip((scaled - near_um) / (far_um - near_um), 0, 1) * (high - low)


def _with_owners(
    stands: Array, first: Array, second: Array, apart: Array, straight: Array, diameter: Array
) -> tuple[Array, Array]:
    """Rows of fallen peaks that are tops of their own, and of the nearest nuclei that they were compared with."""
    first_stands, second_stands = take(stands, first), take(stands, second)
    lobe = where(first_stands, second, first)
    alone = (first_stands & ~second_stands) | (second_stands & ~first_stands)
    kept = rows_of(alone & (straight < rule.TRUE_VALLEY) & (apart > take(diameter, lobe) / 2))
    lobe, apart = take(lobe, kept), take(apart, kept)
    owner = take(where(first_stands, first, second), kept)
    number = stands.size(0)
    nearest = scattered(number, lobe, apart, "min", 3e38)
    is_nearest = apart <= take(nearest, lobe)
    chosen = scattered(number, lobe, where(is_nearest, owner, number), "min", 2**62)
    rows = rows_of(marked(number, lobe, lobe >= 0))
    return rows, take(chosen, rows)
