"""From labelled crops to a corrected count: evaluate, write the rates into the file, scan with it. Simulated cells."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from pyarrow import parquet
from rule_model import THREE_CHANNELS

from ctcnet.cli import main
from ctcnet.contract.verification import verify
from ctcnet.export.golden_crops import golden_sample
from ctcnet.export.onnx_file import metadata
from ctcnet.runtime import OnnxPredictor
from ctcnet.scan.counting.corrected import Correction, FalseCalls, corrected_interval

pytestmark = pytest.mark.integration


def _exported(rule_model: Path, path: Path) -> Path:
    """The model by rule with everything that export writes into a file, but for what it knows of cartridges."""
    predictor = OnnxPredictor(rule_model)
    sample = golden_sample(predictor, np.dtype(np.uint16), 1e-4).to_text()
    model = onnx.load(rule_model)
    onnx.helper.set_model_props(model, metadata(predictor.card, "crop", 18, "uint16", sample))
    onnx.save_model(model, str(path))
    return path


@pytest.fixture(scope="module")
def laboratory(rule_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with model.onnx, its evaluation on simulated crops, and rated.onnx."""
    folder = tmp_path_factory.mktemp("laboratory")
    model, crops = _exported(rule_model, folder / "model.onnx"), folder / "crops"
    (folder / "three.yaml").write_text(THREE_CHANNELS)
    size = ["--crop-size-px", "32", "--pixel-size-um", "0.64", "--panel", str(folder / "three.yaml")]
    assert main(["simulate", "crops", str(crops), "--count", "1800", "--seed", "90210", *size]) == 0
    words = ["evaluate", str(model), str(crops / "manifest.csv"), "-o", str(folder / "evaluation"), "--bootstrap", "0"]
    assert main(words) == 0
    assert main(["rates", str(model), str(folder / "evaluation"), "-o", str(folder / "rated.onnx")]) == 0
    return folder


def test_copy_has_the_graph_and_states_what_the_evaluation_measured(laboratory: Path) -> None:
    before, after = (onnx.load(laboratory / name) for name in ("model.onnx", "rated.onnx"))
    assert before.graph.SerializeToString() == after.graph.SerializeToString()
    assert [name for name, _ in verify(laboratory / "rated.onnx")] == ["file", "signature", "metadata", "golden sample"]
    rates = OnnxPredictor(laboratory / "rated.onnx").card.rates
    assert rates is not None
    table = parquet.read_table(laboratory / "evaluation" / "predictions.parquet").to_pandas()
    called = ~table["unassigned"] & table["predicted"].isin(["ctc", "ctc_neutrophil_cluster", "ctc_platelet_cluster"])
    for name, rate in {**rates.true_calls, **rates.false_calls}.items():
        rows = table["label"] == name
        assert (rate.called, rate.events) == (int(called[rows].sum()), int(rows.sum()))
    assert rates.simulated
    assert "## Sensitivity and false calls (simulated cells)" in (laboratory / "rated.README.md").read_text()
    assert json.loads((laboratory / "rated.card.json").read_text())["rates"] == json.loads(json.dumps(rates.to_dict()))


def test_same_evaluation_gives_the_same_bytes(laboratory: Path, tmp_path: Path) -> None:
    words = ["rates", str(laboratory / "model.onnx"), str(laboratory / "evaluation"), "--cells", "simulated"]
    assert main([*words, "-o", str(tmp_path / "again.onnx")]) == 0
    assert (tmp_path / "again.onnx").read_bytes() == (laboratory / "rated.onnx").read_bytes()


def test_scan_corrects_its_count_and_says_by_what(laboratory: Path, cartridge: Path, scan, tmp_path: Path) -> None:
    assert scan(cartridge, out=tmp_path / "rated", model=laboratory / "rated.onnx") == 0
    assert scan(cartridge, out=tmp_path / "plain", model=laboratory / "model.onnx") == 0
    rated, plain = (json.loads((tmp_path / n / "cartridge/counts.json").read_text()) for n in ("rated", "plain"))
    total, rates = rated["contains_ctc"], rated["correction"]["rates"]
    assert plain["contains_ctc"] == {**total, "corrected": "uncorrected"}
    assert plain["correction"] is None
    counted = rated["correction"]["events_counted"]
    events = parquet.read_table(tmp_path / "rated/cartridge/events.parquet", columns=["label", "counted"]).to_pandas()
    assert counted == {n: int((events["counted"] & (events["label"] == n)).sum()) for n in ("leukocyte", "debris")}
    false = tuple(FalseCalls(r["called"], r["events"], counted[n]) for n, r in rates["false_calls"].items())
    correction = Correction(rates["sensitivity"]["called"], rates["sensitivity"]["events"], false)
    assert total["corrected"]["interval"] == list(corrected_interval(total["count"], correction))
    assert "Corrected counts rest on rates that were measured on simulated cells." in rated["notes"]
    page = (tmp_path / "rated/cartridge/report.html").read_text()
    assert ", by rates of simulated cells" in page
    assert "Thresholds of the marker calls" in page
    assert "uncorrected" in (tmp_path / "plain/cartridge/report.html").read_text()


def test_summary_has_the_corrected_count_where_there_is_one(
    laboratory: Path, cartridge: Path, scan, tmp_path: Path, capsys
) -> None:
    options = ("--blood-volume-ml", "3.75")
    assert scan(cartridge, out=tmp_path / "rated", model=laboratory / "rated.onnx", options=options) == 0
    printed = capsys.readouterr().out
    assert scan(cartridge, out=tmp_path / "plain", model=laboratory / "model.onnx") == 0
    assert "corrected (95" not in capsys.readouterr().out
    rated, plain = (_summary(tmp_path / name) for name in ("rated", "plain"))
    corrected = json.loads((tmp_path / "rated/cartridge/counts.json").read_text())["contains_ctc"]["corrected"]
    for name, factor in (("ctc_corrected", 1), ("ctc_corrected_per_7_5_ml", 2)):
        expected = [factor * figure for figure in (corrected["value"], *corrected["interval"])]
        found = [float(rated[key]) for key in (name, f"{name}_low", f"{name}_high")]
        assert found == pytest.approx(expected, abs=0.0051)
    assert f"{rated['ctc_corrected']} ({rated['ctc_corrected_low']} to {rated['ctc_corrected_high']})" in printed
    assert {value for key, value in plain.items() if key.startswith("ctc_corrected")} == {""}


def _summary(out: Path) -> dict[str, str]:
    with (out / "summary.csv").open() as stream:
        (row,) = csv.DictReader(stream)
    return row


def test_rates_measured_with_other_levels_than_the_scan_leave_it_uncorrected(
    laboratory: Path, cartridge: Path, scan, tmp_path: Path
) -> None:
    model = onnx.load(laboratory / "rated.onnx")
    properties = {entry.key: entry.value for entry in model.metadata_props}
    card = json.loads(properties["ctcnet_card"])
    card["rates"]["levels"] = "model"
    onnx.helper.set_model_props(model, properties | {"ctcnet_card": json.dumps(card)})
    onnx.save_model(model, str(tmp_path / "other.onnx"))
    assert scan(cartridge, out=tmp_path / "out", model=tmp_path / "other.onnx") == 0
    counts = json.loads((tmp_path / "out/cartridge/counts.json").read_text())
    assert counts["contains_ctc"]["corrected"] == "uncorrected"
    assert "levels 'model'" in counts["correction"]["reason"]


def _refused(capsys, *words: Path | str) -> str:
    capsys.readouterr()
    assert main(["rates", *map(str, words)]) == 2
    message = capsys.readouterr().err
    assert message.count("error: ") == 1
    assert "Traceback" not in message
    return message


def test_evaluation_of_another_file_is_refused(laboratory: Path, tmp_path: Path, capsys) -> None:
    message = _refused(capsys, laboratory / "rated.onnx", laboratory / "evaluation", "-o", tmp_path / "new.onnx")
    assert "is of another model" in message
    assert list(tmp_path.iterdir()) == []


def test_outputs_that_cannot_be_are_refused(laboratory: Path, tmp_path: Path, capsys) -> None:
    model = Path(shutil.copy(laboratory / "model.onnx", tmp_path / "model.onnx"))
    before, evaluation = model.read_bytes(), laboratory / "evaluation"
    assert "exists" in _refused(capsys, model, evaluation, "-o", model)
    _refused(capsys, model, evaluation, "-o", model, "--overwrite")
    assert "is no .onnx file" in _refused(capsys, model, evaluation, "-o", tmp_path / "new.ckpt")
    assert "--cells simulated" in _refused(capsys, model, evaluation, "-o", tmp_path / "new.onnx", "--cells", "real")
    assert model.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx"]


def test_signature_holds_for_the_original_alone(laboratory: Path, tmp_path: Path, capsys, monkeypatch) -> None:
    pytest.importorskip("cryptography")
    monkeypatch.chdir(tmp_path)
    model = Path(shutil.copy(laboratory / "model.onnx", tmp_path / "model.onnx"))
    assert main(["sign", "--new-key", "key"]) == 0
    assert main(["sign", str(model), "--key", "key.pem"]) == 0
    capsys.readouterr()
    words = ["rates", str(model), str(laboratory / "evaluation"), "-o", "rated.onnx"]
    assert main(words) == 0
    assert "the signature of model.onnx does not hold for it" in capsys.readouterr().out
    assert not Path("rated.onnx.sig").exists()
    shutil.copy("model.onnx.sig", "rated.onnx.sig")
    assert main(["verify", "rated.onnx"]) == 1
