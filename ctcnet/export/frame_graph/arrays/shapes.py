"""Arrays of another shape, parts of arrays and new ones."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ctcnet.export.frame_graph.arrays.array import INT, Array, Operand, apply, as_array, plain, whole

END = 2**62
"""As `stop` of a cut: the whole rest."""


def shape_of(*sizes: Operand) -> Array:
    """A shape from whole numbers, known or not, each a scalar."""
    if all(isinstance(size, int) for size in sizes):
        return plain(sizes, INT)
    return concat([axis(as_array(size), 0) for size in sizes])


def reshape(values: Array, *sizes: Operand) -> Array:
    """The same values in another shape; one size may be -1, where no length is 0."""
    return apply("Reshape", [values, shape_of(*sizes)], values.dtype, allowzero=int(-1 not in _known(sizes)))


def _known(sizes: Sequence[Operand]) -> list[Operand]:
    return [size for size in sizes if isinstance(size, int)]


def flat(values: Array) -> Array:
    """All values in one row."""
    return apply("Reshape", [values, whole(-1)], values.dtype)


def axis(values: Array, *axes: int) -> Array:
    """The same values with axes of length 1 put in."""
    return apply("Unsqueeze", [values, whole(*axes)], values.dtype)


def squeeze(values: Array, *axes: int) -> Array:
    """The same values without axes of length 1."""
    return apply("Squeeze", [values, whole(*axes)], values.dtype)


def transpose(values: Array, *order: int) -> Array:
    """Axes in another order."""
    return apply("Transpose", [values], values.dtype, perm=list(order))


def concat(parts: Sequence[Array], along: int = 0) -> Array:
    """Parts one after the other."""
    return parts[0] if len(parts) == 1 else apply("Concat", parts, parts[0].dtype, axis=along)


def cut(values: Array, along: int, start: Operand, stop: Operand, step: Operand = 1) -> Array:
    """`values[start:stop:step]` along one axis."""
    numbers = [shape_of(start), shape_of(stop), whole(along), shape_of(step)]
    return apply("Slice", [values, *numbers], values.dtype)


def pad(values: Array, pads: Sequence[Operand], mode: str = "edge", value: float = 0.0) -> Array:
    """Values with more around them: `pads` before each axis, then after each axis."""
    filling = [] if mode == "edge" else [as_array(value, values.dtype)]
    return apply("Pad", [values, shape_of(*pads), *filling], values.dtype, mode=mode)


def arange(stop: Operand) -> Array:
    """0, 1, ... below `stop`, int64."""
    return apply("Range", [as_array(0), as_array(stop), as_array(1)], INT)


def full(length: Array, value: float | int | bool, dtype: np.dtype) -> Array:
    """(length,) of one value."""
    return apply("Expand", [as_array(value, dtype), shape_of(length)], dtype)
