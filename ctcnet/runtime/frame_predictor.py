"""A frame graph in an ONNX file: one raw frame in, its events classified."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ctcnet.errors import ModelFileError, ModelPanelError, SettingError
from ctcnet.model_card import ModelCard
from ctcnet.runtime.onnx_predictor import check_level, check_sizes, check_types, read_card
from ctcnet.runtime.session import ModelSession, SessionSettings

INPUTS = ("frame", "background", "scale", "max_events")
MAX_EVENTS = 4096
"""Events of a frame at most, unless asked otherwise."""

KIND_NAMES: tuple[str, ...] = ("cell", "object", "cluster")
"""Name of each kind of event, by its number: with a nucleus, without one, a group of touching cells."""

GIVEN, OF_FRAME, OF_MODEL, OF_CROP = range(4)
LEVEL_SOURCES = ("given", "frame", "model", "crop")
"""Where a level comes from: the caller, this frame, the model's card, each crop by itself."""


@dataclass(frozen=True)
class FrameEvents:
    """Events of a frame, sorted by y, then x; N of them.

    Attributes:
        x_px, y_px: (N,) float32, centre; (0, 0) is the centre of the upper left pixel.
        diameter_um: (N,) float32, of the stained area of a cell, of an object, or of the circle that holds a cluster.
        kind: (N,) int32, 0 for a cell, 1 for an object without a nucleus, 2 for a cluster of touching cells.
        members: (N,) int32, cells of a cluster; 1 for the others.
        parent: (N,) int32, row of the cluster that a cell is a member of, else -1.
        height_snr: (N,) float32, height of the nucleus (an object's stain, a cluster's brightest nucleus) over the
            background in standard deviations of the noise.
        probabilities: (N, K) float32, calibrated, classes as on the card.
        unassigned: (N,) bool, the evidence is too weak for a class, or the event is atypical.
        atypicality: (N,) float32, above 1 atypical; NaN where the model has no such score.
        mean: (N, C) float32, mean counts over the local background within the disc of `diameter_um`.
        snr: (N, C) float32, `mean` in standard deviations of the noise.
        truncated: whether the frame has more events than were asked for; those given are spread over its height.
        events_found: events of the frame.
        background_used, scale_used: (C,) float32, counts.
        background_source, scale_source: (C,) int32, `GIVEN`, `OF_FRAME`, `OF_MODEL` or `OF_CROP`.
    """

    x_px: np.ndarray
    y_px: np.ndarray
    diameter_um: np.ndarray
    kind: np.ndarray
    members: np.ndarray
    parent: np.ndarray
    height_snr: np.ndarray
    probabilities: np.ndarray
    unassigned: np.ndarray
    atypicality: np.ndarray
    mean: np.ndarray
    snr: np.ndarray
    truncated: bool
    events_found: int
    background_used: np.ndarray
    scale_used: np.ndarray
    background_source: np.ndarray
    scale_source: np.ndarray

    def __len__(self) -> int:
        """Number of events given."""
        return len(self.x_px)


OUTPUTS: tuple[str, ...] = tuple(FrameEvents.__dataclass_fields__)

_OF_FRAMES = ("truncated", "events_found", "background_used", "scale_used", "background_source", "scale_source")
"""Outputs that are not of single events."""
_TYPES = {
    **dict.fromkeys((*OUTPUTS, "background", "scale"), "tensor(float)"),
    **dict.fromkeys(("kind", "members", "parent", "background_source", "scale_source"), "tensor(int32)"),
    **dict.fromkeys(("unassigned", "truncated"), "tensor(bool)"),
    **dict.fromkeys(("events_found", "max_events"), "tensor(int64)"),
    "frame": "tensor(uint16)",
}
"""Type of each input and output, in the words of onnxruntime."""


class FramePredictor:
    """Finds and classifies the events of frames.

    Args:
        path: ONNX file written by `ctcnet export --frame`.
        settings: how to run it.
        expected_sha256: hash that the file must have; None takes that of the signature file beside it, where there is
            one.

    Attributes:
        card: the model's card.
        properties: the file's metadata.
        frame_pixel_size_um: micrometres per pixel of the frames that it was made for.

    Raises:
        ModelFileError: no such file, one that is no frame graph, is not allowed (see `ctcnet.runtime.model_file`) or
            was changed, or the provider is not to be had.
    """

    def __init__(
        self, path: str | Path, settings: SessionSettings | None = None, *, expected_sha256: str | None = None
    ) -> None:
        self._path = path
        self._session = ModelSession(path, settings or SessionSettings(), expected_sha256)
        self.properties = self._session.properties
        inputs = [node.name for node in self._session.inputs]
        outputs = [node.name for node in self._session.outputs]
        if tuple(inputs) != INPUTS or set(outputs) != set(OUTPUTS):
            raise ModelFileError(
                "is no frame graph",
                where=path,
                expected=f"inputs {', '.join(INPUTS)}; outputs {', '.join(OUTPUTS)}",
                found=f"inputs {', '.join(inputs)}; outputs {', '.join(outputs)}",
                fix="use a file written by ctcnet export --frame",
            )
        self.card: ModelCard = read_card(self.properties, path)
        channels, classes = len(self.card.panel.channels), len(self.card.labels.classes)
        sizes = {"probabilities": (classes,), "mean": (channels,), "snr": (channels,)}
        check_sizes(self._session, sizes, path)
        check_types(self._session, _TYPES, path)
        self.frame_pixel_size_um = _pixel_size_um(self.properties.get("frame_pixel_size_um", ""), path)

    def predict(
        self,
        frame: np.ndarray,
        background: np.ndarray | None = None,
        scale: np.ndarray | None = None,
        max_events: int = MAX_EVENTS,
    ) -> FrameEvents:
        """Find and classify the events of a frame.

        Args:
            frame: uint16 (C, H, W), raw counts, channels as on the card; 1 x 1 pixels or more.
            background, scale: float32 (C,), counts; None or NaN for what the frame itself shows.
            max_events: events at most, 0 or more.

        Raises:
            ModelPanelError: the number of channels is not the model's.
            SettingError: another shape or type, levels that cannot be, or a number of events below 0 or not whole.
            DeadlineError: the call took longer than the settings allow.
            ModelFileError: the answers are none: numbers of events that differ, or probabilities that are no numbers.
        """
        channels = len(self.card.panel.channels)
        if frame.ndim == 3 and frame.shape[0] != channels:
            markers = ", ".join(self.card.panel.markers)
            raise ModelPanelError(
                "frame does not have the model's channels",
                expected=f"({channels}, H, W): {markers}",
                found=str(frame.shape),
            )
        if frame.ndim != 3 or min(frame.shape) < 1 or frame.dtype != np.uint16:
            raise SettingError(
                "frame has another shape or type",
                expected=f"uint16 ({channels}, H, W)",
                found=f"{frame.dtype} {frame.shape}",
            )
        if not isinstance(max_events, int | np.integer) or not 0 <= max_events < 2**62:
            raise SettingError(
                "number of events is out of range", expected="a whole number, 0 or more", found=str(max_events)
            )
        feed = {
            "frame": np.ascontiguousarray(frame),
            "background": check_level(background, "background", channels),
            "scale": check_level(scale, "scale", channels),
            "max_events": np.array([max_events], np.int64),
        }
        found = dict(zip(OUTPUTS, self._session.run(OUTPUTS, feed), strict=True))
        alone = {"truncated": bool(found.pop("truncated")), "events_found": int(found.pop("events_found"))}
        events = FrameEvents(**found, **alone)
        self._check_answers(events)
        return events

    def _check_answers(self, events: FrameEvents) -> None:
        rows = {np.shape(getattr(events, name))[:1] for name in OUTPUTS if name not in _OF_FRAMES}
        if len(rows) != 1 or () in rows or not np.isfinite(events.probabilities).all():
            raise ModelFileError(
                "answers with columns of different lengths or with probabilities that are no numbers",
                where=self._path,
                expected="one row for each event, probabilities that sum to 1",
                found=f"columns of {', '.join(str(size) for size in sorted(rows))} rows",
                fix="look for levels of huge values; without such ones the file is damaged: copy or export it again",
            )


def _pixel_size_um(text: str, path: str | Path) -> float:
    try:
        size_um = float(text)
    except ValueError:
        size_um = math.nan
    if not 0 < size_um < math.inf:
        raise ModelFileError(
            "does not say the pixel size of its frames",
            where=path,
            expected="the metadata property 'frame_pixel_size_um', a number above 0",
            found=text or "nothing",
            fix="export the model again",
        )
    return size_um
