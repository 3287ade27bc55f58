"""Values in order."""

from __future__ import annotations

from ctcnet.export.frame_graph.arrays.array import INT, Array, Operand, apply_many, as_array
from ctcnet.export.frame_graph.arrays.indices import last
from ctcnet.export.frame_graph.arrays.shapes import cut, pad, shape_of


def sort(values: Array, number: Operand, largest: bool = False) -> tuple[Array, Array]:
    """The `number` least (or largest) values along the last axis in order, and where they were; of equals the first."""
    inputs = [values, shape_of(number)]
    found, index = apply_many("TopK", inputs, [values.dtype, INT], axis=-1, largest=int(largest), sorted=1)
    return found, index


def sort_rows(values: Array, number: int, axes: int, largest: bool = False) -> tuple[Array, Array]:
    """As `sort`, for an array of `axes` axes of which the first may be empty: onnxruntime 1.17 ends the process there.

    Args:
        values: (N, ...).
        number: how many to take.
        axes: how many the array has.
        largest: whether the largest are wanted.
    """
    one_more = pad(values, [0] * axes + [1] + [0] * (axes - 1), "constant", 0.0)
    found, index = sort(one_more, number, largest)
    return cut(found, 0, 0, values.size(0)), cut(index, 0, 0, values.size(0))


def order_of(values: Array, largest: bool = False) -> Array:
    """Indices that sort (N,), stable."""
    return sort(values, values.size(0), largest)[1]


def median(values: Array, number: Operand) -> Array:
    """Lower median along the last axis, whose length is `number`, as torch's."""
    rank = (number - 1) // 2 + 1 if isinstance(number, int) else (as_array(number) - 1) // 2 + 1
    return last(sort(values, rank)[0])
