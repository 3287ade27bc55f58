"""Fixtures that several packages' tests share."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ctcnet.labels import load_schema
from ctcnet.model_card import ModelCard, NormalizationCard, TrainingDataCard
from ctcnet.panel import Channel, Panel

BACKGROUND, SCALE = (100.0, 50.0), (400.0, 300.0)
THRESHOLD = 0.3


@pytest.fixture(scope="session")
def two_channel_card() -> ModelCard:
    """Card of a model of two channels and five classes, 8 px crops at 0.5 um per px, mode 'cartridge'."""
    return ModelCard(
        name="two_channels",
        backbone="compact",
        panel=Panel("two", (Channel("DAPI", "nucleus"), Channel("CK", "epithelial")), 12, 0.5),
        labels=load_schema("five_class"),
        pixel_size_um=0.5,
        crop_size_px=8,
        normalization=NormalizationCard("cartridge", BACKGROUND, SCALE, 64.0),
        temperature=1.5,
        training_prior=(0.2,) * 5,
        unassigned_below=THRESHOLD,
        training_data=TrainingDataCard("ab" * 32, True, 10, 2, {}, ()),
        software_version="0.1.0",
    )


@pytest.fixture
def write_linear_model(tmp_path: Path, two_channel_card: ModelCard) -> Callable[..., Path]:
    """Writes an ONNX file of the card's mode whose logits are the normalised channel means times `LINEAR_WEIGHTS`."""

    def write(name: str = "model.onnx", mode: str = "cartridge", dtype: str = "uint16", with_card: bool = True) -> Path:
        import onnx

        levels = replace(two_channel_card.normalization, mode=mode)
        card = replace(two_channel_card, normalization=levels)
        model = _linear_graph(onnx.TensorProto.UINT16 if dtype == "uint16" else onnx.TensorProto.FLOAT)
        if with_card:
            onnx.helper.set_model_props(model, {"ctcnet_card": json.dumps(card.to_dict())})
        path = tmp_path / name
        onnx.save_model(model, str(path))
        return path

    return write


LINEAR_WEIGHTS = np.array([[1.0, -0.5, 0.3, 0.0, 0.2], [-0.2, 0.8, 0.1, -0.6, 0.4]], dtype=np.float32)


@pytest.fixture
def linear_probabilities() -> Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]:
    """The same in numpy: probabilities of crops (N, 2, 8, 8) under levels (2,) or (N, 2)."""

    def answer(crops: np.ndarray, background: np.ndarray, scale: np.ndarray) -> np.ndarray:
        means = crops.astype(np.float64).mean(axis=(2, 3))
        own_b, own_s = np.array(BACKGROUND), np.array(SCALE)
        x = (means - np.where(np.isnan(background), own_b, background)) / np.where(np.isnan(scale), own_s, scale)
        e = np.exp(x @ LINEAR_WEIGHTS)
        return e / e.sum(axis=1, keepdims=True)

    return answer


def _linear_graph(crop_type: int):
    from onnx import TensorProto, checker, helper, numpy_helper

    def constant(name: str, value: np.ndarray):
        return numpy_helper.from_array(value, name)

    constants = [
        constant("own_background", np.array(BACKGROUND, np.float32)),
        constant("own_scale", np.array(SCALE, np.float32)),
        constant("weights", LINEAR_WEIGHTS),
        constant("threshold", np.array(THRESHOLD, np.float32)),
        constant("nan", np.array(np.nan, np.float32)),
        constant("pixel_axes", np.array([2, 3], np.int64)),
        constant("class_axis", np.array([1], np.int64)),
    ]
    node = helper.make_node
    nodes = [
        node("Cast", ["crops"], ["counts"], to=TensorProto.FLOAT),
        node("ReduceMean", ["counts", "pixel_axes"], ["means"], keepdims=0),
        node("IsNaN", ["background"], ["no_background"]),
        node("Where", ["no_background", "own_background", "background"], ["b"]),
        node("IsNaN", ["scale"], ["no_scale"]),
        node("Where", ["no_scale", "own_scale", "scale"], ["s"]),
        node("Sub", ["means", "b"], ["above"]),
        node("Div", ["above", "s"], ["embedding"]),
        node("MatMul", ["embedding", "weights"], ["logits"]),
        node("Softmax", ["logits"], ["probabilities"], axis=1),
        node("ReduceMax", ["probabilities", "class_axis"], ["largest"], keepdims=0),
        node("Less", ["largest", "threshold"], ["unassigned"]),
        node("Mul", ["largest", "nan"], ["atypicality"]),
    ]
    value = helper.make_tensor_value_info
    inputs = [value("crops", crop_type, ["n", 2, 8, 8])]
    inputs += [value(name, TensorProto.FLOAT, [2]) for name in ("background", "scale")]
    outputs = [value("probabilities", TensorProto.FLOAT, ["n", 5]), value("unassigned", TensorProto.BOOL, ["n"])]
    outputs += [value("atypicality", TensorProto.FLOAT, ["n"]), value("embedding", TensorProto.FLOAT, ["n", 2])]
    graph = helper.make_graph(nodes, "linear", inputs, outputs, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    checker.check_model(model)
    return model
