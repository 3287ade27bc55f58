import csv
import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from sklearn.metrics import f1_score
from stain_model import StainModel, write_crops

from ctcnet.cli import evaluate as verb
from ctcnet.cli.main import main

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def manifest(tmp_path_factory) -> Path:
    return write_crops(tmp_path_factory.mktemp("crops"))


@pytest.fixture
def run(tmp_path, monkeypatch, manifest):
    model = tmp_path / "model.onnx"
    model.write_bytes(b"stands for a model")

    def run_verb(*options: str, predictor: StainModel | None = None, source: Path = manifest) -> tuple[int, Path]:
        answering = predictor or StainModel(("patient-0",))
        monkeypatch.setattr(verb, "load_predictor", lambda path, device, panel: answering)
        out = tmp_path / "out"
        code = main(
            [
                "evaluate",
                str(model),
                str(source),
                "-o",
                str(out),
                "--bootstrap",
                "50",
                "--pixel-size-um",
                "0.64",
                *options,
            ]
        )
        return code, out

    return run_verb


def _metrics(out: Path) -> dict:
    return json.loads((out / "metrics.json").read_text())


def test_evaluation_writes_figures_predictions_and_report(run, capsys):
    code, out = run()
    assert code == 0
    assert sorted(file.name for file in out.iterdir()) == ["metrics.json", "predictions.parquet", "report.html"]
    metrics, table = _metrics(out), pq.read_table(out / "predictions.parquet")
    assert metrics["seen_groups_left_out"] == 1
    assert "patient-0" not in set(table["group"].to_pylist())
    truth, called = table["label"].to_pylist(), table["predicted"].to_pylist()
    assert metrics["macro_f1"] == pytest.approx(f1_score(truth, called, average="macro"))
    assert metrics["macro_f1"] > 0.7
    p = np.column_stack([table[f"p_{name}"].to_numpy() for name in metrics["classes"]])
    np.testing.assert_allclose(p.sum(axis=1), 1, atol=1e-5)
    assert metrics["levels"] == {"cartridge": metrics["crops"]}
    assert set(metrics["per_batch"]) == {"site-A", "site-B"}
    assert not metrics["simulated"]
    page = (out / "report.html").read_text()
    assert "For research use only" in page
    assert "http://" not in page.replace("http://www.w3.org", "").replace("http://purl.org", "").replace(
        "http://creativecommons.org", ""
    )
    assert 'src="data:image/png' in page
    assert "Simulated cells" not in page
    shown = capsys.readouterr().out
    assert "Macro-F1" in shown
    assert "report.html" in shown


def test_same_command_gives_the_same_bytes(run):
    first = {file.name: file.read_bytes() for file in run()[1].iterdir()}
    second = {file.name: file.read_bytes() for file in run("--overwrite")[1].iterdir()}
    assert first == second


def test_seen_groups_are_kept_only_on_request_and_flagged(run, capsys):
    _, out = run("--include-seen")
    metrics = _metrics(out)
    assert metrics["includes_seen_groups"]
    assert metrics["crops"] == 120
    assert "Seen groups included" in (out / "report.html").read_text()
    assert "CAUTION" in capsys.readouterr().out


def test_nothing_left_is_an_error_and_writes_nothing(run, capsys):
    code, out = run(predictor=StainModel(tuple(f"patient-{i}" for i in range(6))))
    assert code == 2
    assert not out.exists()
    assert "--include-seen" in capsys.readouterr().err


def test_simulated_cells_are_called_so(run, tmp_path):
    folder = tmp_path / "simulated"
    folder.mkdir()
    source = write_crops(folder, count=40)
    (folder / "simulation.json").write_text("{}")
    _, out = run(source=source)
    page = (out / "report.html").read_text()
    assert _metrics(out)["simulated"]
    assert _metrics(out)["data"]["simulated"]
    assert 'class="banner">Simulated cells' in page
    assert page.count("simulated cells") >= 4


def test_prior_is_restated_and_recorded(run):
    _, out = run("--prior", "contains_ctc=1e-4")
    metrics = _metrics(out)
    assert metrics["prior"]["restated"]
    inside = sum(metrics["prior"]["used"][n] for n in ("ctc", "ctc_neutrophil_cluster", "ctc_platelet_cluster"))
    assert inside == pytest.approx(1e-4)
    before = _metrics(run("--overwrite")[1])
    assert metrics["per_class"]["ctc"]["recall"] < before["per_class"]["ctc"]["recall"]
    assert metrics["calibration"]["expected_positives"] < before["calibration"]["expected_positives"]


def test_levels_used_are_recorded(run):
    assert set(_metrics(run("--levels", "model")[1])["levels"]) == {"model"}
    assert set(_metrics(run("--levels", "per_crop", "--overwrite")[1])["levels"]) == {"per_crop"}


def test_split_is_chosen(run, capsys):
    _, out = run("--split", "test")
    assert _metrics(out)["data"]["split"] == "test"
    code, _ = run("--split", "val", "--overwrite")
    assert code == 2
    assert "no crop is of the split 'val'" in capsys.readouterr().err


def test_groups_that_are_file_names_are_not_called_unseen(run, tmp_path, manifest, capsys):
    unknown = "whether the model saw these cells or patients is not known"
    folders = tmp_path / "folders"
    for row in csv.DictReader(manifest.read_text().splitlines()):
        (folders / row["label"]).mkdir(parents=True, exist_ok=True)
        shutil.copy(manifest.parent / row["path"], folders / row["label"])
    code, out = run(source=folders)
    assert code == 0
    assert unknown in capsys.readouterr().out
    assert _metrics(out)["data"]["groups_are_file_names"]
    assert unknown in (out / "report.html").read_text()
    code, out = run("--overwrite")
    assert unknown not in capsys.readouterr().out
    assert not _metrics(out)["data"]["groups_are_file_names"]
    assert "no group that the model was trained on" in (out / "report.html").read_text()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--prior", "ctc=0.5"], "--prior"),
        (["--labels", "jurkat_phases"], "not the model's"),
        (["--panel", "cellsearch4"], "channel"),
        (["--panel", "nonesuch"], "nonesuch"),
        (["--bootstrap", "-1"], "--bootstrap"),
        (["--bootstrap", "1"], "--bootstrap"),
        (["--leave-out", "batch"], "training settings"),
    ],
)
def test_bad_options_are_one_clear_error(run, capsys, options, message):
    code, out = run(*options)
    assert code == 2
    assert not out.exists()
    assert message in capsys.readouterr().err


def test_label_outside_the_schema_is_an_error(run, tmp_path, manifest, capsys):
    text = manifest.read_text().replace(",debris,", ",dust,")
    source = manifest.with_name("other.csv")
    source.write_text(text)
    code, out = run(source=source)
    assert code == 2
    assert not out.exists()
    assert "dust" in capsys.readouterr().err


def test_output_that_exists_is_kept(run, capsys):
    _, out = run()
    before = (out / "metrics.json").read_bytes()
    code, _ = run()
    assert code == 2
    assert "--overwrite" in capsys.readouterr().err
    assert (out / "metrics.json").read_bytes() == before


def test_missing_extra_names_the_command(run, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "jinja2", None)
    code, _ = run()
    assert code == 2
    assert 'pip install "ctcnet[train]"' in capsys.readouterr().err
