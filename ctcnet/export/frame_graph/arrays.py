"""Arrays in an ONNX graph: the few numpy-like operations that the frame graph is written in, at opset 18.

Operations are recorded one after the other while a `recording` is open. The same operation on the same arrays is
recorded once.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields
from typing import Any

import numpy as np
import onnx_ir as ir

OPSET = 18
FLOAT, INT, BOOL = np.dtype(np.float32), np.dtype(np.int64), np.dtype(np.bool_)


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


class Array:
    """An array whose values are known only when the graph runs; numbers beside it take its type.

    Attributes:
        value: what it is called in the graph.
        dtype: type of its values.
    """

    __slots__ = ("dtype", "value")
    __array_ufunc__ = None  # numpy arrays leave it to this class what to do with them

    def __init__(self, value: ir.Value, dtype: np.dtype) -> None:
        self.value, self.dtype = value, dtype

    def to(self, dtype: np.dtype) -> Array:
        """Cast; towards zero from numbers with a fraction to whole ones."""
        if self.dtype == dtype:
            return self
        return apply("Cast", [self], dtype, to=int(ir.DataType.from_numpy(dtype)))

    def size(self, axis: int) -> Array:
        """Length along an axis (0 or more), a scalar int64."""
        return squeeze(apply("Shape", [self], INT, start=axis, end=axis + 1), 0)

    def _with(self, other: Operand, name: str, dtype: np.dtype | None = None, swapped: bool = False) -> Array:
        pair = [as_array(other, self.dtype), self] if swapped else [self, as_array(other, self.dtype)]
        return apply(name, pair, dtype or self.dtype)

    def __add__(self, other: Operand) -> Array:
        return self._with(other, "Add")

    __radd__ = __add__

    def __sub__(self, other: Operand) -> Array:
        return self._with(other, "Sub")

    def __rsub__(self, other: Operand) -> Array:
        return self._with(other, "Sub", swapped=True)

    def __mul__(self, other: Operand) -> Array:
        return self._with(other, "Mul")

    __rmul__ = __mul__

    def __truediv__(self, other: Operand) -> Array:
        return self._with(other, "Div")

    def __rtruediv__(self, other: Operand) -> Array:
        return self._with(other, "Div", swapped=True)

    def __floordiv__(self, other: Operand) -> Array:
        """Of whole numbers that are not negative."""
        return self._with(other, "Div")

    def __neg__(self) -> Array:
        return apply("Neg", [self], self.dtype)

    def __lt__(self, other: Operand) -> Array:
        return self._with(other, "Less", BOOL)

    def __le__(self, other: Operand) -> Array:
        return self._with(other, "LessOrEqual", BOOL)

    def __gt__(self, other: Operand) -> Array:
        return self._with(other, "Greater", BOOL)

    def __ge__(self, other: Operand) -> Array:
        return self._with(other, "GreaterOrEqual", BOOL)

    def __and__(self, other: Operand) -> Array:
        return self._with(other, "And")

    def __or__(self, other: Operand) -> Array:
        return self._with(other, "Or")

    def __invert__(self) -> Array:
        return apply("Not", [self], BOOL)


Operand = Array | float | int | bool | np.ndarray
"""What stands beside an array; numbers take its type."""


def apply_many(name: str, inputs: Sequence[Array], dtypes: Sequence[np.dtype], **attributes: Any) -> list[Array]:
    """Outputs of an ONNX operator, of the types stated."""
    values = _OPEN[-1].op(name, [array.value for array in inputs], attributes, len(dtypes))
    return [Array(value, dtype) for value, dtype in zip(values, dtypes, strict=True)]


def apply(name: str, inputs: Sequence[Array], dtype: np.dtype, **attributes: Any) -> Array:
    """The output of an ONNX operator that has one."""
    return apply_many(name, inputs, [dtype], **attributes)[0]


def as_array(value: Operand, dtype: np.dtype = INT) -> Array:
    """The array, or a constant of this type."""
    return value if isinstance(value, Array) else Array(_OPEN[-1].constant(np.asarray(value, dtype)), dtype)


def plain(values: Any, dtype: np.dtype = FLOAT) -> Array:
    """A constant."""
    return as_array(np.asarray(values, dtype), dtype)


def whole(*values: int) -> Array:
    """A constant (n,) int64."""
    return plain(values, INT)


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


END = 2**62
"""As `stop` of a cut: the whole rest."""


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


def take(values: Array, rows: Array, along: int = 0) -> Array:
    """`values[rows]` along one axis; the indices may have any shape."""
    return apply("Gather", [values, rows], values.dtype, axis=along)


def take_along(values: Array, rows: Array, along: int = -1) -> Array:
    """One value for each index along an axis, as numpy's `take_along_axis`."""
    return apply("GatherElements", [values, rows], values.dtype, axis=along)


def last(values: Array) -> Array:
    """The last value along the last axis."""
    return take(values, as_array(-1), -1)


def where(condition: Array, a: Operand, b: Operand) -> Array:
    """`a` where the condition holds, else `b`; at least one of them is an array."""
    dtype = a.dtype if isinstance(a, Array) else b.dtype if isinstance(b, Array) else FLOAT
    return apply("Where", [condition, as_array(a, dtype), as_array(b, dtype)], dtype)


def nonzero(mask: Array) -> tuple[Array, Array]:
    """Rows and columns of what is true in a mask (N, M), in row-major order."""
    found = apply("NonZero", [mask], INT)
    return take(found, as_array(0)), take(found, as_array(1))


def rows_of(mask: Array) -> Array:
    """Indices of what is true in a mask (N,)."""
    return squeeze(apply("NonZero", [mask], INT), 0)


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


def minimum(a: Array, b: Operand) -> Array:
    """The lesser of two."""
    return apply("Min", [a, as_array(b, a.dtype)], a.dtype)


def maximum(a: Array, b: Operand) -> Array:
    """The larger of two."""
    return apply("Max", [a, as_array(b, a.dtype)], a.dtype)


def clip(values: Array, least: Operand, largest: Operand) -> Array:
    """Values moved between two bounds."""
    return minimum(maximum(values, least), largest)


def absolute(values: Array) -> Array:
    """Magnitude."""
    return apply("Abs", [values], values.dtype)


def floor(values: Array) -> Array:
    """To the next lower whole number."""
    return apply("Floor", [values], values.dtype)


def rounded(values: Array) -> Array:
    """To the nearest whole number, halves to the even one, as numpy's `rint`."""
    return apply("Round", [values], values.dtype)


def sqrt(values: Array) -> Array:
    """Square root."""
    return apply("Sqrt", [values], values.dtype)


def power(values: Array, exponent: float) -> Array:
    """Values to the power of a number."""
    return apply("Pow", [values, as_array(exponent, values.dtype)], values.dtype)


def distance(y: Array, x: Array) -> Array:
    """Length of (y, x)."""
    return sqrt(y * y + x * x)


def is_nan(values: Array) -> Array:
    """Whether values are no numbers."""
    return apply("IsNaN", [values], BOOL)


def _reduced(name: str, values: Array, axes: tuple[int, ...]) -> Array:
    return apply(name, [values, whole(*axes)], values.dtype, keepdims=0)


def sum_of(values: Array, *axes: int) -> Array:
    """Sum along axes."""
    return _reduced("ReduceSum", values, axes)


def mean_of(values: Array, *axes: int) -> Array:
    """Mean along axes."""
    return _reduced("ReduceMean", values, axes)


def least_of(values: Array, *axes: int) -> Array:
    """Least value along axes that are not empty."""
    return _reduced("ReduceMin", values, axes)


def largest_of(values: Array, *axes: int) -> Array:
    """Largest value along axes that are not empty."""
    return _reduced("ReduceMax", values, axes)


def count_of(mask: Array, *axes: int) -> Array:
    """Number of true values, int64."""
    return sum_of(mask.to(INT), *axes)


def running_sum(values: Array, along: int = 0) -> Array:
    """Sum up to each place and with it."""
    return apply("CumSum", [values, as_array(along)], values.dtype)


def matmul(a: Array, b: Operand) -> Array:
    """Product of matrices."""
    return apply("MatMul", [a, as_array(b, a.dtype)], a.dtype)


def scattered(length: Array, rows: Array, values: Array, how: str, start: float | int = 0) -> Array:
    """(length,) of `start`, each value added ('add') to its row, or the least ('min') or largest ('max') kept."""
    return scatter(full(length, start, values.dtype), rows, values, how)


def scatter(start: Array, rows: Array, values: Array, how: str) -> Array:
    """As `scattered`, upon an array (N,)."""
    return apply("ScatterElements", [start, rows, values], values.dtype, axis=0, reduction=how)


def marked(length: Array, rows: Array, mask: Array) -> Array:
    """(length,) bool, rows that some true value points to."""
    return scattered(length, rows, mask.to(INT), "max") > 0


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


def inlined(model: ir.Model, inputs: Mapping[str, Array], outputs: Sequence[tuple[str, np.dtype]]) -> list[Array]:
    """Outputs of another model whose nodes are put in; it is used up by this.

    Args:
        model: at the same opset.
        inputs: for each of its inputs.
        outputs: names and types of those wanted.
    """
    recorder, graph = _OPEN[-1], model.graph
    found = {value.name: value for value in graph.outputs}
    for value in graph.inputs:
        ir.convenience.replace_all_uses_with(value, inputs[value.name or ""].value)
    for value in list(graph.initializers.values()):
        graph.initializers.pop(value.name or "")
        value.name = recorder.name("weight")
        recorder.weights.append(value)
    nodes = list(graph)
    graph.outputs.clear()
    graph.remove(nodes)
    for node in nodes:
        node.name = recorder.name(node.op_type)
        for value in node.outputs:
            value.name = recorder.name(node.op_type)
    recorder.nodes.extend(nodes)
    return [Array(found[name], dtype) for name, dtype in outputs]


def model_of(
    graph: Recording, inputs: Sequence[ir.Value], outputs: Mapping[str, Array], shapes: Mapping[str, Sequence[Any]]
) -> ir.Model:
    """The model that a recording makes; `shapes` are those of its outputs."""
    for name, array in outputs.items():
        array.value.name = name
        array.value.type = ir.TensorType(ir.DataType.from_numpy(array.dtype))
        array.value.shape = ir.Shape(shapes[name])
    values = [array.value for array in outputs.values()]
    whole_graph = ir.Graph(
        inputs, values, nodes=graph.nodes, initializers=graph.constants, opset_imports={"": OPSET}, name="frame"
    )
    return ir.Model(whole_graph, ir_version=9)


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
