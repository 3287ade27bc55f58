import json

import numpy as np
import onnx
import pytest

from ctcnet.contract.fields import FIELDS
from ctcnet.errors import OutputError, ParityError, SettingError
from ctcnet.export import export_predictor
from ctcnet.export.parity import random_crops
from ctcnet.runtime import OnnxPredictor, SessionSettings
from ctcnet.runtime.conformal import judge_unassigned

pytestmark = pytest.mark.unit


@pytest.fixture(scope="module")
def exported(make_predictor, tmp_path_factory):
    """A predictor and what its export gave."""
    predictor = make_predictor()
    return predictor, export_predictor(predictor, tmp_path_factory.mktemp("exported") / "m.onnx")


@pytest.mark.parametrize(("mode", "dtype"), [("cartridge", "uint16"), ("per_crop", "float32")])
def test_file_answers_as_the_checkpoint(make_predictor, tmp_path, mode, dtype, capfd):
    predictor = make_predictor(mode)
    result = export_predictor(predictor, tmp_path / "m.onnx", input_dtype=dtype)
    assert capfd.readouterr() == ("", "")
    assert result.parity.probability_difference < 1e-5
    exported = OnnxPredictor(result.model, SessionSettings(threads=1))
    crops = random_crops(predictor.card, 5, np.random.default_rng(3)).astype(dtype)
    levels = np.array([30, 40], np.float32), np.array([500, np.nan], np.float32)
    for given in ((None, None), levels):
        expected, found = predictor.predict(crops, *given), exported.predict(crops, *given)
        np.testing.assert_allclose(found.probabilities, expected.probabilities, atol=1e-5)
        np.testing.assert_allclose(found.embedding, expected.embedding, atol=1e-4)
        np.testing.assert_array_equal(found.unassigned, expected.unassigned)
        assert np.isnan(found.atypicality).all()


@pytest.mark.parametrize("mode", ["cartridge", "per_crop"])
def test_file_knows_what_the_checkpoint_does_not_know(make_predictor, tmp_path, mode):
    predictor = make_predictor(mode, uncertain=True, crop_size_px=24)
    result = export_predictor(predictor, tmp_path / "m.onnx")
    assert result.parity.atypicality_difference < 1e-4
    exported = OnnxPredictor(result.model, SessionSettings(threads=1))
    assert exported.card == predictor.card
    rng = np.random.default_rng(3)
    noise = (
        rng.uniform(0, 1, (64, 2, 24, 24)) * np.array([400, 300])[:, None, None] + np.array([100, 50])[:, None, None]
    )
    crops = np.concatenate([noise.astype(np.uint16), random_crops(predictor.card, 64, rng)])
    expected, found = predictor.predict(crops), exported.predict(crops)
    np.testing.assert_allclose(found.atypicality, expected.atypicality, rtol=1e-3)
    assert (found.atypicality > 1).any()
    np.testing.assert_array_equal(found.unassigned, expected.unassigned)
    np.testing.assert_array_equal(
        found.unassigned, judge_unassigned(found.probabilities, found.atypicality, exported.card)
    )
    assert [len(answer) for answer in exported.predict(crops[:0])] == [0, 0, 0, 0]
    assert found.unassigned.any()
    assert mode == "per_crop" or not found.unassigned.all()
    assert exported.cartridge_reference is not None
    assert exported.cartridge_reference.to_text() == predictor.cartridge_reference.to_text()
    properties = {entry.key: entry.value for entry in onnx.load(str(result.model)).metadata_props}
    assert json.loads(properties["thresholds"])["conformal_alpha"] == [0.1] * 5


@pytest.mark.parametrize("uncertain", [False, True])
def test_crop_without_numbers_is_unassigned_in_the_file_too(make_predictor, tmp_path, uncertain):
    predictor = make_predictor(uncertain=uncertain)
    model = export_predictor(predictor, tmp_path / "m.onnx", input_dtype="float32").model
    crops = random_crops(predictor.card, 3, np.random.default_rng(3)).astype(np.float32)
    crops[1] = np.nan
    assert predictor.predict(crops).unassigned[1]
    assert OnnxPredictor(model, SessionSettings(threads=1)).predict(crops).unassigned[1]


def test_file_is_one_that_old_runtimes_load(exported):
    _, result = exported
    assert sorted(path.name for path in result.model.parent.iterdir()) == ["m.README.md", "m.card.json", "m.onnx"]
    model = onnx.load(str(result.model))
    assert model.ir_version == 9
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", 18)]
    assert not any(tensor.external_data for tensor in model.graph.initializer)
    assert not any(node.metadata_props for node in model.graph.node)
    assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_param
    assert [entry.name for entry in model.graph.output] == ["probabilities", "unassigned", "atypicality", "embedding"]


def test_metadata_says_what_other_programs_need(exported):
    predictor, result = exported
    properties = {entry.key: entry.value for entry in onnx.load(str(result.model)).metadata_props}
    assert properties["panel"] == "DAPI,CK"
    assert properties["pixel_size_um"] == "0.5"
    assert properties["crop_size_px"] == "8"
    assert properties["classes"].split(",") == list(predictor.card.labels.classes)
    assert float(properties["temperature"]) == 1.5
    assert json.loads(properties["thresholds"]) == {"unassigned_below": 0.3}
    assert properties["training_data_sha256"] == "ab" * 32
    assert properties["least_onnxruntime"] == "1.17"
    assert "research use only" in properties["intended_use"]
    assert {"ctcnet", "torch", "onnxruntime"} <= {entry["name"] for entry in json.loads(properties["made_with"])}
    required = {field.name for field in FIELDS["crop"] if not field.optional}
    assert set(properties) == required | {"precision", "float_layers", "ctc_log_odds"}
    assert json.loads(properties["ctcnet_card"]) == predictor.card.to_dict() == json.loads(result.card.read_text())
    assert "research use only" in result.readme.read_text()


def test_no_file_is_left_when_parity_fails(make_predictor, tmp_path):
    predictor = make_predictor()
    honest = predictor.predict

    def wrong(crops, background=None, scale=None):
        answer = honest(crops, background, scale)
        return answer._replace(probabilities=answer.probabilities[:, ::-1])

    predictor.predict = wrong
    with pytest.raises(ParityError):
        export_predictor(predictor, tmp_path / "m.onnx")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "options"),
    [("m.pt", {}), ("m.onnx", {"opset": 11}), ("m.onnx", {"input_dtype": "uint8"})],
)
def test_settings_that_cannot_be_are_refused(make_predictor, tmp_path, name, options):
    with pytest.raises(SettingError):
        export_predictor(make_predictor(), tmp_path / name, **options)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["m.onnx", "m.card.json", "m.README.md", "m.onnx.sig", "m.sbom.json"])
def test_files_that_exist_are_kept(make_predictor, tmp_path, name):
    (tmp_path / name).write_text("mine")
    with pytest.raises(OutputError, match="exists already"):
        export_predictor(make_predictor(), tmp_path / "m.onnx")
    assert (tmp_path / name).read_text() == "mine"
    assert len(list(tmp_path.iterdir())) == 1


def test_overwrite_replaces_all_three_and_removes_an_older_signature(make_predictor, tmp_path):
    for name in ("m.onnx", "m.card.json", "m.README.md", "m.onnx.sig", "m.sbom.json"):
        (tmp_path / name).write_text("older")
    result = export_predictor(make_predictor("fixed"), tmp_path / "m.onnx", overwrite=True)
    assert json.loads(result.card.read_text())["normalization"]["mode"] == "fixed"
    assert OnnxPredictor(result.model, SessionSettings(threads=1)).card.normalization.mode == "fixed"


def test_an_interrupted_exchange_mixes_no_files_of_two_exports(make_predictor, older_export_cut_off):
    with pytest.raises(KeyboardInterrupt):
        export_predictor(make_predictor(), older_export_cut_off / "m.onnx", overwrite=True)
    left = {path.name: path.read_bytes() for path in older_export_cut_off.iterdir()}
    assert left.pop("m.onnx") != b"older"
    assert b"older" not in left.values()
