"""Which places lie near each other, which of them stand, which hang together: without a table of all against all."""

from __future__ import annotations

from ctcnet.export.frame_graph.arrays.array import BOOL, INT, Array, plain
from ctcnet.export.frame_graph.arrays.elements import clip, distance, floor, maximum, minimum, where
from ctcnet.export.frame_graph.arrays.indices import marked, nonzero, scatter, scattered, take
from ctcnet.export.frame_graph.arrays.loops import loop
from ctcnet.export.frame_graph.arrays.shapes import arange, axis, concat, full
from ctcnet.export.frame_graph.arrays.sorting import order_of
from ctcnet.export.frame_graph.arrays.sums import largest_of, running_sum


def near_pairs(y: Array, x: Array, reach: Array) -> tuple[Array, Array]:
    """Pairs of places nearer to each other than the larger of their two reaches.

    Args:
        y, x, reach: (N,) float32 in one unit, of which a frame is some thousands high at most.

    Returns:
        Rows (P,) int64, the first below the second.
    """
    number = y.size(0)
    order, _, stop = _band(y, y, largest(reach, 0.0))
    place = arange(number)
    ordered_y, ordered_x, ordered_reach = take(y, order), take(x, order), take(reach, order)
    own = axis(place, 1)
    other = own + 1 + axis(arange(largest(take(stop, order) - place - 1, 0)), 0)
    inside = other < axis(take(stop, order), 1)
    other = minimum(other, number - 1)
    apart = distance(take(ordered_y, other) - axis(ordered_y, 1), take(ordered_x, other) - axis(ordered_x, 1))
    near = inside & (apart < maximum(take(ordered_reach, other), axis(ordered_reach, 1)))
    row, column = nonzero(near)
    first, second = take(order, row), take(order, row + 1 + column)
    return minimum(first, second), maximum(first, second)


def near_others(y: Array, x: Array, reach: Array, other_y: Array, other_x: Array) -> tuple[Array, Array, Array]:
    """Pairs of a place and one of other places that is no farther from it than its reach.

    Args:
        y, x, reach: (N,) float32.
        other_y, other_x: (M,) float32.

    Returns:
        Rows (P,) int64 of the places and of the others, and their distance (P,).
    """
    order, start, stop = _band(y, other_y, largest(reach, 0.0))
    column = axis(start, 1) + axis(arange(largest(stop - start, 0)), 0)
    inside = column < axis(stop, 1)
    other = take(order, minimum(column, maximum(other_y.size(0) - 1, 0)))
    apart = distance(take(other_y, other) - axis(y, 1), take(other_x, other) - axis(x, 1))
    row, place = nonzero(inside & (apart <= axis(reach, 1)))
    second = take(order, take(start, row) + place)
    return row, second, distance(take(other_y, second) - take(y, row), take(other_x, second) - take(x, row))


def _band(y: Array, other_y: Array, reach: Array) -> tuple[Array, Array, Array]:
    """Others in order of y; for each place where those that may lie within `reach` along y begin and end."""
    order = order_of(other_y)
    lines = largest(floor(concat([y, other_y])), 0.0).to(INT) + 1
    counted = scattered(lines, _line(other_y, lines), full(other_y.size(0), 1, INT), "add")
    before = concat([plain([0], INT), running_sum(counted)])
    start = take(before, _line(y - reach, lines))
    stop = take(before, _line(y + reach, lines) + 1)
    return order, start, stop


def _line(y: Array, lines: Array) -> Array:
    return clip(floor(y).to(INT), 0, lines - 1)


def largest(values: Array, least: float | int) -> Array:
    """Largest of (N,) values and `least`, a scalar."""
    return largest_of(concat([plain([least], values.dtype), values]), 0)


def strongest(strength: Array, first: Array, second: Array) -> Array:
    """Greedy suppression in rounds, see `ctcnet.scan.detect.suppression.strongest`: (N,) bool, who stays."""
    number = strength.size(0)
    rank = ranks(strength)
    swapped = take(rank, first) > take(rank, second)
    stronger, weaker = where(swapped, second, first), where(swapped, first, second)

    def one_round(open_: Array, stays: Array) -> tuple[Array, list[Array]]:
        going = take(open_, stronger) & take(open_, weaker)
        stands = open_ & ~marked(number, weaker, going)
        beaten = marked(number, weaker, going & take(stands, stronger))
        still = open_ & ~stands & ~beaten
        return largest(still.to(INT), 0) > 0, [still, stays | stands]

    return loop(number, [full(number, True, BOOL), full(number, False, BOOL)], number > 0, one_round)[1]


def ranks(strength: Array) -> Array:
    """(N,) int64, 0 for the strongest; of equals the lower row comes first."""
    order = order_of(strength, largest=True)
    return scattered(strength.size(0), order, arange(strength.size(0)), "add")


def components(number: Array, first: Array, second: Array) -> Array:
    """(N,) int64, the lowest row that each row is connected with by pairs."""

    def one_round(root: Array) -> tuple[Array, list[Array]]:
        lower = minimum(take(root, first), take(root, second))
        found = scatter(scatter(root, first, lower, "min"), second, lower, "min")
        found = take(found, found)
        return largest((found < root).to(INT), 0) > 0, [found]

    return loop(number, [arange(number)], first.size(0) > 0, one_round)[0]
