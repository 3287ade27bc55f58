"""Simulated cartridges and a model by rule, small enough to be scanned many times."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from ctcnet.cli import main
from ctcnet.labels import load_schema
from ctcnet.model_card import ModelCard, NormalizationCard, TrainingDataCard
from ctcnet.panel import Channel, Panel
from ctcnet.simulate.cartridge_writer import write_simulated_cartridge

FRAME_PX = (256, 224)
"""Width and height of the frames."""
FRAMES = 6
CROP_PX = 32


@pytest.fixture(autouse=True)
def same_threads_after() -> Iterator[None]:
    """`ctcnet scan` gives each of its threads one thread of torch; other tests keep theirs."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def rule_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """ONNX file that calls by the mean stain of a crop's middle: leukocyte by CD45, CTC by CK, else debris."""
    path = tmp_path_factory.mktemp("model") / "rule.onnx"
    write_rule_model(path)
    return path


@pytest.fixture
def other_model(tmp_path: Path) -> Path:
    """A model that is not the one of `rule_model`."""
    write_rule_model(tmp_path / "other.onnx", ck_weight=0.9)
    return tmp_path / "other.onnx"


def write_rule_model(path: Path, name: str = "stain-rule", ck_weight: float = 1.0) -> None:
    """Write the model of `rule_model`; `ck_weight` makes another one of it."""
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
        "limit": np.float32(card.unassigned_below),
        "nan": np.float32(np.nan),
        "last": np.array([1]),
    }
    nodes = [
        helper.make_node("Cast", ["crops"], ["counts"], to=TensorProto.FLOAT),
        helper.make_node("Slice", ["counts", "starts", "ends", "axes"], ["middle"]),
        helper.make_node("ReduceMean", ["middle", "axes"], ["level"], keepdims=0),
        helper.make_node("Sub", ["level", "background"], ["above"]),
        helper.make_node("Div", ["above", "scale"], ["embedding"]),
        helper.make_node("Gemm", ["embedding", "weight", "bias"], ["logits"]),
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
        helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["N", 3]),
    ]
    initializers = [numpy_helper.from_array(np.asarray(value), key) for key, value in constants.items()]
    graph = helper.make_graph(nodes, "rule", inputs, outputs, initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    helper.set_model_props(model, {"ctcnet_card": json.dumps(card.to_dict())})
    onnx.save_model(model, str(path))


@pytest.fixture(scope="session")
def cartridge_source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Simulated CellTracks cartridge, 2 rows of 3 frames, with CTCs and cells across borders; not to be changed."""
    return write_simulated_cartridge(
        tmp_path_factory.mktemp("simulated") / "cartridge",
        layout="celltracks",
        frames=FRAMES,
        nuclei_per_frame=14,
        seed=5,
        ctc=5,
        clusters_neutrophil=2,
        frame_size_px=FRAME_PX,
    )


@pytest.fixture
def cartridge(cartridge_source: Path, tmp_path: Path) -> Path:
    """A copy of `cartridge_source` that a test may damage."""
    return Path(shutil.copytree(cartridge_source, tmp_path / "cartridge"))


Scan = Callable[..., int]


@pytest.fixture
def scan(rule_model: Path) -> Scan:
    """Runs `ctcnet scan` with the model by rule on the CPU; gives the exit code."""

    def run(*cartridges: Path, out: Path, options: tuple[str, ...] = (), model: Path = rule_model) -> int:
        words = ["scan", *map(str, cartridges), "--model", str(model), "-o", str(out), "--device", "cpu"]
        return main([*words, "--threads", "2", *options])

    return run
