"""Arrays in an ONNX graph, and what is done to them by signs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from ctcnet.export.frame_graph.arrays.recording import current

FLOAT, INT, BOOL = np.dtype(np.float32), np.dtype(np.int64), np.dtype(np.bool_)


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
        length = apply("Shape", [self], INT, start=axis, end=axis + 1)
        return apply("Squeeze", [length, whole(0)], INT)

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
    values = current().op(name, [array.value for array in inputs], attributes, len(dtypes))
    return [Array(value, dtype) for value, dtype in zip(values, dtypes, strict=True)]


def apply(name: str, inputs: Sequence[Array], dtype: np.dtype, **attributes: Any) -> Array:
    """The output of an ONNX operator that has one."""
    return apply_many(name, inputs, [dtype], **attributes)[0]


def as_array(value: Operand, dtype: np.dtype = INT) -> Array:
    """The array, or a constant of this type."""
    return value if isinstance(value, Array) else Array(current().constant(np.asarray(value, dtype)), dtype)


def plain(values: Any, dtype: np.dtype = FLOAT) -> Array:
    """A constant."""
    return as_array(np.asarray(values, dtype), dtype)


def whole(*values: int) -> Array:
    """A constant (n,) int64."""
    return plain(values, INT)
