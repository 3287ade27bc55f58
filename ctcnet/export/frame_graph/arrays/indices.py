"""Values taken from places in an array, and put to places."""

from __future__ import annotations

from ctcnet.export.frame_graph.arrays.array import INT, Array, apply, as_array
from ctcnet.export.frame_graph.arrays.shapes import full, squeeze


def take(values: Array, rows: Array, along: int = 0) -> Array:
    """`values[rows]` along one axis; the indices may have any shape."""
    return apply("Gather", [values, rows], values.dtype, axis=along)


def take_along(values: Array, rows: Array, along: int = -1) -> Array:
    """One value for each index along an axis, as numpy's `take_along_axis`."""
    return apply("GatherElements", [values, rows], values.dtype, axis=along)


def last(values: Array) -> Array:
    """The last value along the last axis."""
    return take(values, as_array(-1), -1)


def nonzero(mask: Array) -> tuple[Array, Array]:
    """Rows and columns of what is true in a mask (N, M), in row-major order."""
    found = apply("NonZero", [mask], INT)
    return take(found, as_array(0)), take(found, as_array(1))


def rows_of(mask: Array) -> Array:
    """Indices of what is true in a mask (N,)."""
    return squeeze(apply("NonZero", [mask], INT), 0)


def scattered(length: Array, rows: Array, values: Array, how: str, start: float | int = 0) -> Array:
    """(length,) of `start`, each value added ('add') to its row, or the least ('min') or largest ('max') kept."""
    return scatter(full(length, start, values.dtype), rows, values, how)


def scatter(start: Array, rows: Array, values: Array, how: str) -> Array:
    """As `scattered`, upon an array (N,)."""
    return apply("ScatterElements", [start, rows, values], values.dtype, axis=0, reduction=how)


def marked(length: Array, rows: Array, mask: Array) -> Array:
    """(length,) bool, rows that some true value points to."""
    return scattered(length, rows, mask.to(INT), "max") > 0
