"""The reader against protobuf's own, through onnx."""

import numpy as np
import onnx
import pytest
from google.protobuf.message import DecodeError
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from ctcnet.runtime import protobuf_reader
from ctcnet.runtime.onnx_schema import MODEL
from ctcnet.runtime.protobuf_reader import MOST_DEPTH, Entry, Message, WireError, read_message

pytestmark = pytest.mark.unit

TEXT = st.text(max_size=20)
INT64 = st.integers(-(2**63), 2**63 - 1)


@st.composite
def tensors(draw) -> TensorProto:
    tensor = TensorProto(name=draw(TEXT), dims=draw(st.lists(INT64, max_size=4)), data_type=draw(st.integers(0, 20)))
    tensor.float_data.extend(draw(st.lists(st.floats(width=32), max_size=4)))
    tensor.int32_data.extend(draw(st.lists(st.integers(-(2**31), 2**31 - 1), max_size=4)))
    tensor.int64_data.extend(draw(st.lists(INT64, max_size=4)))
    tensor.double_data.extend(draw(st.lists(st.floats(), max_size=4)))
    tensor.uint64_data.extend(draw(st.lists(st.integers(0, 2**64 - 1), max_size=4)))
    if draw(st.booleans()):
        tensor.raw_data = draw(st.binary(max_size=40))
    return tensor


@st.composite
def models(draw) -> onnx.ModelProto:
    nodes = [
        helper.make_node(
            draw(TEXT),
            draw(st.lists(TEXT, max_size=3)),
            draw(st.lists(TEXT, max_size=3)),
            floats=draw(st.lists(st.floats(width=32), min_size=1, max_size=3)),
            i=draw(INT64),
            s=draw(st.binary(max_size=9)),
            t=draw(tensors()),
        )
        for _ in range(draw(st.integers(0, 3)))
    ]
    shape = draw(st.lists(st.one_of(st.integers(0, 2**40), TEXT.filter(bool)), max_size=4))
    value = helper.make_tensor_value_info("x", draw(st.integers(1, 16)), shape)
    graph = helper.make_graph(nodes, draw(TEXT), [value], [value], draw(st.lists(tensors(), max_size=3)))
    model = helper.make_model(graph, ir_version=draw(st.integers(0, 2**40)), producer_name=draw(TEXT))
    helper.set_model_props(model, draw(st.dictionaries(TEXT, TEXT, max_size=4)))
    return model


def _tensor(tensor: TensorProto) -> dict:
    """What the reader is to give: numbers of values stand for the values."""
    wanted = {field.name: getattr(tensor, field.name) for field, _ in tensor.ListFields()}
    counted = ("float_data", "int32_data", "int64_data", "double_data", "uint64_data")
    return {name: len(value) if name in counted else value for name, value in wanted.items()} | (
        {"dims": list(tensor.dims)} if tensor.dims else {}
    )


@settings(max_examples=60)
@given(models())
def test_reads_what_protobuf_wrote(model):
    found = read_message(memoryview(model.SerializeToString()), MODEL)
    assert found["ir_version"] == model.ir_version
    assert {entry["key"]: entry["value"] for entry in found.get("metadata_props", [])} == {
        entry.key: entry.value for entry in model.metadata_props
    }
    graph = found["graph"]
    assert [_plain(tensor) for tensor in graph.get("initializer", [])] == [_tensor(t) for t in model.graph.initializer]
    for node, wanted in zip(graph.get("node", []), model.graph.node, strict=True):
        assert node.get("input", []) == list(wanted.input)
        assert node["op_type"] == wanted.op_type
        attributes = {attribute["name"]: attribute for attribute in node["attribute"]}
        for attribute in wanted.attribute:
            assert attributes[attribute.name]["type"] == attribute.type
        assert attributes["i"]["i"] == next(a.i for a in wanted.attribute if a.name == "i")
        assert attributes["floats"]["floats"] == len(next(a.floats for a in wanted.attribute if a.name == "floats"))
        assert _plain(attributes["t"]["t"]) == _tensor(next(a.t for a in wanted.attribute if a.name == "t"))
    shape = graph["input"][0]["type"]["tensor_type"].get("shape", {}).get("dim", [])
    dims = model.graph.input[0].type.tensor_type.shape.dim
    assert [tuple(entry.values()) for entry in shape] == [(d.dim_param or d.dim_value,) for d in dims]


def _plain(tensor: dict) -> dict:
    return {name: bytes(value) if isinstance(value, memoryview) else value for name, value in tensor.items()}


@settings(max_examples=200)
@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(content):
    try:
        read_message(memoryview(content), MODEL)
    except WireError:
        return
    onnx.ModelProto.FromString(content)  # what is read here, protobuf reads too


@settings(max_examples=60)
@given(models(), st.data())
def test_what_is_read_after_a_flip_protobuf_reads_too(model, data):
    content = bytearray(model.SerializeToString())
    content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    test_any_bytes_are_read_or_refused.hypothesis.inner_test(bytes(content))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"\x08\x09\x08\x09", "given twice"),
        (b"\x08", "ends too soon"),
        (b"\x08" + b"\xff" * 10 + b"\x01", "64 bits"),
        (b"\x08" + b"\xff" * 9 + b"\x7f", "64 bits"),
        (b"\x12\x05abc", "of which 3 are there"),
        (b"\x12\x01\xff", "no UTF-8"),
        (b"\x0b", "of another type"),
        (b"\x0d\x00\x00\x00\x00", "of another type"),
        (b"\xfa\x01\x00", "unknown field 31"),
        (b"\x00\x00", "unknown field 0"),
        (b"\xca\x01\x00", "functions"),
        (b"\x3a\x04\x2a\x02\x6a\x00", "external data"),
    ],
)
def test_what_is_wrong_is_said(content, words):
    with pytest.raises(WireError, match=words):
        read_message(memoryview(content), MODEL)


def test_values_packed_or_not_are_counted_alike():
    one_by_one = b"\x3a\x0e\x2a\x0c" + b"\x38\x01" * 2 + b"\x25\x00\x00\x80\x3f" + b"\x08\x05" + b"\x10"
    with pytest.raises(WireError):
        read_message(memoryview(one_by_one), MODEL)
    (tensor,) = read_message(memoryview(b"\x3a\x0d\x2a\x0b" + one_by_one[4:-1]), MODEL)["graph"]["initializer"]
    assert tensor == {"int64_data": 2, "float_data": 1, "dims": [5]}


@pytest.mark.parametrize("number", [b"\xff" * 10 + b"\x01", b"\x05" + b"\xff" * 19 + b"\x01"])
def test_packed_numbers_that_protobuf_refuses_are_refused(number):
    with pytest.raises(WireError, match="more than 64 bits"):
        read_message(memoryview(_packed_int64(number)), MODEL)
    with pytest.raises(DecodeError):
        onnx.ModelProto.FromString(_packed_int64(number))


def test_a_packed_number_whose_last_byte_overflows_is_refused():
    with pytest.raises(WireError, match="more than 64 bits"):
        read_message(memoryview(_packed_int64(b"\xff" * 9 + b"\x02")), MODEL)


def test_the_largest_packed_numbers_are_counted():
    content = _packed_int64(b"\xff" * 9 + b"\x01" + b"\x00")
    (tensor,) = read_message(memoryview(content), MODEL)["graph"]["initializer"]
    assert tensor == {"int64_data": 2}
    assert list(onnx.ModelProto.FromString(content).graph.initializer[0].int64_data) == [-1, 0]


def _packed_int64(data: bytes) -> bytes:
    for tag in (b"\x3a", b"\x2a", b"\x3a"):  # int64_data of an initializer of the graph
        data = tag + bytes([len(data)]) + data
    return data


def test_number_of_fields_is_bounded(monkeypatch):
    monkeypatch.setattr(protobuf_reader, "MOST_FIELDS", 10)
    with pytest.raises(WireError, match="more than 10 fields"):
        read_message(memoryview(b"\x42\x00" * 11), MODEL)


def test_depth_is_bounded():
    entries: dict[int, Entry] = {}
    nested = Message("Nested", entries)
    entries[1] = Entry("inner", nested)
    content = b""
    for _ in range(MOST_DEPTH - 1):
        content = b"\x0a" + bytes([len(content)]) + content
    assert read_message(memoryview(content), nested)
    with pytest.raises(WireError, match="within each other"):
        read_message(memoryview(b"\x0a" + bytes([len(content)]) + content), nested)


def test_tensors_are_not_copied():
    model = helper.make_model(helper.make_graph([], "g", [], [], [onnx.numpy_helper.from_array(np.arange(9), "a")]))
    content = model.SerializeToString()
    (tensor,) = read_message(memoryview(content), MODEL)["graph"]["initializer"]
    assert tensor["raw_data"].obj is content
