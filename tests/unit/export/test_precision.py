"""Models of reduced precision, of a network with three convolutions."""

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor, nn

from ctcnet.crops import LabelledCrops
from ctcnet.crops.memory_source import simulated_in_memory
from ctcnet.errors import ParityError, SettingError
from ctcnet.export import Reduction, export_predictor, precision
from ctcnet.export.parity import random_crops
from ctcnet.export.reference_crops import divide
from ctcnet.runtime import OnnxPredictor, SessionSettings

pytestmark = pytest.mark.unit

COUNT, GROUPS = 600, 12


class _Deep(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.third = nn.Conv2d(2, 8, 3, padding=1), nn.Conv2d(8, 8, 3), nn.Conv2d(8, 8, 3)
        self.head = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        maps = torch.relu(self.second(torch.relu(self.first(x.clamp(max=10)))))
        embedding = torch.relu(self.third(maps) + maps[:, :, 1:-1, 1:-1]).mean((2, 3))
        return self.head(embedding), embedding

    def deployable(self) -> nn.Module:
        return self


@pytest.fixture(scope="module")
def predictor(make_predictor):
    made = make_predictor()
    torch.manual_seed(1)
    made.network = _Deep().eval()
    return made


@pytest.fixture(scope="module")
def crops(predictor) -> LabelledCrops:
    """Crops labelled with what the float32 model calls them."""
    card = predictor.card
    pixels = random_crops(card, COUNT, np.random.default_rng(5))
    called = predictor.predict(pixels).probabilities.argmax(1)
    group = np.array([f"g{row % GROUPS}" for row in range(COUNT)], object)
    levels = np.full((COUNT, 2), np.nan, np.float32)
    return simulated_in_memory(card, pixels, called, group, levels, levels)


def _weight_types(model: onnx.ModelProto) -> dict[str, int]:
    """Element type of each initializer that belongs to the weight of a convolution."""
    return {tensor.name: tensor.data_type for tensor in model.graph.initializer if ".weight" in tensor.name}


def test_int8_file_is_standard_and_decides_as_float32(predictor, crops, tmp_path):
    result = export_predictor(predictor, tmp_path / "m.onnx", reduction=Reduction("int8", divide(crops, "crops")))
    model = onnx.load(str(result.model))
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", 18)]
    assert model.ir_version == 9
    types = _weight_types(model)
    reduced = {name.split(".")[1] for name, kind in types.items() if kind == onnx.TensorProto.INT8}
    assert reduced == {"second", "third"}
    weights = [onnx.numpy_helper.to_array(t) for t in model.graph.initializer if t.data_type == onnx.TensorProto.INT8]
    assert max(np.abs(w.astype(int)).max() for w in weights) <= 64, "8 bits overflow on processors without VNNI"
    exported = OnnxPredictor(result.model, SessionSettings(threads=1))
    assert exported.card.precision == "int8"
    assert exported.card.guard_band == 0.02
    assert exported.card.float_layers == ("first",)
    assert exported.input_dtype == np.dtype(np.uint16)
    assert result.reduced is not None
    gate = result.reduced.gate
    assert gate.flips_outside == 0
    assert 0 < gate.probability_difference < 0.05
    assert gate.calibration_error is not None
    assert result.reduced.groups == (4, 8), "a third of the groups calibrates"
    assert result.reduced.speed.ratio > 0


def test_layer_that_is_to_be_kept_is_kept(predictor, crops, tmp_path):
    asked = Reduction("int8", divide(crops, "crops"), ("third",))
    result = export_predictor(predictor, tmp_path / "m.onnx", reduction=asked)
    kinds = {name: kind for name, kind in _weight_types(onnx.load(str(result.model))).items() if "third" in name}
    assert set(kinds.values()) == {onnx.TensorProto.FLOAT}
    assert OnnxPredictor(result.model, SessionSettings(threads=1)).card.float_layers == ("first", "third")


def test_unknown_layer_is_refused_with_the_names_of_the_others(predictor, crops, tmp_path):
    with pytest.raises(SettingError, match="second, third"):
        export_predictor(predictor, tmp_path / "m.onnx", reduction=Reduction("int8", divide(crops, "crops"), ("head",)))
    assert list(tmp_path.iterdir()) == []


def test_half_precision_leaves_inputs_outputs_and_the_first_layer(predictor, tmp_path):
    result = export_predictor(predictor, tmp_path / "m.onnx", reduction=Reduction("fp16", None))
    model = onnx.load(str(result.model))
    kinds = {name.split(".")[1]: kind for name, kind in _weight_types(model).items() if "head" not in name}
    half, single = onnx.TensorProto.FLOAT16, onnx.TensorProto.FLOAT
    assert kinds == {"first": single, "second": half, "third": half}
    assert {value.type.tensor_type.elem_type for value in model.graph.output} <= {single, onnx.TensorProto.BOOL}
    assert result.reduced is not None
    assert result.reduced.gate.crops == precision.RANDOM_CROPS
    assert 0 < result.reduced.gate.probability_difference < 0.005
    assert not result.reduced.gate.recalls


def test_gate_names_the_layer_that_spoils_the_model_and_leaves_no_file(predictor, crops, tmp_path, monkeypatch):
    honest = precision.to_int8

    def spoiled(model, layers, feeds):
        chosen = list(layers)
        if any(layer.name == "third" for layer in chosen):
            other = onnx.ModelProto()
            other.CopyFrom(model)
            bias = next(t for t in other.graph.initializer if "third.bias" in t.name)
            values = onnx.numpy_helper.to_array(bias) + np.linspace(-3, 3, 8, dtype=np.float32)
            bias.CopyFrom(onnx.numpy_helper.from_array(values, bias.name))
            model = other
        return honest(model, chosen, feeds)

    monkeypatch.setattr(precision, "to_int8", spoiled)
    with pytest.raises(ParityError, match=r"--keep-float third \(\d+ decisions differ .* reduced, 0 without"):
        export_predictor(predictor, tmp_path / "m.onnx", reduction=Reduction("int8", divide(crops, "crops")))
    assert list(tmp_path.iterdir()) == []


def test_crops_without_labels_are_judged_by_decisions_alone(predictor, crops, tmp_path):
    unlabelled = LabelledCrops(**{**crops.__dict__, "targets": None})
    result = export_predictor(predictor, tmp_path / "m.onnx", reduction=Reduction("int8", divide(unlabelled, "crops")))
    assert result.reduced is not None
    assert not result.reduced.gate.recalls
    assert result.reduced.gate.calibration_error is None
    assert result.reduced.gate.crops > 300
