"""Picture of a run's metrics table."""

from __future__ import annotations

from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from ctcnet.training.metrics_table import read_metrics

_SCORES = (("val_macro_f1", "macro-F1"), ("val_mean_average_precision", "mean average precision"))


def plot_learning_curve(metrics: Path, picture: Path) -> None:
    """Draw losses and validation scores over epochs into a PNG file.

    Args:
        metrics: `metrics.csv` of a run.
        picture: PNG file to write.
    """
    rows = read_metrics(metrics)
    epochs = [int(row["epoch"]) + 1 for row in rows]
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    losses, scores = figure.subplots(1, 2)
    for axes, lines in ((losses, (("train_loss", "training"), ("val_log_loss", "validation"))), (scores, _SCORES)):
        for column, label in lines:
            points = [(epoch, float(row[column])) for epoch, row in zip(epochs, rows, strict=True) if row[column]]
            if points:
                axes.plot(*zip(*points, strict=True), label=label, marker="o" if len(points) < 3 else None)
        axes.set_xlabel("epoch")
        axes.grid(alpha=0.3)
        if axes.get_legend_handles_labels()[0]:
            axes.legend()
    losses.set_ylabel("loss (nats)")
    scores.set_ylabel("score on validation data")
    figure.savefig(picture, dpi=110)
