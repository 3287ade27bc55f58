"""Loops, and parts of a graph that onnxruntime plans by themselves."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields
from typing import Any

import numpy as np
import onnx_ir as ir

from ctcnet.export.frame_graph.arrays.array import BOOL, INT, Array, apply, apply_many, as_array
from ctcnet.export.frame_graph.arrays.recording import Recording, recording
from ctcnet.export.frame_graph.arrays.shapes import squeeze


def loop(
    most: Array, start: Sequence[Array], going: Array, body: Callable[..., tuple[Array, Sequence[Array]]]
) -> list[Array]:
    """Repeat `body` while it says so.

    Args:
        most: rounds at most, int64 scalar.
        start: what it begins with, one row of values each.
        going: bool scalar, whether the first round takes place.
        body: takes what it is given and gives whether another round follows, and the next values.
    """
    dtypes = [array.dtype for array in start]
    with recording() as inner:
        inputs = [_loop_input(inner, dtype, 0) for dtype in (INT, BOOL)]
        state = [_loop_input(inner, dtype, 1) for dtype in dtypes]
        again, values = body(*state)
        graph = _body(inner, [*inputs, *state], [again, *values])
    return apply_many("Loop", [most, going, *start], dtypes, body=graph)


def batches(number: Array, body: Callable[[Array], Sequence[Array]]) -> list[Array]:
    """Results of `body` for 0, 1, ... below `number` (at least 1), each stacked along a new first axis."""
    with recording() as inner:
        index, going = (_loop_input(inner, dtype, 0) for dtype in (INT, BOOL))
        results = body(index)
        graph = _body(inner, [index, going], [apply("Identity", [going], BOOL), *results])
    return apply_many("Loop", [number, as_array(True, BOOL)], [result.dtype for result in results], body=graph)


def part(function: Callable[..., Any], *arguments: Any) -> Any:
    """`function(*arguments)`, recorded as the body of a loop of one round.

    onnxruntime plans the memory of every body by itself, in a time that grows with the square of its operations: in one
    piece the graph takes 6 s to load, in parts a quarter of a second.

    Args:
        function: gives an array, or a tuple or dataclass of arrays.
        arguments: what it takes.
    """
    kinds: list[Any] = []

    def body(_index: Array) -> Sequence[Array]:
        result = function(*arguments)
        if isinstance(result, Array):
            kinds.append(lambda value: value)
            return [result]
        if isinstance(result, tuple):
            kinds.append(lambda *values: values)
            return result
        kinds.append(type(result))
        return [getattr(result, field.name) for field in fields(result)]

    values = batches(as_array(1), body)
    return kinds[0](*(squeeze(value, 0) for value in values))


def _loop_input(inner: Recording, dtype: np.dtype, rank: int) -> Array:
    return Array(inner.input(inner.name("given"), dtype, [None] * rank), dtype)


def _body(inner: Recording, inputs: Sequence[Array], results: Sequence[Array]) -> ir.Graph:
    outside = [result for result in results if result.value.producer() not in inner.nodes]
    results = [apply("Identity", [result], result.dtype) if result in outside else result for result in results]
    for result in results:
        result.value.type = ir.TensorType(ir.DataType.from_numpy(result.dtype))
    values = [result.value for result in results]
    given = [array.value for array in inputs]
    return ir.Graph(given, values, nodes=inner.nodes, initializers=inner.weights, name=inner.name("body"))
