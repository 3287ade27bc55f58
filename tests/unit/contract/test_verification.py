import json

import numpy as np
import onnx
import pytest
from file_edits import rewrite, set_property

from ctcnet.cli import main
from ctcnet.contract.fields import FIELDS
from ctcnet.contract.verification import verify
from ctcnet.errors import ContractError, CtcnetError
from ctcnet.runtime.model_file import read_model_file

pytestmark = pytest.mark.unit


def test_file_as_exported_passes_every_step(exported):
    steps = dict(verify(exported))
    assert list(steps) == ["file", "signature", "metadata", "golden sample"]
    assert steps["signature"] == "none"
    assert "every decision equal" in steps["golden sample"]
    stated = read_model_file(exported).properties
    assert {field.name for field in FIELDS["crop"] if not field.optional} <= set(stated)
    assert steps["metadata"].startswith(f"{len(stated)} properties")


@pytest.mark.parametrize("name", [field.name for field in FIELDS["crop"] if not field.optional])
def test_every_field_must_be_there(exported, name):
    with pytest.raises(CtcnetError, match=name):
        list(verify(set_property(exported, name, None)))


OTHER = {
    "contract": "2",
    "graph": "frame2",
    "input_dtype": "float32",
    "opset": "17",
    "ir_version": "8",
    "least_onnxruntime": "99.1",
    "made_with": '[{"name": "x"}]',
    "name": "another",
    "panel": "DAPI,CD45",
    "roles": "nucleus,leukocyte",
    "bit_depth": "8",
    "pixel_size_um": "0.51",
    "crop_size_px": "16",
    "classes": "a,b,c,d,e",
    "temperature": "1.6",
    "thresholds": '{"unassigned_below": 0.2}',
    "folded": '{"a": "b"}',
    "training_prior": "[0.3, 0.1, 0.2, 0.2, 0.2]",
    "normalization": '{"mode": "fixed"}',
    "guard_band": "0.5",
    "training_data_sha256": "ab" * 31,
    "software_version": "9.9",
    "intended_use": "diagnosis",
    "licence": "MIT",
    "golden_sample": "{}",
    "ctcnet_card": "{}",
}


def test_an_onnxruntime_older_than_any_that_files_are_compared_in_is_not_believed(exported):
    with pytest.raises(CtcnetError, match="least_onnxruntime") as caught:
        list(verify(set_property(exported, "least_onnxruntime", "1.2")))
    assert (caught.value.expected, caught.value.found) == ("1.17 or newer", "1.2")


def test_no_field_is_forgotten_here():
    assert set(OTHER) == {field.name for field in FIELDS["crop"] if not field.optional}


@pytest.mark.parametrize("name", OTHER)
def test_every_field_must_say_what_is_so(exported, name):
    with pytest.raises(CtcnetError) as caught:
        list(verify(set_property(exported, name, OTHER[name])))
    assert caught.value.where == str(exported)


@pytest.mark.parametrize(
    ("name", "text"), [("ctc_log_odds", '{"knots": [0, 1], "shifts": [1, 1]}'), ("precision", "int8")]
)
def test_an_optional_field_must_say_what_is_so_where_it_is(exported, name, text):
    list(verify(set_property(exported, name, None)))
    with pytest.raises(ContractError, match=name):
        list(verify(set_property(exported, name, text)))


def test_a_guard_band_that_would_let_any_answer_pass_is_refused(exported):
    properties = {entry.key: entry.value for entry in onnx.load(str(exported)).metadata_props}
    card = json.loads(properties["ctcnet_card"]) | {"guard_band": 2.0}
    sample = json.loads(properties["golden_sample"]) | {"probability_tolerance": 1.5}
    set_property(exported, "ctcnet_card", json.dumps(card))
    set_property(exported, "golden_sample", json.dumps(sample))
    with pytest.raises(CtcnetError, match="guard band"):
        list(verify(set_property(exported, "guard_band", "2.0")))


def test_a_program_without_a_name_is_refused(exported):
    programs = json.dumps([{"name": "", "version": "1", "licence": "MIT"}])
    with pytest.raises(ContractError, match="made_with"):
        list(verify(set_property(exported, "made_with", programs)))


def test_unknown_field_is_refused(exported):
    with pytest.raises(ContractError, match="colour"):
        list(verify(set_property(exported, "colour", "red")))


def test_card_of_another_panel_is_refused(exported):
    card = json.loads({p.key: p.value for p in onnx.load(str(exported)).metadata_props}["ctcnet_card"])
    card["panel"]["channels"][1] |= {"marker": "CD45", "role": "leukocyte"}
    with pytest.raises(ContractError, match="'panel'"):
        list(verify(set_property(exported, "ctcnet_card", json.dumps(card))))


def test_other_weights_give_other_answers(exported):
    def change(model):
        weights = next(tensor for tensor in model.graph.initializer if tensor.name == "weights")
        values = onnx.numpy_helper.to_array(weights) * np.float32(1.01)
        weights.CopyFrom(onnx.numpy_helper.from_array(values, "weights"))

    with pytest.raises(ContractError, match="other probabilities for its golden sample, case 1, crop"):
        list(verify(rewrite(exported, change)))


@pytest.mark.parametrize("tolerance", [1e9, float("inf"), float("nan"), -1.0])
@pytest.mark.parametrize("name", ["probability_tolerance", "atypicality_tolerance"])
def test_a_sample_that_lets_any_answer_pass_is_refused(exported, name, tolerance):
    sample = json.loads(read_model_file(exported).properties["golden_sample"]) | {name: tolerance}
    with pytest.raises(ContractError, match=name):
        list(verify(set_property(exported, "golden_sample", json.dumps(sample))))


def test_verb_prints_pass_or_the_first_difference(exported, capsys):
    assert main(["verify", str(exported)]) == 0
    out = capsys.readouterr().out
    assert "pass:" in out
    assert "research use only" in out
    assert main(["verify", str(set_property(exported, "name", "another"))]) == 1
    out = capsys.readouterr().out
    assert "FAILED" in out
    assert "'name'" in out
    assert "pass:" not in out


def test_verb_takes_nothing_but_a_model_file(exported, tmp_path, capsys):
    (tmp_path / "folder.onnx").mkdir()
    for words, message in (
        ([tmp_path / "no.onnx"], "no.onnx: no such file"),
        ([tmp_path / ("n" * 300 + ".onnx")], "cannot be looked at"),
        ([tmp_path], "is no ONNX file"),
        ([tmp_path / "folder.onnx"], "is no ONNX file"),
        (["ctcnet-s"], "is no ONNX file"),
        ([exported, "--key", exported], "is no public key"),
        ([exported, "--key", tmp_path / "no.pem"], "no.pem: cannot be read"),
        ([exported, "--against", tmp_path / "no.ckpt"], "no such file"),
    ):
        assert main(["verify", *map(str, words)]) == 2
        captured = capsys.readouterr()
        assert captured.out == ""
        assert message in captured.err
        assert "what to do: " in captured.err


def test_card_of_a_file_that_was_changed_after_it_was_signed_is_not_printed(exported, capsys):
    said = {"sha256": "ab" * 32, "key_id": "ab" * 8, "signature": "A" * 86 + "==", "algorithm": "ed25519"}
    exported.with_name(f"{exported.name}.sig").write_text(json.dumps(said))
    assert main(["card", str(exported)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "it has been changed" in captured.err


def test_verb_prints_the_card(exported, capsys, two_channel_card):
    assert main(["card", str(exported)]) == 0
    assert capsys.readouterr().out.rstrip() == two_channel_card.to_markdown().rstrip()
    assert main(["card", str(exported), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == two_channel_card.to_dict()
    assert main(["card", "ctcnet-s"]) == 0
    assert "research use only" in capsys.readouterr().out
    assert main(["card", "ctcnet-s", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["name"] == "ctcnet-s"


def test_other_onnx_files_and_files_of_reduced_precision_are_compared_with_nothing(exported, tmp_path, capsys):
    assert main(["verify", str(exported), "--against", str(exported)]) == 2
    assert "is no checkpoint" in capsys.readouterr().err
    (tmp_path / "best.ckpt").touch()
    card = json.loads(read_model_file(exported).properties["ctcnet_card"]) | {"precision": "fp16"}
    set_property(set_property(exported, "ctcnet_card", json.dumps(card)), "precision", "fp16")
    assert main(["verify", str(exported), "--against", str(tmp_path / "best.ckpt")]) == 2
    assert "float32 alone" in capsys.readouterr().err
