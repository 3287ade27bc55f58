"""The frame graph of a little network: its file, its answers to odd frames, its gate."""

import json
from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch

from ctcnet.cli import main
from ctcnet.contract.fields import FIELDS
from ctcnet.errors import ContractError, ModelFileError, ModelPanelError, ParityError, SettingError
from ctcnet.export import frame_parity
from ctcnet.export.frame_export import export_frame_graph, frame_pixel_size_um
from ctcnet.export.frame_parity import check_frame_file, compare_events, scan_events
from ctcnet.export.simulated_frame import simulated_frame
from ctcnet.panel import load_panel
from ctcnet.resources import resource_dir
from ctcnet.runtime import FramePredictor, OnnxPredictor, SessionSettings
from ctcnet.runtime.frame_predictor import GIVEN, OF_CROP, OF_FRAME, OF_MODEL
from ctcnet.scan.detect.detector import EventDetector
from ctcnet.scan.platform import load_platform
from ctcnet.scan.preprocess.frame_sample import FrameSample
from ctcnet.scan.preprocess.levels import measure_levels
from ctcnet.scan.preprocess.spillover import unmixing_matrix

pytestmark = pytest.mark.unit

PIXEL_SIZE_UM = 0.6
LEVELS = np.array([60, 50], np.float32), np.array([500, 400], np.float32)


@pytest.fixture(scope="module")
def exported(make_predictor, tmp_path_factory):
    """What the export of a frame graph gave."""
    path = tmp_path_factory.mktemp("exported") / "frame.onnx"
    return export_frame_graph(make_predictor(), path, platform=load_platform("ome_tiff"), pixel_size_um=PIXEL_SIZE_UM)


@pytest.fixture(scope="module")
def graph(exported):
    return FramePredictor(exported.model, SessionSettings(threads=1))


@pytest.fixture(scope="module")
def frame(two_channel_card):
    return simulated_frame(two_channel_card.panel, PIXEL_SIZE_UM, (400, 500), seed=2)


def test_events_are_those_of_the_scan(exported):
    parity = exported.parity
    assert parity.matched == parity.scan_events == parity.graph_events > 50
    assert parity.distance_px < 0.01
    assert parity.probability_difference < 1e-5
    assert parity.flips_inside == parity.flips_outside == 0


def test_file_says_what_it_is(exported, graph):
    assert set(graph.properties) == {field.name for field in FIELDS["frame"]}
    assert graph.properties["graph"] == "frame"
    assert graph.frame_pixel_size_um == PIXEL_SIZE_UM
    assert json.loads(graph.properties["detection"])["nucleus_snr"] == 6.0
    assert exported.card.is_file()
    assert exported.readme.is_file()
    model = onnx.load(exported.model)
    assert (model.ir_version, [(entry.domain, entry.version) for entry in model.opset_import]) == (9, [("", 18)])
    onnx.checker.check_model(model, full_check=True)


@pytest.mark.parametrize("shape", [(1, 1), (9, 30), (40, 12), (15, 15)])
@pytest.mark.parametrize("value", [0, 65535])
def test_flat_frames_have_no_events(graph, shape, value):
    found = graph.predict(np.full((2, *shape), value, np.uint16))
    assert len(found) == found.events_found == 0
    assert not found.truncated
    assert found.probabilities.shape == (0, 5)
    assert found.mean.shape == found.snr.shape == (0, 2)
    np.testing.assert_array_equal(found.background_used, value)
    assert set(found.background_source) == {OF_FRAME}
    assert set(found.scale_source) == {OF_MODEL}


@pytest.mark.parametrize("shape", [(16, 16), (33, 50), (20, 200), (101, 67)])
def test_odd_sizes_give_the_events_of_the_scan(graph, make_predictor, frame, shape):
    part = frame[:, 20 : 20 + shape[0], 10 : 10 + shape[1]]
    detector = EventDetector(load_platform("ome_tiff").detection, ("nucleus", "epithelial"), PIXEL_SIZE_UM)
    predictor = make_predictor()
    events, answers = scan_events(predictor, detector, np.eye(2), part, LEVELS[1])
    found = graph.predict(part, events.background, LEVELS[1])
    parity = compare_events(events, answers, found, predictor)
    assert parity.holds, parity
    assert parity.matched or shape == (16, 16)


def test_number_of_events_is_bounded_and_spread(graph, frame):
    every = graph.predict(frame, *LEVELS, max_events=10**9)
    assert not every.truncated
    assert len(every) == every.events_found > 10
    few = graph.predict(frame, *LEVELS, max_events=5)
    assert few.truncated
    assert few.events_found == len(every)
    rows = np.arange(5) * len(every) // 5
    np.testing.assert_array_equal(few.y_px, every.y_px[rows])
    np.testing.assert_allclose(few.probabilities, every.probabilities[rows], atol=1e-6)
    assert (few.parent < 5).all()
    exact = graph.predict(frame, *LEVELS, max_events=len(every))
    assert not exact.truncated
    none = graph.predict(frame, *LEVELS, max_events=0)
    assert (len(none), none.truncated) == (0, True)


def test_members_point_to_their_cluster(graph, frame):
    found = graph.predict(frame, *LEVELS)
    for row in np.flatnonzero(found.kind == 2):
        members = np.flatnonzero(found.parent == row)
        assert len(members) == found.members[row] >= 2
        np.testing.assert_allclose(found.x_px[members].mean(), found.x_px[row], atol=1e-3)
    assert (found.parent[found.kind != 0] == -1).all()


@pytest.mark.parametrize("roles", [("nucleus", "epithelial"), ("nucleus", "leukocyte")])
def test_scale_of_the_frame_is_that_of_its_leukocytes(make_predictor, two_channel_card, roles, tmp_path):
    panel = load_panel("cellsearch4").network_panel()
    kept = tuple(channel for channel in panel.channels if channel.role in roles)
    panel, predictor = replace(panel, channels=kept), make_predictor()
    predictor.card = replace(two_channel_card, panel=panel)
    frame = simulated_frame(panel, PIXEL_SIZE_UM, (700, 800), seed=4)
    detector = EventDetector(load_platform("ome_tiff").detection, panel.roles, PIXEL_SIZE_UM)
    counts = torch.from_numpy(frame.astype(np.float32))
    events = detector.detect(counts[None])[0]
    sample = FrameSample(events.x_px, events.y_px, events.kind, counts, events.background, events.noise)
    expected = measure_levels([sample], panel, PIXEL_SIZE_UM)
    assert expected.leukocytes >= 50
    result = export_frame_graph(
        predictor, tmp_path / "m.onnx", platform=load_platform("ome_tiff"), pixel_size_um=PIXEL_SIZE_UM
    )
    found = FramePredictor(result.model, SessionSettings(threads=1)).predict(frame)
    assert found.scale_source.tolist() == [OF_FRAME] * len(kept)
    np.testing.assert_allclose(found.scale_used, expected.scale, rtol=0.05, atol=1)
    np.testing.assert_allclose(found.background_used, expected.background, atol=3)


def test_crops_of_a_model_without_levels_have_their_own(make_predictor, tmp_path):
    result = export_frame_graph(
        make_predictor("per_crop"),
        tmp_path / "m.onnx",
        platform=load_platform("ome_tiff"),
        pixel_size_um=PIXEL_SIZE_UM,
    )
    assert result.parity.matched > 50
    graph = FramePredictor(result.model, SessionSettings(threads=1))
    found = graph.predict(simulated_frame(graph.card.panel, PIXEL_SIZE_UM, (300, 300), seed=2), *LEVELS)
    assert len(found) > 5
    assert found.background_source.tolist() == found.scale_source.tolist() == [OF_CROP] * 2
    assert np.isnan([found.background_used, found.scale_used]).all()


def test_a_model_of_fixed_levels_has_its_own_as_in_a_scan(make_predictor, tmp_path):
    predictor, platform = make_predictor("fixed"), load_platform("ome_tiff")
    path = export_frame_graph(predictor, tmp_path / "m.onnx", platform=platform, pixel_size_um=PIXEL_SIZE_UM).model
    frame = simulated_frame(predictor.card.panel, PIXEL_SIZE_UM, (300, 300), seed=2)
    found = FramePredictor(path, SessionSettings(threads=1)).predict(frame)
    assert found.background_source.tolist() == found.scale_source.tolist() == [OF_MODEL] * 2
    own = predictor.card.normalization
    np.testing.assert_array_equal([found.background_used, found.scale_used], [own.background, own.scale])
    detector = EventDetector(platform.detection, predictor.card.panel.roles, PIXEL_SIZE_UM)
    events, answers = scan_events(predictor, detector, np.eye(2), frame, None)  # levels are left to the model
    parity = compare_events(events, answers, found, predictor)
    assert parity.holds, parity
    assert parity.matched > 5


def test_spillover_is_undone_as_in_a_scan(make_predictor, frame, tmp_path):
    platform = replace(load_platform("ome_tiff"), spillover={"CK": {"DAPI": 0.2}})
    predictor = make_predictor()
    path = export_frame_graph(predictor, tmp_path / "m.onnx", platform=platform, pixel_size_um=PIXEL_SIZE_UM).model
    mixed = frame.astype(np.float64)
    mixed[0] += 0.2 * (mixed[1] - np.median(mixed[1]))
    mixed[1] += 1500  # far more than the background of DAPI holds, 0.2 of it taken away
    mixed = np.clip(np.rint(mixed), 0, predictor.card.panel.full_scale).astype(np.uint16)
    found = FramePredictor(path, SessionSettings(threads=1)).predict(mixed, None, LEVELS[1])
    detector = EventDetector(platform.detection, predictor.card.panel.roles, PIXEL_SIZE_UM)
    unmixing = unmixing_matrix(platform, predictor.card.panel)
    events, answers = scan_events(predictor, detector, unmixing, mixed, LEVELS[1])
    parity = compare_events(events, answers, found, predictor)
    assert parity.holds, parity
    unmixed, _ = scan_events(predictor, detector, np.eye(2), frame, LEVELS[1])
    assert abs(parity.matched - len(unmixed)) <= 0.05 * len(unmixed)
    np.testing.assert_allclose(events.background - unmixed.background, (0, 1500), atol=3)


def test_levels_that_are_no_numbers_are_those_of_the_frame(graph, frame):
    background, scale = LEVELS[0].copy(), LEVELS[1].copy()
    background[1] = scale[0] = np.nan
    found = graph.predict(frame, background, scale)
    assert found.background_source.tolist() == [GIVEN, OF_FRAME]
    assert found.background_used[0] == 60
    assert found.scale_source[1] == GIVEN
    assert found.scale_used[1] == 400
    assert np.isfinite(found.probabilities).all()


def test_bad_frames_are_refused(graph, frame):
    with pytest.raises(SettingError, match="another shape or type"):
        graph.predict(frame.astype(np.float32))
    with pytest.raises(ModelPanelError, match="channels"):
        graph.predict(frame[:1])
    with pytest.raises(SettingError, match="number of events"):
        graph.predict(frame, max_events=-1)
    with pytest.raises(SettingError, match="number of events"):
        graph.predict(frame, max_events=3.5)  # pyright: ignore[reportArgumentType]
    with pytest.raises(SettingError, match="scale"):
        graph.predict(frame, LEVELS[0], -LEVELS[1])


def test_each_predictor_wants_its_own_graph(exported):
    with pytest.raises(ModelFileError, match="other inputs or outputs") as caught:
        OnnxPredictor(exported.model)
    assert "without --frame" in (caught.value.fix or "")


def test_a_graph_for_a_platform_of_ones_own_is_compared_with_nothing(make_predictor, tmp_path, capsys):
    """Its name may be that of a file: a model file must not say what else is read."""
    own = tmp_path / "own.yaml"
    own.write_bytes((resource_dir("configs") / "platforms" / "ome_tiff.yaml").read_bytes())
    platform = replace(load_platform(own), name=str(own))
    path = export_frame_graph(
        make_predictor(), tmp_path / "m.onnx", platform=platform, pixel_size_um=PIXEL_SIZE_UM
    ).model
    (tmp_path / "best.ckpt").touch()
    assert main(["verify", str(path), "--against", str(tmp_path / "best.ckpt")]) == 2
    assert "shipped platforms alone" in capsys.readouterr().err


def _four_classes(card: dict) -> dict:
    labels = card["labels"] | {"classes": card["labels"]["classes"][:4]}
    return card | {"labels": labels, "training_prior": [0.25] * 4}


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("ctcnet_card", lambda text: json.dumps(_four_classes(json.loads(text))), "size of 'probabilities'"),
        ("frame_pixel_size_um", lambda text: "nan", "pixel size"),
        ("frame_pixel_size_um", lambda text: "-0.6", "pixel size"),
        ("frame_pixel_size_um", lambda text: "small", "pixel size"),
    ],
)
def test_metadata_that_do_not_fit_the_graph_are_refused(exported, tmp_path, name, change, words):
    model = onnx.load(str(exported.model))
    entry = next(entry for entry in model.metadata_props if entry.key == name)
    entry.value = change(entry.value)
    onnx.save_model(model, str(tmp_path / "changed.onnx"))
    with pytest.raises(ModelFileError, match=words):
        FramePredictor(tmp_path / "changed.onnx")


def test_file_is_compared_with_its_checkpoint(exported, graph, make_predictor, monkeypatch):
    parity = check_frame_file(make_predictor(), graph, exported.model)
    assert parity == exported.parity
    assert f"all {parity.matched} events" in parity.to_text()
    other = make_predictor()
    with torch.no_grad():
        other.network.head.weight.mul_(-3)
    with pytest.raises(ParityError, match="scan's events"):
        check_frame_file(other, graph, exported.model)
    for name, value, error in (("detection", "{}", ContractError), ("platform", "unheard", SettingError)):
        monkeypatch.setitem(graph.properties, name, value)
        with pytest.raises(error):
            check_frame_file(make_predictor(), graph, exported.model)


def test_failed_gate_leaves_no_file(make_predictor, tmp_path, monkeypatch):
    monkeypatch.setattr(frame_parity, "LARGEST_DISTANCE_PX", -1.0)
    with pytest.raises(ParityError, match="scan's events"):
        export_frame_graph(
            make_predictor(), tmp_path / "m.onnx", platform=load_platform("ome_tiff"), pixel_size_um=PIXEL_SIZE_UM
        )
    assert not list(tmp_path.iterdir())


def test_an_interrupted_exchange_mixes_no_files_of_two_exports(make_predictor, older_export_cut_off):
    output, platform = older_export_cut_off / "m.onnx", load_platform("ome_tiff")
    with pytest.raises(KeyboardInterrupt):
        export_frame_graph(make_predictor(), output, platform=platform, pixel_size_um=PIXEL_SIZE_UM, overwrite=True)
    left = {path.name: path.read_bytes() for path in older_export_cut_off.iterdir()}
    assert left.pop("m.onnx") != b"older"
    assert b"older" not in left.values()


def test_pixel_size_comes_from_the_caller_the_platform_or_nowhere(two_channel_card):
    celltracks, any_scanner = load_platform("celltracks"), load_platform("ome_tiff")
    unsized = replace(two_channel_card, panel=replace(two_channel_card.panel, pixel_size_um=None))
    assert frame_pixel_size_um(0.5, celltracks, two_channel_card) == 0.5
    assert frame_pixel_size_um(None, celltracks, two_channel_card) == 0.64
    assert frame_pixel_size_um(None, any_scanner, two_channel_card) == 0.5
    with pytest.raises(SettingError, match="not known"):
        frame_pixel_size_um(None, any_scanner, unsized)
