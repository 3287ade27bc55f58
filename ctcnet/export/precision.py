"""A model in INT8 or half precision: made from the float32 one, judged by it and timed beside it."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np

from ctcnet.export.crop_graph import ExportablePredictor
from ctcnet.export.half import to_float16
from ctcnet.export.layers import check_kept, convolutions, reducible
from ctcnet.export.onnx_file import OPSETS, trace, write_model
from ctcnet.export.parity import random_crops
from ctcnet.export.precision_gate import Gate, check_gate, compare
from ctcnet.export.quantise import Quantiser
from ctcnet.export.reference_crops import Division, graph_feeds
from ctcnet.model_card import ModelCard
from ctcnet.runtime import OnnxPredictor, Predictions, SessionSettings, classify_crops

if TYPE_CHECKING:
    import onnx

GUARD_BANDS = {"int8": 0.02, "fp16": 0.005}
"""Guard band of each precision, fixed before any comparison."""
RANDOM_CROPS = 2000
"""Crops that a model is judged by where none were given."""
_ROUNDS, _SECONDS, _BATCH = 5, 0.1, 64
_ONE_THREAD = SessionSettings(threads=1)


@dataclass(frozen=True)
class Reduction:
    """What is asked for.

    Attributes:
        precision: 'int8' or 'fp16'.
        division: crops to calibrate on and crops to judge by; None for 'fp16', which needs no calibration and is then
            judged by random crops like cells.
        keep_float: names of layers that are to stay in float32.
        must_pass: whether a model that does not pass its gate is refused; False is for measuring such a model.
    """

    precision: str
    division: Division | None
    keep_float: tuple[str, ...] = ()
    must_pass: bool = True


@dataclass(frozen=True)
class Speed:
    """Crops per second of both models on one thread of this CPU, batches of 64, and how many times the float32 one."""

    float32: float
    reduced: float
    ratio: float


@dataclass(frozen=True)
class Reduced:
    """A model of reduced precision; it passed its gate unless it did not have to.

    Attributes:
        card: its card.
        gate: what the gate found.
        calibration_crops: crops that it was calibrated on; 0 for random ones.
        groups: number of groups calibrated on and judged by.
        speed: beside float32.
    """

    card: ModelCard
    gate: Gate
    calibration_crops: int
    groups: tuple[int, int]
    speed: Speed


def check_keep_float(predictor: ExportablePredictor, names: Iterable[str]) -> None:
    """Look for layers to keep in float32 before the crops are read that the reduction needs.

    Args:
        predictor: a loaded checkpoint on the CPU.
        names: of the layers.

    Raises:
        SettingError: a layer of that name is none that could be reduced.
    """
    check_kept(names, reducible(trace(predictor, OPSETS[0], "float32").graph))


def write_reduced(
    model: onnx.ModelProto,
    reference: OnnxPredictor,
    reduction: Reduction,
    properties: Callable[[ModelCard, OnnxPredictor | None], dict[str, str]],
    path: Path,
    where: str | Path,
) -> Reduced:
    """Write a model of reduced precision that decides as the float32 one does.

    Args:
        model: the float32 model, as `trace` gives it.
        reference: the same as a file, run on one thread.
        reduction: what is asked for.
        properties: metadata of the file for its card, with the golden answers of a predictor or without.
        path: file to write.
        where: name of the file in errors.

    Raises:
        SettingError: a layer to keep that is none.
        ModelPanelError: the crops are of another panel.
        ParityError: the model does not pass its gate, with the layer to keep in float32.
    """
    layers = reducible(model.graph)
    asked = check_kept(reduction.keep_float, layers)
    first = [layer.name for layer in convolutions(model.graph)[:1]]
    card = replace(
        reference.card,
        precision=reduction.precision,
        guard_band=GUARD_BANDS[reduction.precision],
        float_layers=(*first, *(layer.name for layer in layers if layer.name in asked)),
    )
    crops = _Crops(reduction, reference)
    expected = crops.answers(reference)

    quantiser = Quantiser(model, crops.feeds)

    def reduced(kept: frozenset[str]) -> onnx.ModelProto:
        chosen = [layer for layer in layers if layer.name not in kept]
        return quantiser.to_int8(chosen) if reduction.precision == "int8" else to_float16(model, chosen)

    def judged(made: onnx.ModelProto, path: Path) -> tuple[OnnxPredictor, Gate]:
        write_model(made, properties(card, None), path)
        predictor = OnnxPredictor(path, _ONE_THREAD)
        return predictor, compare(expected, crops.answers(predictor), crops.labels, card)

    def judge(more: frozenset[str]) -> Gate:
        with tempfile.TemporaryDirectory() as folder:
            return judged(reduced(asked | more), Path(folder) / "model.onnx")[1]

    made = reduced(asked)
    predictor, gate = judged(made, path)
    if reduction.must_pass:
        check_gate(gate, [layer.name for layer in layers if layer.name not in asked], judge, where)
    write_model(made, properties(card, predictor), path)
    speed = _side_by_side(reference, predictor, card)
    return Reduced(card, gate, crops.calibration_crops, crops.groups, speed)


class _Crops:
    """The crops of a reduction: what is fed for calibration, and what the models are judged by."""

    def __init__(self, reduction: Reduction, reference: OnnxPredictor) -> None:
        self.card, self.dtype = reference.card, reference.input_dtype
        division = reduction.division
        if division is None:
            self.held_out, self.feeds, self.labels, self.groups = None, [], None, (0, 0)
            self.calibration_crops = 0
            return
        self.held_out = division.held_out
        self.feeds = graph_feeds(division.calibration, self.card, self.dtype)
        self.labels = None if self.held_out.targets is None else self.held_out.labels
        self.groups = len(set(division.calibration.group)), len(set(self.held_out.group))
        self.calibration_crops = len(division.calibration)

    def answers(self, predictor: OnnxPredictor) -> Predictions:
        if self.held_out is not None:
            return classify_crops(predictor, self.held_out)[0]
        crops = random_crops(self.card, RANDOM_CROPS, np.random.default_rng(0)).astype(self.dtype)
        return predictor.predict(crops)


def _side_by_side(reference: OnnxPredictor, reduced: OnnxPredictor, card: ModelCard) -> Speed:
    """Both models in turn, so that a slow moment of the machine hits both."""
    crops = random_crops(card, _BATCH, np.random.default_rng(0)).astype(reference.input_dtype)
    speeds: list[tuple[float, float]] = []
    for _ in range(_ROUNDS):
        speeds.append((_crops_per_second(reference, crops), _crops_per_second(reduced, crops)))
    return Speed(median(a for a, _ in speeds), median(b for _, b in speeds), median(b / a for a, b in speeds))


def _crops_per_second(predictor: OnnxPredictor, crops: np.ndarray) -> float:
    predictor.predict(crops)
    start, done = perf_counter(), 0
    while perf_counter() - start < _SECONDS:
        predictor.predict(crops)
        done += len(crops)
    return done / (perf_counter() - start)
