"""House style of figures in reports, and how they become inline SVG."""

from __future__ import annotations

import io
from html import escape
from typing import Any

from matplotlib.figure import Figure

COLOURS: tuple[str, ...] = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#4D4D4D", "#A6761D")
"""Colours that stay apart for colour-blind readers (Okabe and Ito 2008)."""

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
"""For `matplotlib.rc_context`."""


def svg_text(figure: Figure, title: str) -> str:
    """The figure as an SVG element; the same figure always gives the same text."""
    buffer = io.StringIO()
    metadata: dict[str, Any] = {"Date": None, "Title": title, "Creator": None}
    figure.savefig(buffer, format="svg", transparent=True, dpi=150, metadata=metadata)
    text = buffer.getvalue()
    return text[text.index("<svg") :].replace("<svg ", f'<svg role="img" aria-label="{escape(title)}" ', 1)
