import numpy as np
import onnx
import pytest
from onnx import AttributeProto, TensorProto, helper, numpy_helper

from ctcnet.errors import ModelFileError
from ctcnet.resources import resource_dir
from ctcnet.runtime import OnnxPredictor, model_file
from ctcnet.runtime.model_file import read_model_file
from ctcnet.runtime.onnx_operators import OPERATORS

pytestmark = pytest.mark.unit


def _external(model: onnx.ModelProto) -> None:
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../etc/passwd")


def _custom_operator(model: onnx.ModelProto) -> None:
    model.graph.node[0].domain = "com.example"
    model.opset_import.append(helper.make_opsetid("com.example", 1))


def _huge(model: onnx.ModelProto) -> None:
    model.graph.initializer[0].dims[:] = [50_000, 50_000]  # 10 GB of float32


def _loop(model: onnx.ModelProto) -> None:
    body = helper.make_graph([], "body", [], [])
    model.graph.node.append(helper.make_node("Loop", [""], ["y"], body=body))


def _function(model: onnx.ModelProto) -> None:
    model.functions.append(helper.make_function("", "F", ["x"], ["y"], [], [helper.make_opsetid("", 18)]))


def _constant(tensor: TensorProto, **fields: int) -> onnx.NodeProto:
    node = helper.make_node("Constant", [], ["c"], value=tensor)
    for name, value in fields.items():
        setattr(node.attribute[0], name, value)
    return node


BAD = {
    "external data": (_external, "external data"),
    "operator of another domain": (_custom_operator, "operator sets"),
    "domain alone": (lambda m: setattr(m.graph.node[0], "domain", "x"), "another domain"),
    "10 GB declared": (_huge, "declares 2500000000 values and has 2"),
    "negative size": (lambda m: m.graph.initializer[0].dims.__setitem__(0, -2), "impossible shape"),
    "too many axes": (lambda m: m.graph.initializer[0].dims.extend([1] * 20), "impossible shape"),
    "text tensor": (lambda m: m.graph.initializer[0].string_data.append(b"x"), "text as its values"),
    "unknown type": (lambda m: setattr(m.graph.initializer[0], "data_type", 14), "unknown type"),
    "values twice": (lambda m: m.graph.initializer[0].float_data.append(1), "another type"),
    "values of another type": (
        lambda m: m.graph.node.append(_constant(TensorProto(data_type=1, dims=[1], int64_data=[1]))),
        "another type",
    ),
    "too few values in a node": (
        lambda m: m.graph.node.append(_constant(TensorProto(data_type=7, dims=[9], int64_data=[1]))),
        "declares 9 values and has 1",
    ),
    "attribute of another type": (
        lambda m: m.graph.node.append(_constant(numpy_helper.from_array(np.zeros(1)), type=AttributeProto.INT)),
        "attribute of 'Constant'",
    ),
    "loop": (_loop, "a loop without a number of rounds"),
    "unknown operator": (lambda m: setattr(m.graph.node[0], "op_type", "RandomNormal"), "RandomNormal"),
    "function": (_function, "functions of its own"),
    "training": (lambda m: m.training_info.add(), "training information"),
    "sparse tensor": (lambda m: m.graph.sparse_initializer.add(), "sparse tensor"),
    "newer IR": (lambda m: setattr(m, "ir_version", 10), "IR version 10"),
    "no IR": (lambda m: m.ClearField("ir_version"), "IR version None"),
    "newer opset": (lambda m: setattr(m.opset_import[0], "version", 19), "operator sets"),
    "no opset": (lambda m: m.ClearField("opset_import"), "operator sets"),
    "no graph": (lambda m: m.ClearField("graph"), "no graph"),
    "property twice": (lambda m: m.metadata_props.append(m.metadata_props[0]), "given twice"),
    "property without value": (lambda m: m.metadata_props.add(key="x"), "without key or value"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_not_allowed_never_reaches_onnxruntime(write_linear_model, monkeypatch, name):
    import onnxruntime

    change, words = BAD[name]
    path = write_linear_model()
    model = onnx.load(str(path))
    change(model)
    path.write_bytes(model.SerializeToString())
    monkeypatch.setattr(onnxruntime, "InferenceSession", pytest.fail)
    with pytest.raises(ModelFileError, match=words) as caught:
        OnnxPredictor(path)
    assert caught.value.where == str(path)


def test_what_is_in_the_file_is_reported(write_linear_model):
    path = write_linear_model()
    model = onnx.load(str(path))
    found = read_model_file(path)
    assert found.content == path.read_bytes()
    assert (found.ir_version, found.opset) == (9, 18)
    assert found.operators == {node.op_type for node in model.graph.node}
    assert set(found.properties) == {"ctcnet_card"}


@pytest.mark.parametrize("dtype", [np.float32, np.uint8, np.int8, "?", "e", "d", "H"])
@pytest.mark.parametrize("raw", [True, False])
def test_tensors_of_every_type_are_read(write_linear_model, dtype, raw):
    path = write_linear_model()
    model = onnx.load(str(path))
    values = np.arange(6).astype(dtype)
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    tensor = helper.make_tensor("a", kind, [2, 3], values.tobytes() if raw else values.tolist(), raw=raw)
    model.graph.initializer.extend([tensor, helper.make_tensor("empty", kind, [0, 3], b"" if raw else [], raw=raw)])
    model.graph.node.append(_constant(tensor))
    path.write_bytes(model.SerializeToString())
    assert read_model_file(path).opset == 18


def test_shipped_files_are_allowed():
    files = sorted(resource_dir("models").glob("*/*.onnx"))
    assert files
    for path in files:
        assert read_model_file(path).properties["ctcnet_card"]


def test_operators_are_standard_ones():
    standard = {schema.name for schema in onnx.defs.get_all_schemas_with_history() if not schema.domain}
    assert standard >= OPERATORS
    assert not OPERATORS & {"If", "Scan", "SequenceMap", "RandomNormal", "Optional", "StringNormalizer"}


def test_size_is_limited(write_linear_model, monkeypatch):
    path = write_linear_model()
    monkeypatch.setattr(model_file, "MOST_BYTES", path.stat().st_size - 1)
    with pytest.raises(ModelFileError, match="too large"):
        read_model_file(path)


def test_empty_file_is_said_to_be_empty(tmp_path):
    (tmp_path / "m.onnx").touch()
    with pytest.raises(ModelFileError, match="is empty"):
        read_model_file(tmp_path / "m.onnx")


def test_folder_is_no_file(tmp_path):
    with pytest.raises(ModelFileError, match="no file"):
        read_model_file(tmp_path)


def test_every_truncation_is_refused(write_linear_model):
    path = write_linear_model()
    content = path.read_bytes()
    for length in range(0, len(content), 7):
        path.write_bytes(content[:length])
        with pytest.raises(ModelFileError):
            OnnxPredictor(path)
