"""Operations on each value of an array by itself."""

from __future__ import annotations

from ctcnet.export.frame_graph.arrays.array import FLOAT, Array, Operand, apply, as_array


def where(condition: Array, a: Operand, b: Operand) -> Array:
    """`a` where the condition holds, else `b`; at least one of them is an array."""
    dtype = a.dtype if isinstance(a, Array) else b.dtype if isinstance(b, Array) else FLOAT
    return apply("Where", [condition, as_array(a, dtype), as_array(b, dtype)], dtype)


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
