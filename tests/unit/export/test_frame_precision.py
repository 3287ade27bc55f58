"""The frame graph with its network in reduced precision decides as the crop graph of the same precision."""

import json

import numpy as np
import onnx
import pytest

from ctcnet.contract.verification import verify
from ctcnet.errors import ParityError, SettingError
from ctcnet.export import Reduction, export_predictor, precision_gate
from ctcnet.export.frame_export import export_frame_graph
from ctcnet.export.frame_parity import compare_events, scan_events
from ctcnet.export.reference_crops import divide
from ctcnet.export.simulated_frame import simulated_frame
from ctcnet.runtime import FramePredictor, OnnxPredictor, SessionSettings
from ctcnet.scan.detect.detector import EventDetector
from ctcnet.scan.platform import load_platform

pytestmark = pytest.mark.unit

PIXEL_SIZE_UM = 0.6
ONE_THREAD = SessionSettings(threads=1)


@pytest.fixture(scope="module")
def platform():
    return load_platform("ome_tiff")


@pytest.fixture(scope="module")
def int8(deep_predictor, crops, platform, tmp_path_factory):
    """What the exports of the frame graph and of the crop graph gave."""
    folder, reduction = tmp_path_factory.mktemp("exported"), Reduction("int8", divide(crops, "crops"))
    frame = export_frame_graph(
        deep_predictor,
        folder / "frame.onnx",
        platform=platform,
        pixel_size_um=PIXEL_SIZE_UM,
        reduction=reduction,
    )
    return frame, export_predictor(deep_predictor, folder / "crop.onnx", reduction=reduction)


def test_card_and_metadata_are_those_of_the_crop_graph(int8):
    frame, crop = int8
    graphs = FramePredictor(frame.model, ONE_THREAD), OnnxPredictor(crop.model, ONE_THREAD)
    assert graphs[0].card == graphs[1].card
    assert graphs[0].card.guard_band == 0.02
    assert graphs[0].properties["precision"] == "int8"
    assert graphs[0].properties["float_layers"] == "first"
    assert json.loads(graphs[0].properties["golden_frame"])["probability_tolerance"] == 0.02
    assert '"precision": "int8"' in frame.card.read_text()
    assert frame.reduced.gate == crop.reduced.gate
    assert list(verify(frame.model, None))


def test_network_is_that_of_the_crop_graph(int8):
    def weights(path) -> list[bytes]:
        model = onnx.load(path)
        graphs = [model.graph]
        for graph in graphs:
            graphs += [entry.g for node in graph.node for entry in node.attribute if entry.type == entry.GRAPH]
        found = [tensor for graph in graphs for tensor in graph.initializer]
        return sorted(t.raw_data for t in found if t.data_type == onnx.TensorProto.INT8 and len(t.dims) == 4)

    frame, crop = (weights(result.model) for result in int8)
    assert frame == crop
    assert len(crop) == 2


def test_events_are_those_of_a_scan_with_the_crop_graph(int8, two_channel_card, platform):
    graph, crop = FramePredictor(int8[0].model, ONE_THREAD), OnnxPredictor(int8[1].model, ONE_THREAD)
    frame = simulated_frame(two_channel_card.panel, PIXEL_SIZE_UM, (300, 400), seed=3)
    detector = EventDetector(platform.detection, two_channel_card.panel.roles, PIXEL_SIZE_UM)
    scale = np.array([500, 400], np.float32)
    events, answers = scan_events(crop, detector, np.eye(2), frame, scale)
    parity = compare_events(events, answers, graph.predict(frame, events.background, scale), crop)
    assert parity.holds, parity
    assert parity.matched > 20
    assert parity.guard_band == 0.02


def test_half_precision_is_written_too(deep_predictor, platform, tmp_path):
    result = export_frame_graph(
        deep_predictor,
        tmp_path / "m.onnx",
        platform=platform,
        pixel_size_um=PIXEL_SIZE_UM,
        reduction=Reduction("fp16", None),
    )
    assert result.reduced is not None
    assert result.reduced.card.precision == "fp16"
    assert FramePredictor(result.model, ONE_THREAD).card.guard_band == 0.005


@pytest.mark.parametrize(("kept", "most_flips", "error"), [(("head",), 1, SettingError), ((), -1, ParityError)])
def test_what_is_refused_leaves_no_file(
    deep_predictor, crops, platform, tmp_path, monkeypatch, kept, most_flips, error
):
    monkeypatch.setattr(precision_gate, "MOST_FLIPS", most_flips)
    reduction, out = Reduction("int8", divide(crops, "crops"), kept), tmp_path / "m.onnx"
    with pytest.raises(error, match=r"m\.onnx|--keep-float"):
        export_frame_graph(deep_predictor, out, platform=platform, pixel_size_um=PIXEL_SIZE_UM, reduction=reduction)
    assert list(tmp_path.iterdir()) == []
