"""House style of the report's figures, and how they become inline SVG."""

from __future__ import annotations

import io
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

COLOURS: tuple[str, ...] = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#4D4D4D", "#A6761D")
"""Colours that stay apart for colour-blind readers (Okabe and Ito 2008)."""

CTC_COLOUR = "#D55E00"
CLOUD_COLOUR = "#5b7fa3"

_LEFT_IN, _RIGHT_IN, _BOTTOM_IN, _TOP_IN = 0.8, 0.12, 0.52, 0.12
LEGEND_IN = 0.34
"""Room above the axes for a legend."""

STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "ctcnet",
    "font.family": "sans-serif",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#8a94a0",
    "axes.labelcolor": "#28313b",
    "xtick.color": "#55606c",
    "ytick.color": "#55606c",
    "axes.grid": True,
    "grid.color": "#e6eaee",
    "legend.frameon": False,
    "legend.fontsize": 9,
}


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


def svg_text(figure: Figure, title: str) -> str:
    """The figure as an SVG element; the same figure always gives the same text."""
    buffer = io.StringIO()
    metadata: dict[str, Any] = {"Date": None, "Title": title, "Creator": None}
    figure.savefig(buffer, format="svg", transparent=True, dpi=150, metadata=metadata)
    text = buffer.getvalue()
    return text[text.index("<svg") :].replace("<svg ", f'<svg role="img" aria-label="{title}" ', 1)
