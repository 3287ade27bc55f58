"""Figures of a scan's report: scatter of two markers, map of the cartridge, quality along the frames."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axis import Axis
from matplotlib.colors import LogNorm
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from ctcnet.scan.results.report_axes import CLOUD_COLOUR, CTC_COLOUR, LEGEND_IN, new_axes
from ctcnet.svg_figure import COLOURS, STYLE, svg_text

_MOST_POINTS = 20_000
_MOST_MARKED = 2_000
_BIN_UM = 150.0
_EVENTS_PER_BIN = 12
_MOST_BINS = 300


@dataclass(frozen=True)
class Scatter:
    """Two markers of every event.

    Attributes:
        x_marker, y_marker: their names.
        x, y: (N,) mean counts above the local background.
        is_ctc: (N,) bool, whether the event was called one that contains a CTC.
    """

    x_marker: str
    y_marker: str
    x: np.ndarray
    y: np.ndarray
    is_ctc: np.ndarray


@dataclass(frozen=True)
class MapPoints:
    """Positions of every event in the cartridge: x_um, y_um (N,), and whether it was called a CTC (N,)."""

    x_um: np.ndarray
    y_um: np.ndarray
    is_ctc: np.ndarray


def scatter_figure(scatter: Scatter) -> str:
    """Two markers against each other on logarithmic axes; CTC events marked."""
    known = np.isfinite(scatter.x) & np.isfinite(scatter.y)
    is_ctc = scatter.is_ctc.astype(bool)[known]
    x, y = (_above_floor(values[known].astype(np.float64)) for values in (scatter.x, scatter.y))
    with mpl.rc_context(STYLE):
        x_label, y_label = (f"{name}, mean counts above background" for name in (scatter.x_marker, scatter.y_marker))
        figure, axes = new_axes(5.2, 4.4, x_label, y_label, LEGEND_IN)
        cloud, marked = _thinned(~is_ctc, _MOST_POINTS), _thinned(is_ctc, _MOST_MARKED)
        axes.scatter(
            x[cloud], y[cloud], s=5, lw=0, color=CLOUD_COLOUR, alpha=0.35, label="other events", rasterized=True
        )
        if len(marked):
            axes.scatter(
                x[marked], y[marked], s=26, marker="D", color=CTC_COLOUR, ec="#fff", lw=0.6, label="contain a CTC"
            )
        axes.set(xscale="log", yscale="log")
        if not len(x):
            axes.set(xlim=(1, 100), ylim=(1, 100))
        for axis in (axes.xaxis, axes.yaxis):
            _plain_log_ticks(axis)
        axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, markerscale=1.4, handletextpad=0.3)
        return svg_text(figure, f"{scatter.x_marker} against {scatter.y_marker}")


def map_figure(points: MapPoints) -> str:
    """Density of events over the cartridge, and where those that contain a CTC are."""
    x, y, is_ctc = points.x_um / 1000, points.y_um / 1000, points.is_ctc.astype(bool)
    width, height = (max(float(np.ptp(values)), 0.1) if len(values) else 0.1 for values in (x, y))
    fair_mm = (_EVENTS_PER_BIN * width * height / max(len(x), 1)) ** 0.5
    bin_mm = max(_BIN_UM / 1000, min(fair_mm, 1.0), max(width, height) / _MOST_BINS)
    with mpl.rc_context({**STYLE, "axes.grid": False}):
        figure, axes = new_axes(9.4, float(np.clip(0.7 + 6.8 * height / width, 1.9, 7.5)), "x, mm", "y, mm")
        if len(x):
            bins = [max(1, int(np.ceil(extent / bin_mm))) for extent in (width, height)]
            number, x_edges, y_edges = np.histogram2d(x, y, bins=bins)
            density = np.ma.masked_equal(number.T / np.outer(np.diff(y_edges), np.diff(x_edges)), 0)
            mesh = axes.pcolormesh(
                x_edges,
                y_edges,
                density,
                cmap="Blues",
                norm=LogNorm(float(density.min()), 1.01 * float(density.max())),
                rasterized=True,
            )
            bar = figure.colorbar(mesh, ax=axes, label="events per mm²", shrink=0.9)
            _plain_log_ticks(bar.ax.yaxis)
        marked = _thinned(is_ctc, _MOST_MARKED)
        axes.plot(x[marked], y[marked], "D", ms=5, color=CTC_COLOUR, mec="#fff", mew=0.6)
        axes.set_aspect("equal")
        axes.invert_yaxis()
        return svg_text(figure, "Map of the cartridge")


def quality_figures(quality: Sequence[Mapping[str, Any]], markers: Sequence[str]) -> list[tuple[str, str, str]]:
    """Quality along the frames, from the frames' records (`ctcnet.scan.preprocess.quality.frame_quality`).

    Returns:
        Title, SVG and explanation of each figure; a figure of which every value is 0 or unknown is left out.
    """
    frames = [record["frame"] for record in quality]
    density = [("cells", [record["cells_per_mm2"] for record in quality])]
    plots = [("Cells per mm²", density, "Nucleated events by the scanner's frame number.")]
    texts = {
        "focus": ("Focus", "Fine detail of the cells, 1/µm. A dip is a frame out of focus."),
        "background": ("Background", "Counts between the cells. A slope is uneven staining or light."),
        "saturated_share": ("Saturated pixels, %", "Share of pixels at the camera's limit."),
    }
    for key, (title, text) in texts.items():
        times = 100.0 if title.endswith("%") else 1.0
        series = [(marker, _values(quality, marker, key, times)) for marker in markers]
        plots.append((title, series, text))
    return [(title, svg, text) for title, series, text in plots if (svg := _along_frames(title, frames, series))]


def _values(quality: Sequence[Mapping[str, Any]], marker: str, key: str, times: float) -> list[float | None]:
    values = [record["channels"].get(marker, {}).get(key) for record in quality]
    return [None if value is None else times * value for value in values]


def _along_frames(title: str, frames: Sequence[int], series: Sequence[tuple[str, Sequence[float | None]]]) -> str:
    with mpl.rc_context(STYLE):
        figure, axes = new_axes(5.2, 3.4, "frame", title, LEGEND_IN)
        drawn = 0
        for index, (name, values) in enumerate(series):
            numbers = np.array([np.nan if value is None else value for value in values], dtype=np.float64)
            if np.nan_to_num(numbers).any():
                colour = COLOURS[index % len(COLOURS)]
                axes.plot(frames, numbers, "." if len(frames) > 60 else ".-", color=colour, ms=5, lw=1, label=name)
                drawn += 1
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_ylim(bottom=min(0.0, axes.get_ylim()[0]))
        if drawn > 1:
            axes.legend(loc="upper center", bbox_to_anchor=(0.5, 1.15), ncols=min(drawn, 5), handletextpad=0.3)
        return svg_text(figure, title) if drawn else ""


def _above_floor(values: np.ndarray) -> np.ndarray:
    """Values for a logarithmic axis: those at or near 0 are put at a hundredth of the median, or what is just above."""
    positive = values[values > 0]
    if not len(positive):
        return np.ones_like(values)
    return np.maximum(values, max(0.01 * float(np.median(positive)), float(np.quantile(positive, 0.002))))


def _plain_log_ticks(axis: Axis) -> None:
    """Ticks at 1, 2 and 5 of every decade, as plain numbers."""
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def _thinned(mask: np.ndarray, most: int) -> np.ndarray:
    """Indices where the mask is true, at most `most`, evenly spread."""
    rows = np.flatnonzero(mask)
    return rows if len(rows) <= most else rows[np.linspace(0, len(rows) - 1, most).astype(int)]
