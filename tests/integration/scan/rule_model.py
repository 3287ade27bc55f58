"""A model that calls by the mean stain of a crop's middle, in an ONNX file."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from ctcnet.labels import load_schema
from ctcnet.model_card import ModelCard, NormalizationCard, TrainingDataCard
from ctcnet.panel import Channel, Panel
from ctcnet.runtime.cartridge_atypicality import CartridgeReference, cartridge_features, fit_cartridges
from ctcnet.runtime.onnx_predictor import CARD_PROPERTY, CARTRIDGE_PROPERTY

CROP_PX = 32
CARTRIDGES, CELLS = 60, 300
TYPICAL = (0.9, 0.9, 0.9, 0.057, 0.18, 0.2)
"""What the model by rule embeds of leukocytes: stain of DAPI, CK and CD45 in the crop's middle, and mean steps between
pixels, which are those of noise where the stain is weak, as CK's is."""
BETWEEN_CELLS = (0.35, 0.45, 0.4, 0.15, 0.13, 0.1)
"""Deviations of their logarithms."""
BETWEEN_CARTRIDGES = 0.12


THREE_CHANNELS = """name: three
bit_depth: 12
channels:
  - {marker: DAPI, role: nucleus}
  - {marker: CK, role: epithelial}
  - {marker: CD45, role: leukocyte}
"""
"""Panel of the model, as a user writes it."""


def write_rule_model(
    path: Path, name: str = "stain-rule", ck_weight: float = 1.0, reference: CartridgeReference | None = None
) -> None:
    """Write a model that calls a leukocyte by CD45, a CTC by CK, else debris; `ck_weight` makes another one of it.

    Its embedding is the mean stain of DAPI, CK and CD45 in the crop's middle, and the mean step from pixel to pixel of
    each, all in units of the leukocytes' level.
    """
    labels = load_schema("five_class")
    panel = Panel("three", (Channel("DAPI", "nucleus"), Channel("CK", "epithelial"), Channel("CD45", "leukocyte")), 12)
    card = ModelCard(
        name=name,
        backbone="compact",
        panel=panel,
        labels=labels,
        pixel_size_um=0.64,
        crop_size_px=CROP_PX,
        normalization=NormalizationCard("cartridge", (100.0,) * 3, (400.0,) * 3, 64.0),
        temperature=1.0,
        training_prior=(0.2,) * 5,
        unassigned_below=0.3,
        training_data=TrainingDataCard("ab" * 32, True, 10, 2, {}, ()),
        software_version="0.1.0",
    )
    weight = np.zeros((3, 5), dtype=np.float32)
    weight[1, labels.index("ctc")] = ck_weight
    weight[2, labels.index("ctc")] = -2.0
    weight[2, labels.index("leukocyte")] = 4.0
    bias = np.full(5, -4.0, dtype=np.float32)
    bias[labels.index("ctc")], bias[labels.index("leukocyte")], bias[labels.index("debris")] = -2.0, 0.0, 1.0
    half, side = 4, CROP_PX // 2
    constants = {
        "weight": weight,
        "bias": bias,
        "starts": np.array([side - half] * 2),
        "ends": np.array([side + half] * 2),
        "axes": np.array([2, 3]),
        "zero": np.array([0]),
        "one": np.array([1]),
        "all": np.array([CROP_PX]),
        "all_but_one": np.array([CROP_PX - 1]),
        "along_x": np.array([3]),
        "own_background": np.array(card.normalization.background, dtype=np.float32),
        "own_scale": np.array(card.normalization.scale, dtype=np.float32),
        "limit": np.float32(card.unassigned_below),
        "nan": np.float32(np.nan),
        "last": np.array([1]),
    }
    nodes = [
        helper.make_node("Cast", ["crops"], ["counts"], to=TensorProto.FLOAT),
        helper.make_node("Slice", ["counts", "starts", "ends", "axes"], ["middle"]),
        helper.make_node("ReduceMean", ["middle", "axes"], ["level"], keepdims=0),
        helper.make_node("IsNaN", ["background"], ["background_not_known"]),
        helper.make_node("Where", ["background_not_known", "own_background", "background"], ["used_background"]),
        helper.make_node("IsNaN", ["scale"], ["scale_not_known"]),
        helper.make_node("Where", ["scale_not_known", "own_scale", "scale"], ["used_scale"]),
        helper.make_node("Sub", ["level", "used_background"], ["above"]),
        helper.make_node("Div", ["above", "used_scale"], ["stain"]),
        helper.make_node("Slice", ["counts", "one", "all", "along_x"], ["right"]),
        helper.make_node("Slice", ["counts", "zero", "all_but_one", "along_x"], ["left"]),
        helper.make_node("Sub", ["right", "left"], ["step"]),
        helper.make_node("Abs", ["step"], ["magnitude"]),
        helper.make_node("ReduceMean", ["magnitude", "axes"], ["mean_step"], keepdims=0),
        helper.make_node("Div", ["mean_step", "used_scale"], ["grain"]),
        helper.make_node("Concat", ["stain", "grain"], ["embedding"], axis=1),
        helper.make_node("Gemm", ["stain", "weight", "bias"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
        helper.make_node("ReduceMax", ["probabilities", "last"], ["largest"], keepdims=0),
        helper.make_node("Less", ["largest", "limit"], ["unassigned"]),
        helper.make_node("Mul", ["largest", "nan"], ["atypicality"]),
    ]
    inputs = [
        helper.make_tensor_value_info("crops", TensorProto.UINT16, ["N", 3, CROP_PX, CROP_PX]),
        helper.make_tensor_value_info("background", TensorProto.FLOAT, [3]),
        helper.make_tensor_value_info("scale", TensorProto.FLOAT, [3]),
    ]
    outputs = [
        helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["N", 5]),
        helper.make_tensor_value_info("unassigned", TensorProto.BOOL, ["N"]),
        helper.make_tensor_value_info("atypicality", TensorProto.FLOAT, ["N"]),
        helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["N", 6]),
    ]
    initializers = [numpy_helper.from_array(np.asarray(value), key) for key, value in constants.items()]
    graph = helper.make_graph(nodes, "rule", inputs, outputs, initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    properties = {CARD_PROPERTY: json.dumps(card.to_dict())}
    if reference is not None:
        properties[CARTRIDGE_PROPERTY] = reference.to_text()
    helper.set_model_props(model, properties)
    onnx.save_model(model, str(path))


def rule_reference() -> CartridgeReference:
    """What the model by rule says of the leukocytes of simulated cartridges, drawn by what was measured on one."""
    rng = np.random.default_rng(0)
    features = []
    for _ in range(CARTRIDGES):
        level = TYPICAL * np.exp(rng.normal(0, BETWEEN_CARTRIDGES, 6))
        spread = BETWEEN_CELLS * np.exp(rng.normal(0, 2 * BETWEEN_CARTRIDGES, 6))
        cells = level * np.exp(rng.normal(0, spread, (CELLS, 6)))
        features.append(cartridge_features(cells, np.ones(CELLS, dtype=bool))[0])
    return fit_cartridges(features)
