"""Models of reduced precision, of a network with three convolutions."""

import numpy as np
import onnx
import pytest

from ctcnet.crops import LabelledCrops
from ctcnet.errors import ParityError, SettingError
from ctcnet.export import Reduction, export_predictor, precision, precision_gate
from ctcnet.export.quantise import Quantiser
from ctcnet.export.reference_crops import divide
from ctcnet.runtime import OnnxPredictor, SessionSettings

pytestmark = pytest.mark.unit


def _weight_types(model: onnx.ModelProto) -> dict[str, int]:
    """Element type of each initializer that belongs to the weight of a convolution."""
    return {tensor.name: tensor.data_type for tensor in model.graph.initializer if ".weight" in tensor.name}


def test_int8_file_is_standard_and_decides_as_float32(deep_predictor, crops, tmp_path):
    result = export_predictor(deep_predictor, tmp_path / "m.onnx", reduction=Reduction("int8", divide(crops, "crops")))
    model = onnx.load(str(result.model))
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", 18)]
    assert model.ir_version == 9
    types = _weight_types(model)
    reduced = {name.split(".")[1] for name, kind in types.items() if kind == onnx.TensorProto.INT8}
    assert reduced == {"second", "third"}
    weights = [onnx.numpy_helper.to_array(t) for t in model.graph.initializer if t.data_type == onnx.TensorProto.INT8]
    largest = [np.sort(np.abs(w.astype(int)).reshape(len(w), -1), axis=1)[:, -2:] for w in weights]
    assert max(two.sum(axis=1).max() for two in largest) <= 128, "more overflows on processors without VNNI"
    assert max(two.max() for two in largest) > 64, "7 bits would do for all"
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


def test_layer_that_is_to_be_kept_is_kept(deep_predictor, crops, tmp_path):
    asked = Reduction("int8", divide(crops, "crops"), ("third",))
    result = export_predictor(deep_predictor, tmp_path / "m.onnx", reduction=asked)
    kinds = {name: kind for name, kind in _weight_types(onnx.load(str(result.model))).items() if "third" in name}
    assert set(kinds.values()) == {onnx.TensorProto.FLOAT}
    assert OnnxPredictor(result.model, SessionSettings(threads=1)).card.float_layers == ("first", "third")


def test_unknown_layer_is_refused_with_the_names_of_the_others(deep_predictor, crops, tmp_path):
    with pytest.raises(SettingError, match="second, third"):
        export_predictor(
            deep_predictor, tmp_path / "m.onnx", reduction=Reduction("int8", divide(crops, "crops"), ("head",))
        )
    assert list(tmp_path.iterdir()) == []


def test_half_precision_leaves_inputs_outputs_and_the_first_layer(deep_predictor, tmp_path):
    result = export_predictor(deep_predictor, tmp_path / "m.onnx", reduction=Reduction("fp16", None))
    model = onnx.load(str(result.model))
    kinds = {name.split(".")[1]: kind for name, kind in _weight_types(model).items() if "head" not in name}
    half, single = onnx.TensorProto.FLOAT16, onnx.TensorProto.FLOAT
    assert kinds == {"first": single, "second": half, "third": half}
    assert {value.type.tensor_type.elem_type for value in model.graph.output} <= {single, onnx.TensorProto.BOOL}
    assert result.reduced is not None
    assert result.reduced.gate.crops == precision.RANDOM_CROPS
    assert 0 < result.reduced.gate.probability_difference < 0.005
    assert not result.reduced.gate.recalls


def test_gate_names_the_layer_that_spoils_the_model_and_leaves_no_file(deep_predictor, crops, tmp_path, monkeypatch):
    class Spoiled(Quantiser):
        def to_int8(self, layers):
            chosen = list(layers)
            if all(layer.name != "third" for layer in chosen):
                return super().to_int8(chosen)
            other = onnx.ModelProto()
            other.CopyFrom(self._model)
            bias = next(t for t in other.graph.initializer if "third.bias" in t.name)
            values = onnx.numpy_helper.to_array(bias) + np.linspace(-3, 3, 8, dtype=np.float32)
            bias.CopyFrom(onnx.numpy_helper.from_array(values, bias.name))
            return Quantiser(other, self._feeds).to_int8(chosen)

    monkeypatch.setattr(precision, "Quantiser", Spoiled)
    with pytest.raises(ParityError, match=r"--keep-float third \(\d+ decisions differ .* reduced, 0 without"):
        export_predictor(deep_predictor, tmp_path / "m.onnx", reduction=Reduction("int8", divide(crops, "crops")))
    assert list(tmp_path.iterdir()) == []


def test_model_that_need_not_pass_is_written_with_what_the_gate_found(deep_predictor, crops, tmp_path, monkeypatch):
    monkeypatch.setattr(precision_gate, "MOST_FLIPS", -1)
    asked = Reduction("int8", divide(crops, "crops"), must_pass=False)
    result = export_predictor(deep_predictor, tmp_path / "m.onnx", reduction=asked)
    assert result.reduced is not None
    assert "decisions differ outside the guard band" in result.reduced.gate.failures[0]
    assert OnnxPredictor(result.model, SessionSettings(threads=1)).card.precision == "int8"


def test_crops_without_labels_are_judged_by_decisions_alone(deep_predictor, crops, tmp_path):
    unlabelled = LabelledCrops(**{**crops.__dict__, "targets": None})
    result = export_predictor(
        deep_predictor, tmp_path / "m.onnx", reduction=Reduction("int8", divide(unlabelled, "crops"))
    )
    assert result.reduced is not None
    assert not result.reduced.gate.recalls
    assert result.reduced.gate.calibration_error is None
    assert result.reduced.gate.crops > 300
