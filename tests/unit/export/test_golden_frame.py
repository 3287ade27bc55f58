"""The golden frame in a frame graph's metadata: read, verified, refused where it is not what the graph finds."""

import json
from dataclasses import replace

import numpy as np
import onnx
import pytest

from ctcnet.contract.golden_frame import check_golden_frame, golden_frame_from_text
from ctcnet.contract.verification import verify
from ctcnet.errors import ContractError, ModelFileError
from ctcnet.export.frame_export import export_frame_graph
from ctcnet.runtime import FramePredictor, SessionSettings
from ctcnet.scan.platform import load_platform

pytestmark = pytest.mark.unit


@pytest.fixture(scope="module")
def path(make_predictor, tmp_path_factory):
    out = tmp_path_factory.mktemp("golden") / "frame.onnx"
    return export_frame_graph(make_predictor(), out, platform=load_platform("ome_tiff"), pixel_size_um=0.6).model


@pytest.fixture(scope="module")
def graph(path):
    return FramePredictor(path, SessionSettings(threads=1))


@pytest.fixture(scope="module")
def golden(graph, path):
    return golden_frame_from_text(graph.properties["golden_frame"], path)


def test_verify_runs_the_golden_frame(path):
    steps = dict(verify(path))
    assert "events as stored" in steps["golden frame"]


@pytest.mark.parametrize("name", ["position_tolerance_px", "probability_tolerance", "atypicality_tolerance"])
def test_a_golden_frame_that_lets_any_answer_pass_is_refused(path, golden, tmp_path, name):
    model = onnx.load(str(path))
    entry = next(entry for entry in model.metadata_props if entry.key == "golden_frame")
    entry.value = replace(golden, **{name: 1e9}).to_text()
    onnx.save_model(model, str(tmp_path / "loose.onnx"))
    with pytest.raises(ContractError, match=name):
        list(verify(tmp_path / "loose.onnx"))


def test_frame_survives_as_text(golden):
    again = golden_frame_from_text(golden.to_text(), "m.onnx")
    np.testing.assert_array_equal(again.frame, golden.frame)
    for name, values in golden.events._asdict().items():
        np.testing.assert_array_equal(getattr(again.events, name), values)
    assert len(golden.to_text()) < 200_000


def test_rows_in_another_order_are_the_same_events(golden, graph):
    turned = golden.events._make(values[::-1] for values in golden.events)
    parent = turned.parent
    turned = turned._replace(parent=np.where(parent < 0, -1, len(parent) - 1 - parent))
    assert check_golden_frame(replace(golden, events=turned), graph, "m.onnx") < 1e-6


@pytest.mark.parametrize(
    ("column", "change"),
    [
        ("x_px", lambda v: v + 3),
        ("kind", lambda v: (v + 1) % 3),
        ("members", lambda v: v + 1),
        ("parent", lambda v: np.where(v < 0, 0, -1)),
        ("diameter_um", lambda v: v * 1.2),
        ("probabilities", lambda v: v[:, ::-1]),
        ("unassigned", lambda v: ~v),
        ("atypicality", lambda v: v + 5),
    ],
)
def test_another_answer_is_refused(golden, graph, column, change):
    events = golden.events._replace(**{column: change(getattr(golden.events, column))})
    if column == "atypicality" and np.isnan(golden.events.atypicality).all():
        events = golden.events._replace(atypicality=np.ones(len(events.x_px), np.float32))
    with pytest.raises(ContractError, match="golden frame"):
        check_golden_frame(replace(golden, events=events), graph, "m.onnx")


@pytest.mark.parametrize("place", [np.nan, np.inf])
def test_an_event_without_a_place_is_refused(golden, graph, place):
    x_px = golden.events.x_px.copy()
    x_px[0] = place
    with pytest.raises(ContractError, match="other events"):
        check_golden_frame(replace(golden, events=golden.events._replace(x_px=x_px)), graph, "m.onnx")


def test_other_classes_are_refused(golden, graph):
    events = golden.events._replace(probabilities=golden.events.probabilities[:, :2])
    with pytest.raises(ContractError, match="other probabilities"):
        check_golden_frame(replace(golden, events=events), graph, "m.onnx")


def test_a_missing_event_is_refused(golden, graph):
    fewer = golden.events._make(values[1:] for values in golden.events)
    with pytest.raises(ContractError, match="other events"):
        check_golden_frame(replace(golden, events=fewer), graph, "m.onnx")


@pytest.mark.parametrize("key", ["frame", "scale", "events", "position_tolerance_px"])
def test_malformed_text_is_refused(golden, key):
    content = json.loads(golden.to_text())
    content[key] = {"x_px": 3}
    with pytest.raises(ModelFileError, match=r"golden frame|array"):
        golden_frame_from_text(json.dumps(content), "m.onnx")


@pytest.mark.parametrize("column", ["x_px", "kind", "probabilities", "atypicality"])
def test_a_number_in_place_of_a_column_is_refused(golden, column):
    content = json.loads(golden.to_text())
    content["events"][column] = 0
    with pytest.raises(ModelFileError, match="fit together"):
        golden_frame_from_text(json.dumps(content), "m.onnx")


def _with(path, tmp_path, **properties):
    model = onnx.load(str(path))
    for entry in model.metadata_props:
        entry.value = properties.get(entry.key, entry.value)
    onnx.save_model(model, str(tmp_path / "other.onnx"))
    return tmp_path / "other.onnx"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("kinds", "cluster,object,cell"),
        ("level_sources", "crop,model,frame,given"),
        ("max_events", "-7"),
        ("max_events", "9" * 30),
    ],
)
def test_constants_of_the_contract_must_be_those_of_the_graph(path, tmp_path, name, text):
    with pytest.raises(ContractError, match=name):
        list(verify(_with(path, tmp_path, **{name: text})))


def test_probabilities_that_are_no_numbers_are_refused(path, tmp_path):
    model = onnx.load(str(path))
    for node in model.graph.node:
        node.output[:] = ["numbers" if output == "probabilities" else output for output in node.output]
        node.input[:] = ["numbers" if value == "probabilities" else value for value in node.input]
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array(np.nan, np.float32), "no_number"))
    model.graph.node.append(onnx.helper.make_node("Add", ["numbers", "no_number"], ["probabilities"]))
    onnx.save_model(model, str(tmp_path / "other.onnx"))
    frame = golden_frame_from_text(FramePredictor(path).properties["golden_frame"], path)
    with pytest.raises(ModelFileError, match="no numbers"):
        FramePredictor(tmp_path / "other.onnx").predict(frame.frame)


def test_a_parent_that_is_no_row_is_malformed(golden):
    events = golden.events._replace(parent=np.full_like(golden.events.parent, len(golden.events.parent)))
    with pytest.raises(ModelFileError, match="fit together"):
        golden_frame_from_text(replace(golden, events=events).to_text(), "m.onnx")
