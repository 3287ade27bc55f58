"""One value for many: sums, means and extremes along axes, and products of matrices."""

from __future__ import annotations

from ctcnet.export.frame_graph.arrays.array import INT, Array, Operand, apply, as_array, whole


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
