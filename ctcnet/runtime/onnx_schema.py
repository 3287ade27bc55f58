"""The part of ONNX's file format that exported models use: https://github.com/onnx/onnx/blob/main/onnx/onnx.proto.

What is not listed is refused by the reader: external data, functions, training information, sparse and string tensors,
graphs within graphs deeper than the bodies of two loops, and types other than tensors.
"""

from __future__ import annotations

from ctcnet.runtime.protobuf_reader import Entry, Message

_TENSOR = Message(
    "TensorProto",
    {
        1: Entry("dims", "ints"),
        2: Entry("data_type", "int"),
        4: Entry("float_data", "count4"),
        5: Entry("int32_data", "counts"),
        7: Entry("int64_data", "counts"),
        8: Entry("name", "text"),
        9: Entry("raw_data", "bytes"),
        10: Entry("double_data", "count8"),
        11: Entry("uint64_data", "counts"),
        12: Entry("doc_string", "text"),
        14: Entry("data_location", "int"),
    },
    {6: "text as its values", 13: "external data"},
)

_ATTRIBUTE_ENTRIES = {
    1: Entry("name", "text"),
    2: Entry("f", "float"),
    3: Entry("i", "int"),
    4: Entry("s", "bytes"),
    5: Entry("t", _TENSOR),
    7: Entry("floats", "count4"),
    8: Entry("ints", "counts"),
    9: Entry("strings", "bytes", repeated=True),
    13: Entry("doc_string", "text"),
    20: Entry("type", "int"),
}
_REFUSED_ATTRIBUTES = {
    6: "a graph within the graph, too deep",
    11: "graphs within the graph",
    22: "a sparse tensor",
    23: "a sparse tensor",
}

_DIMENSION = Message("Dimension", {1: Entry("dim_value", "int"), 2: Entry("dim_param", "text")})
_SHAPE = Message("TensorShapeProto", {1: Entry("dim", _DIMENSION, repeated=True)})
_TENSOR_TYPE = Message("TypeProto.Tensor", {1: Entry("elem_type", "int"), 2: Entry("shape", _SHAPE)})
_TYPE = Message(
    "TypeProto",
    {1: Entry("tensor_type", _TENSOR_TYPE)},
    dict.fromkeys((4, 5, 8, 9), "a type other than tensor"),
)
_VALUE = Message("ValueInfoProto", {1: Entry("name", "text"), 2: Entry("type", _TYPE), 3: Entry("doc_string", "text")})

DEEPEST_LOOP = 2
"""Loops within each other: a part of the frame graph, and a search in it that goes on until nothing changes."""


def _graph(loops: int) -> Message:
    """A graph in which loops may be nested so deep."""
    attributes = dict(_ATTRIBUTE_ENTRIES)
    if loops:
        attributes[6] = Entry("g", _graph(loops - 1))
    refused = {number: what for number, what in _REFUSED_ATTRIBUTES.items() if number not in attributes}
    node = {
        1: Entry("input", "text", repeated=True),
        2: Entry("output", "text", repeated=True),
        3: Entry("name", "text"),
        4: Entry("op_type", "text"),
        5: Entry("attribute", Message("AttributeProto", attributes, refused), repeated=True),
        6: Entry("doc_string", "text"),
        7: Entry("domain", "text"),
    }
    entries = {
        1: Entry("node", Message("NodeProto", node), repeated=True),
        2: Entry("name", "text"),
        5: Entry("initializer", _TENSOR, repeated=True),
        10: Entry("doc_string", "text"),
        11: Entry("input", _VALUE, repeated=True),
        12: Entry("output", _VALUE, repeated=True),
        13: Entry("value_info", _VALUE, repeated=True),
    }
    return Message("GraphProto", entries, {15: "a sparse tensor"})


MODEL = Message(
    "ModelProto",
    {
        1: Entry("ir_version", "int"),
        2: Entry("producer_name", "text"),
        3: Entry("producer_version", "text"),
        4: Entry("domain", "text"),
        5: Entry("model_version", "int"),
        6: Entry("doc_string", "text"),
        7: Entry("graph", _graph(DEEPEST_LOOP)),
        8: Entry(
            "opset_import",
            Message("OperatorSetIdProto", {1: Entry("domain", "text"), 2: Entry("version", "int")}),
            repeated=True,
        ),
        14: Entry(
            "metadata_props",
            Message("StringStringEntryProto", {1: Entry("key", "text"), 2: Entry("value", "text")}),
            repeated=True,
        ),
    },
    {20: "training information", 25: "functions of its own"},
)
