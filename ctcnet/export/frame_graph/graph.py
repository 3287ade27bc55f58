"""The frame graph from input to output."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir

from ctcnet.export.frame_graph.arrays.array import FLOAT, INT, Array, as_array
from ctcnet.export.frame_graph.arrays.elements import maximum, where
from ctcnet.export.frame_graph.arrays.model import model_of
from ctcnet.export.frame_graph.arrays.recording import recording
from ctcnet.export.frame_graph.arrays.shapes import END, axis, concat, cut, pad, reshape, squeeze, transpose
from ctcnet.export.frame_graph.arrays.sorting import median
from ctcnet.export.frame_graph.arrays.sums import matmul
from ctcnet.export.frame_graph.background import measure_background
from ctcnet.export.frame_graph.cells import find_cells
from ctcnet.export.frame_graph.crops import classify
from ctcnet.export.frame_graph.events import put_together
from ctcnet.export.frame_graph.levels import choose_levels
from ctcnet.export.frame_graph.objects import find_objects
from ctcnet.export.frame_graph.planes import working_planes
from ctcnet.model_card import ModelCard
from ctcnet.runtime.frame_predictor import OUTPUTS
from ctcnet.scan.detect.detector import EventDetector
from ctcnet.scan.preprocess.quality import SATURATED_SHARE
from ctcnet.scan.typical_counts import STEP_PX

LEAST_SIDE_PX = 16
"""Frames less high or wide have no events: the scan refuses them."""

UINT16, INT32 = np.dtype(np.uint16), np.dtype(np.int32)


def build_frame_graph(
    detector: EventDetector, unmixing: np.ndarray, crop_graph: onnx.ModelProto, card: ModelCard
) -> onnx.ModelProto:
    """Frame graph with the inputs and outputs that `ctcnet.runtime.frame_predictor` names.

    Args:
        detector: the detector whose events the graph finds; its roles are those of the card's channels.
        unmixing: (C, C), see `ctcnet.scan.preprocess.spillover`; the identity for none.
        crop_graph: the model for crops of float32 counts.
        card: its card.
    """
    channels, um, settings = len(detector.roles), detector.pixel_size_um, detector.settings
    with recording() as graph:
        inputs = [
            graph.input("frame", UINT16, [channels, "height", "width"]),
            graph.input("background", FLOAT, [channels]),
            graph.input("scale", FLOAT, [channels]),
            graph.input("max_events", INT, [1]),
        ]
        frame, background, scale, most = (
            Array(value, dtype) for value, dtype in zip(inputs, (UINT16, FLOAT, FLOAT, INT), strict=True)
        )
        counts = _unmixed(frame.to(FLOAT), unmixing, card.panel.full_scale)
        height, width = counts.size(1), counts.size(2)
        below, right = (maximum(LEAST_SIDE_PX - size, 0) for size in (height, width))
        padded = pad(counts, (0, 0, 0, 0, below, right))
        measured = measure_background(padded, um, settings.noise_floor_counts)
        used = sorted({detector.nucleus, *detector.object_channels, *detector.cell_channels})
        image = working_planes(padded, used, measured, detector.factor, um)
        cells = find_cells(image, settings, detector.nucleus, detector.cell_channels)
        cells = cells.kept((cells.snr > 0) & (height >= LEAST_SIDE_PX) & (width >= LEAST_SIDE_PX))
        objects = find_objects(image, settings, detector.object_channels, detector.cell_channels, cells)
        objects = objects.kept((objects.snr > 0) & (height >= LEAST_SIDE_PX) & (width >= LEAST_SIDE_PX))
        every = put_together(image, cells, objects, height, width, settings.member_distance_um)
        limit = squeeze(maximum(most, 0), 0)
        events = every.spread(limit)
        levels = choose_levels(background, scale, counts, every, measured, card, um)
        answers = classify(counts, events, measured.level, levels, crop_graph, card, um)
        local = concat([axis(measured.at(channel, events.y_px, events.x_px), 0) for channel in range(channels)])
        mean = answers.mean - transpose(local, 1, 0)
        outputs = {
            "x_px": events.x_px,
            "y_px": events.y_px,
            "diameter_um": events.diameter_um,
            "kind": events.kind.to(INT32),
            "members": events.members.to(INT32),
            "parent": events.parent.to(INT32),
            "height_snr": events.height_snr,
            "probabilities": answers.probabilities,
            "unassigned": answers.unassigned,
            "atypicality": answers.atypicality,
            "mean": mean,
            "snr": mean / axis(measured.noise, 0),
            "truncated": every.number > limit,
            "events_found": every.number,
            "background_used": levels.background,
            "scale_used": levels.scale,
            "background_source": levels.background_source,
            "scale_source": levels.scale_source,
        }
        return ir.to_proto(model_of(graph, inputs, outputs, _shapes(channels, len(card.labels.classes))))


def _unmixed(counts: Array, unmixing: np.ndarray, full_scale: int) -> Array:
    """Counts (C, H, W) with the spillover between channels undone, see `ctcnet.scan.preprocess.unmixing`."""
    channels = len(unmixing)
    if np.allclose(unmixing, np.eye(channels)):
        return counts
    thinned = cut(cut(counts, 1, 0, END, STEP_PX), 2, 0, END, STEP_PX)
    sampled = reshape(thinned, channels, -1)
    typical = axis(median(sampled, sampled.size(1)), 1)
    matrix = as_array(unmixing, FLOAT)
    own = matmul(matrix, reshape(counts, channels, -1)) + (typical - matmul(matrix, typical))
    own = maximum(reshape(own, channels, counts.size(1), counts.size(2)), 0.0)
    return where(counts >= SATURATED_SHARE * full_scale, counts, own)


def _shapes(channels: int, classes: int) -> dict[str, list[int | str]]:
    """Shape of each output."""
    wide = {"probabilities": classes, "mean": channels, "snr": channels}
    shapes: dict[str, list[int | str]] = {name: ["events"] for name in OUTPUTS}
    shapes |= {name: ["events", width] for name, width in wide.items()}
    alone: dict[str, list[int | str]] = {"truncated": [], "events_found": []}
    per_channel: list[int | str] = [channels]
    levels = ("background_used", "scale_used", "background_source", "scale_source")
    return shapes | alone | dict.fromkeys(levels, per_channel)
