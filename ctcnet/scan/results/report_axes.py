"""Axes of the report's figures."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure

CTC_COLOUR = "#D55E00"
CLOUD_COLOUR = "#5b7fa3"

_LEFT_IN, _RIGHT_IN, _BOTTOM_IN, _TOP_IN = 0.8, 0.12, 0.52, 0.12
LEGEND_IN = 0.34
"""Room above the axes for a legend."""


def new_axes(
    width_in: float, height_in: float, xlabel: str, ylabel: str, top_in: float = _TOP_IN
) -> tuple[Figure, Axes]:
    """A figure with one set of axes and fixed margins, which are drawn once where a layout engine draws thrice.

    To be called inside `matplotlib.rc_context(STYLE)`.
    """
    figure = Figure(figsize=(width_in, height_in))
    axes = figure.add_subplot()
    figure.subplots_adjust(
        left=_LEFT_IN / width_in,
        right=1 - _RIGHT_IN / width_in,
        bottom=_BOTTOM_IN / height_in,
        top=1 - top_in / height_in,
    )
    axes.set_xlabel(xlabel)
    axes.set_ylabel(ylabel)
    axes.set_axisbelow(True)
    return figure, axes
