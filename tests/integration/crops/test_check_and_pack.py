"""`ctcnet check` and `ctcnet pack` from the command line, and crops without torch."""

from __future__ import annotations

import json
import subprocess
import sys
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import tifffile

from ctcnet.cli.main import main
from ctcnet.crops import read_crops

pytestmark = pytest.mark.integration

_PANEL = """
name: two
bit_depth: 12
channels:
  - {marker: DAPI, role: nucleus}
  - {marker: CK, role: epithelial}
"""


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    (tmp_path / "panel.yaml").write_text(_PANEL)
    lines = ["path,label,group,pixel_size_um"]
    for number in range(8):
        image = np.random.default_rng(number).integers(0, 4000, (2, 20, 20)).astype(np.uint16)
        tifffile.imwrite(tmp_path / f"{number}.tif", image, metadata={"axes": "CYX"}, photometric="minisblack")
        lines.append(f"{number}.tif,{'ab'[number % 2]},g{number % 4},0.5")
    path = tmp_path / "manifest.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def _panel(manifest: Path) -> list[str]:
    return ["--panel", str(manifest.parent / "panel.yaml")]


def test_check_of_good_crops(manifest: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(manifest), *_panel(manifest)]) == 0
    assert "8 crops, 0 error(s), 0 warning(s): ready for training" in capsys.readouterr().out


def test_check_of_crops_without_labels_says_nothing_of_training(manifest: Path, capsys: pytest.CaptureFixture) -> None:
    arguments = ["check", str(manifest), *_panel(manifest), "--unlabelled"]
    assert main(arguments) == 0
    assert "8 crops, 0 error(s), 0 warning(s): can be classified" in " ".join(capsys.readouterr().out.split())
    (manifest.parent / "3.tif").write_bytes(b"")
    assert main(arguments) == 1
    said = " ".join(capsys.readouterr().out.split())  # a long path wraps the line elsewhere
    assert "8 crops, 1 error(s), 0 warning(s): not fit to be classified" in said


def test_check_of_bad_crops_as_table_and_json(manifest: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (manifest.parent / "3.tif").write_bytes(b"")
    report = manifest.parent / "report.json"
    arguments = ["check", str(manifest), *_panel(manifest)]
    assert main([*arguments, "--json", str(report)]) == 1
    out = capsys.readouterr().out
    assert "unreadable_image" in out
    assert "3.tif" in out
    assert json.loads(report.read_text())["findings"][0]["code"] == "unreadable_image"
    assert main([*arguments, "--json", str(report)]) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert main([*arguments, "--json", "-"]) == 1
    assert json.loads(capsys.readouterr().out)["errors"] == 1


def test_check_replaces_nothing_that_it_reads(manifest: Path, capsys: pytest.CaptureFixture[str]) -> None:
    panel = _panel(manifest)[1]
    reasons = {"manifest.csv": "is also an input", "3.tif": "is an image", Path(panel).name: "is also an input"}
    for source, (name, reason) in product((manifest, manifest.parent), reasons.items()):
        before = (manifest.parent / name).read_bytes()
        arguments = ["check", str(source), "--panel", panel, "--json", str(manifest.parent / name)]
        assert main([*arguments, "--overwrite"]) == 2
        assert reason in capsys.readouterr().err
        assert (manifest.parent / name).read_bytes() == before


def test_check_of_a_frame_goes_by_what_the_model_sees(manifest: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image = np.random.default_rng(9).integers(0, 4000, (2, 300, 280)).astype(np.uint16)
    tifffile.imwrite(manifest.parent / "3.tif", image, metadata={"axes": "CYX"}, photometric="minisblack")
    arguments = ["check", str(manifest), *_panel(manifest)]
    assert main([*arguments, "--json", "-"]) == 1
    (finding,) = json.loads(capsys.readouterr().out)["findings"]
    assert (finding["code"], finding["where"]) == ("frame", str(manifest.parent / "3.tif"))
    assert main([*arguments, "--crop-size-px", "80"]) == 0
    assert main([*arguments, "--model-pixel-size-um", "0.64"]) == 0
    assert main([*arguments, "--crop-size-px", "0"]) == 2


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["check", "gone.csv", "--panel", "ctc5"], "no such file"),
        (["check", "{manifest}"], "--panel"),
        (["check", "{manifest}", "--panel", "ctc55"], "neither a YAML file nor a name"),
        (["pack", "{manifest}", "-o", "{manifest}", "--panel", "{panel}"], "exists already"),
        (["pack", "{manifest}", "-o", "{manifest}/s", "--panel", "{panel}"], "cannot be written"),
        (["pack", "{manifest}", "-o", "{folder}/s", "--panel", "ctc5"], "too few channels"),
        (["pack", "{manifest}", "-o", "{folder}/s", "--panel", "{panel}", "--crop-size-px", "0"], "impossible"),
        (
            ["pack", "{manifest}", "-o", "{folder}/s", "--panel", "{panel}", "--labels", "five_class"],
            "not in the schema",
        ),
    ],
)
def test_bad_input_is_one_error_with_exit_code_2(
    manifest: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], problem: str
) -> None:
    places = {"manifest": str(manifest), "panel": str(manifest.parent / "panel.yaml"), "folder": str(manifest.parent)}
    before = sorted(manifest.parent.iterdir())
    assert main([argument.format(**places) for argument in arguments]) == 2
    error = capsys.readouterr().err
    assert problem in error
    assert "Traceback" not in error
    assert sorted(manifest.parent.iterdir()) == before


def test_pack_and_check_the_store(manifest: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = manifest.parent / "store"
    arguments = ["pack", str(manifest), "-o", str(store), *_panel(manifest), "--crop-size-px", "16"]
    assert main(arguments) == 0
    assert "8 crops, 2 classes, 16 px" in capsys.readouterr().out
    files, stored = read_crops(manifest, read_crops(store, None).panel), read_crops(store, None)
    np.testing.assert_array_equal(stored.read(range(8), 0.5, 16), files.read(range(8), 0.5, 16))
    assert stored.sha256 == files.sha256
    assert main(["check", str(store)]) == 0
    assert main(arguments) == 2
    assert main([*arguments, "--overwrite", "--model-pixel-size-um", "0.8"]) == 0
    assert read_crops(store, None).pixel_sizes()[0] == 0.8


def test_crops_need_no_torch() -> None:
    code = (
        "import sys, ctcnet.crops, ctcnet.crops.checks, ctcnet.crops.check_table, ctcnet.crops.folds;"
        "print([m for m in ('torch', 'lightning', 'torchvision', 'albumentations', 'sklearn', 'scipy', 'pandas')"
        " if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


_SHARED = Path(__file__).parents[4] / "shared" / "data"


@pytest.mark.skipif(not _SHARED.is_dir(), reason="the shared real images are not there")
def test_real_cells_and_display_merges() -> None:
    from ctcnet.panel import Channel, Panel, load_panel

    channels = (Channel("brightfield", "transmitted"), Channel("PI", "nucleus"), Channel("darkfield", "scatter"))
    cells = read_crops(
        _SHARED / "jurkat_phases" / "manifest.csv", Panel("cells", channels, 16), assumed_pixel_size_um=0.5
    )
    assert len(cells) == 2395
    assert dict(zip(cells.schema.classes, np.bincount(cells.labels).tolist(), strict=True))["telophase"] == 20
    assert cells.read([0, 2394], 0.5, 40).shape == (2, 3, 40, 40)
    merges = read_crops(_SHARED / "ctc_crops", load_panel("rgb_merge"), assumed_pixel_size_um=0.055)
    assert len(merges) == 40
    assert merges.read(range(0, 40, 8), 0.5, 48).shape == (5, 3, 48, 48)
