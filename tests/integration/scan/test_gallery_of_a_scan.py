"""The gallery of a model that sees all channels in another order: crops from the journal, also when a scan goes on."""

from __future__ import annotations

from collections.abc import Callable
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ctcnet.errors import OutputError
from ctcnet.scan.pipeline import cartridge_results
from ctcnet.scan.pipeline.gallery_crops import cut_gallery, gallery_crops
from ctcnet.scan.pipeline.kept_crops import kept_crops
from ctcnet.scan.pipeline.work_folder import WorkFolder
from ctcnet.simulate.cartridge_writer import write_simulated_cartridge

pytestmark = pytest.mark.integration

PANEL = """name: reordered
bit_depth: 12
pixel_size_um: 0.64
channels:
  - {marker: CD45, role: leukocyte, fluorophore: APC, emission_nm: 660}
  - {marker: DAPI, role: nucleus, fluorophore: DAPI, emission_nm: 461}
  - {marker: CK, role: epithelial, fluorophore: PE, emission_nm: 578}
"""


@pytest.fixture(scope="module")
def reordered(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A cartridge of two units of work, and the panel that it was stained with."""
    folder = tmp_path_factory.mktemp("reordered")
    panel = folder / "reordered.yaml"
    panel.write_text(PANEL)
    frames: dict[str, Any] = {"frames": 6, "nuclei_per_frame": 14, "ctc": 5, "frame_size_px": (256, 224)}
    return write_simulated_cartridge(folder / "cartridge", layout="celltracks", panel=panel, seed=6, **frames), panel


def test_crops_of_the_journal_show_what_the_frames_show(
    scan: Callable[..., int], reordered: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    crops: list[tuple[np.ndarray, np.ndarray]] = []

    def compared(finish: Any, columns: Any, written: Any) -> np.ndarray:
        shown = gallery_crops(finish, columns, written)
        rows = np.flatnonzero(written.kept)[columns["event_id"] - 1]
        _, found = kept_crops(finish.work, written.sizes, rows, shown.shape[1:])
        assert found.all()
        crops.append((shown, cut_gallery(finish, columns, written.records)))
        return shown

    monkeypatch.setattr(cartridge_results, "gallery_crops", compared)
    cartridge, panel = reordered
    assert scan(cartridge, out=tmp_path / "out", options=("--panel", str(panel))) == 0
    shown, again = (values.astype(np.float64) for values in crops[0])
    assert len(shown) > 30
    # Recorded shifts are rounded, and beyond the cartridge the network saw its own background: a count or two.
    far = {order: np.abs(shown - again[:, order]).mean(axis=(2, 3)).max() for order in permutations(range(3))}
    assert far.pop((0, 1, 2)) < 2
    assert min(far.values()) > 10


def test_a_scan_that_goes_on_draws_the_same_gallery(
    scan: Callable[..., int], reordered: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cartridge, panel = reordered
    whole, halted = tmp_path / "whole", tmp_path / "halted"
    assert scan(cartridge, out=whole, options=("--panel", str(panel))) == 0
    write_unit = WorkFolder.write_unit

    def write_first(work: WorkFolder, unit: int, *content: Any) -> None:
        if unit:
            raise OutputError("is full")
        write_unit(work, unit, *content)

    with monkeypatch.context() as patch:
        patch.setattr(WorkFolder, "write_unit", write_first)
        assert scan(cartridge, out=halted, options=("--panel", str(panel))) == 1
    assert (halted / "cartridge/.work/unit_00000.arrow").is_file()
    assert scan(cartridge, out=halted, options=("--panel", str(panel), "--resume")) == 0
    results = [path.relative_to(whole) for path in whole.rglob("*") if path.is_file() and path.name != "run_log.json"]
    assert len(results) > 8
    for result in results:
        assert (halted / result).read_bytes() == (whole / result).read_bytes(), result
