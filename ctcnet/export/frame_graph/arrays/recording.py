"""The operations of an ONNX graph, recorded one after the other while a `recording` is open."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import onnx_ir as ir


class Recording:
    """The operations of a graph, or of the body of a loop in it.

    Attributes:
        nodes: operations in their order.
        weights: constants of this graph or body alone.
        constants: of the whole graph.
    """

    def __init__(self, outer: Recording | None = None) -> None:
        self.nodes: list[ir.Node] = []
        self.weights: list[ir.Value] = []
        self.constants: list[ir.Value] = [] if outer is None else outer.constants
        self._outer = outer
        self._recorded: dict[Any, Sequence[ir.Value]] = {}
        self._equal: dict[Any, ir.Value] = {} if outer is None else outer._equal
        self._numbers: Iterator[int] = itertools.count() if outer is None else outer._numbers

    def op(
        self, name: str, inputs: Sequence[ir.Value], attributes: Mapping[str, Any], outputs: int
    ) -> Sequence[ir.Value]:
        """Outputs of an operation; recorded unless it has been, here or outside."""
        bodies = any(isinstance(value, ir.Graph) for value in attributes.values())
        key = (name, *map(id, inputs), None if bodies else repr(sorted(attributes.items())))
        found = None if bodies else self._find(key)
        if found is None:
            node = ir.node(name, inputs, attributes, num_outputs=outputs, name=self.name(name))
            for value in node.outputs:
                value.name = self.name(name)
            self.nodes.append(node)
            found = self._recorded[key] = node.outputs
        return found

    def _find(self, key: Any) -> Sequence[ir.Value] | None:
        if key in self._recorded:
            return self._recorded[key]
        return None if self._outer is None else self._outer._find(key)

    def constant(self, values: np.ndarray) -> ir.Value:
        """A constant; equal ones are one."""
        key = (values.dtype, values.shape, values.tobytes())
        if key not in self._equal:
            tensor = ir.tensor(values.copy(order="C"), name=self.name("constant"))
            constant = ir.Value(
                name=tensor.name, shape=ir.Shape(values.shape), type=ir.TensorType(tensor.dtype), const_value=tensor
            )
            self._equal[key] = constant
            self.constants.append(constant)
        return self._equal[key]

    def input(self, name: str, dtype: np.dtype, shape: Sequence[int | str | None]) -> ir.Value:
        """An input of the graph or the body."""
        return ir.Value(name=name, shape=ir.Shape(shape), type=ir.TensorType(ir.DataType.from_numpy(dtype)))

    def name(self, name: str) -> str:
        """A name that nothing else in the whole graph has."""
        return f"{name}_{next(self._numbers)}"


_OPEN: list[Recording] = []


@contextmanager
def recording() -> Iterator[Recording]:
    """A new graph, or within one the body of a loop."""
    _OPEN.append(Recording(_OPEN[-1] if _OPEN else None))
    try:
        yield _OPEN[-1]
    finally:
        _OPEN.pop()


def current() -> Recording:
    """The graph or body that is being recorded."""
    return _OPEN[-1]
