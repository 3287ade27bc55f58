"""Crop graph and frame graph of a shipped model, in float32 or in INT8, for benchmarks."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from ctcnet.cli.models import find_model, load_shipped
from ctcnet.export import Reduction, export_predictor
from ctcnet.export.frame_export import export_frame_graph
from ctcnet.export.reference_crops import divide
from ctcnet.panel import Panel
from ctcnet.pretrained.simulated_crops import simulated_crops
from ctcnet.scan.platform import Platform

PRECISIONS = ("float32", "int8")


class Graphs(NamedTuple):
    """Files of one model, and what is to be said of them: whether INT8 passes the gate of `ctcnet export`."""

    crop: Path
    frame: Path
    note: str


def write_graphs(
    model: str, panel: Panel, folder: Path, *, platform: Platform, pixel_size_um: float, precision: str
) -> Graphs:
    """Write `crop_<precision>.onnx` and `frame_<precision>.onnx` of a shipped model into a folder.

    INT8 is calibrated on simulated crops, as by `ctcnet export --int8 simulated`, and written even where it does not
    pass the gate, which `ctcnet export` would refuse.

    Args:
        model: name of the shipped model.
        panel: channels.
        folder: it must be there.
        platform, pixel_size_um: of the frame graph.
        precision: one of `PRECISIONS`.
    """
    predictor: Any = load_shipped(find_model(model), panel)
    reduction = None
    if precision == "int8":
        reduction = Reduction("int8", divide(simulated_crops(predictor.card), model), must_pass=False)
    crop, frame = (folder / f"{kind}_{precision}.onnx" for kind in ("crop", "frame"))
    reduced = export_predictor(predictor, crop, reduction=reduction, overwrite=True).reduced
    export_frame_graph(
        predictor, frame, platform=platform, pixel_size_um=pixel_size_um, reduction=reduction, overwrite=True
    )
    note = ""
    if reduced is not None:
        gate, failures = reduced.gate, reduced.gate.failures
        found = f"DOES NOT PASS the gate, ctcnet export refuses it: {'; '.join(failures)}" if failures else "passes"
        note = f"{model} in INT8, {panel.name}, {gate.crops} simulated crops not calibrated on: {found}"
    return Graphs(crop, frame, note)
