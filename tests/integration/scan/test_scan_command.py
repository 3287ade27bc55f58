"""A simulated cartridge from frames to results, compared with the truth."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from scipy.spatial import KDTree

pytestmark = pytest.mark.integration

FILES = (
    "events.parquet", "counts.json", "report.html", "events.geojson", "csi_events.csv", "quality.json", "levels.json",
    "run_log.json", "complete.json",
)  # fmt: skip


@pytest.fixture(scope="module")
def results(rule_model, cartridge_source, tmp_path_factory) -> Path:
    """Results of the simulated cartridge."""
    from ctcnet.cli import main

    out = tmp_path_factory.mktemp("out") / "results"
    words = ["scan", str(cartridge_source), "--model", str(rule_model), "-o", str(out), "--device", "cpu"]
    assert main([*words, "--threads", "2", "--blood-volume-ml", "7.5", "--csv"]) == 0
    return out


def columns(path: Path) -> dict[str, np.ndarray]:
    table = pq.read_table(path)
    return {name: table[name].to_numpy(zero_copy_only=False) for name in table.column_names}


def single_cells(truth: dict[str, np.ndarray]) -> np.ndarray:
    """Rows of cells with a nucleus: members of clusters, and events that are no cluster."""
    nucleated = ~np.isin(truth["kind"].astype(str), ("fragment", "aggregate", "fibre"))
    cluster_events = np.char.endswith(truth["kind"].astype(str), "_cluster")
    return np.flatnonzero(nucleated & ~cluster_events)


def test_every_result_is_there(results):
    folder = results / "cartridge"
    assert all((folder / name).is_file() for name in (*FILES, "events.csv"))
    assert not (folder / ".work").exists()
    assert (results / "summary.csv").is_file()


def test_every_cell_off_the_rim_is_found_once_within_1_um(results, cartridge_source):
    events, truth = columns(results / "cartridge/events.parquet"), columns(cartridge_source / "truth.parquet")
    cells = single_cells(truth)
    rim_um = 93 * 0.64 + 12
    width_um, height_um = 3 * 256 * 0.64, 2 * 224 * 0.64
    x, y = truth["x_um"][cells], truth["y_um"][cells]
    inside = (x > rim_um) & (y > rim_um) & (x < width_um - rim_um) & (y < height_um - rim_um)
    own = events["kind"] != "cluster"
    tree = KDTree(np.column_stack((events["x_um"][own], events["y_um"][own])))
    near = tree.query_ball_point(np.column_stack((x[inside], y[inside])), 1.0, return_length=True)
    assert inside.sum() > 20
    assert (near == 1).mean() >= 0.97
    assert (near <= 1).all()


def test_cells_across_borders_are_found_once_and_flagged(results, cartridge_source):
    events, truth = columns(results / "cartridge/events.parquet"), columns(cartridge_source / "truth.parquet")
    cells = np.intersect1d(single_cells(truth), np.flatnonzero(truth["touches_border"]))
    x, y = truth["x_um"][cells], truth["y_um"][cells]
    inside = (x > 75) & (y > 75) & (x < 3 * 256 * 0.64 - 75) & (y < 2 * 224 * 0.64 - 75)
    own = np.flatnonzero(events["kind"] != "cluster")
    tree = KDTree(np.column_stack((events["x_um"][own], events["y_um"][own])))
    near = tree.query_ball_point(np.column_stack((x[inside], y[inside])), 1.5)
    assert len(near) > 0
    assert all(len(found) == 1 for found in near)
    flags = [events["flags"][own[found[0]]] for found in near]
    assert np.mean(["at_border" in text for text in flags]) > 0.5


def test_positions_in_the_frame_and_in_the_cartridge_agree(results):
    events = columns(results / "cartridge/events.parquet")
    assert set(events["frame"]) <= set(range(1, 7))
    assert (events["x_px"] >= -0.5).all()
    assert (events["x_px"] < 256).all()
    row, place = (events["frame"] - 1) // 3, (events["frame"] - 1) % 3
    column = np.where(row == 1, 2 - place, place)  # the second row runs backwards
    np.testing.assert_allclose(events["x_um"], (column * 256 + events["x_px"]) * 0.64, atol=1e-3)
    np.testing.assert_allclose(events["y_um"], (row * 224 + events["y_px"]) * 0.64, atol=1e-3)


def test_bright_ctcs_are_counted_with_their_interval(results, cartridge_source):
    counts = json.loads((results / "cartridge/counts.json").read_text())
    found = counts["contains_ctc"]
    assert found["interval"][0] <= found["count"] <= found["interval"][1]
    assert found["per_7_5_ml"]["value"] > 0
    assert found["count"] >= 1
    events = columns(results / "cartridge/events.parquet")
    called = (
        events["counted"]
        & ~events["unassigned"]
        & np.isin(events["label"].astype(str), ("ctc", "ctc_neutrophil_cluster", "ctc_platelet_cluster"))
    )
    assert called.sum() == found["count"]


def test_a_cluster_is_one_event_with_its_members(results):
    events = columns(results / "cartridge/events.parquet")
    clusters = np.flatnonzero(events["kind"] == "cluster")
    for row in clusters:
        members = np.flatnonzero(events["parent_id"] == events["event_id"][row])
        assert len(members) == events["members"][row]
        assert events["tumour_nuclei"][members].sum() == events["tumour_nuclei"][row]
        if events["counted"][row]:
            assert not events["counted"][members].any()
    alone = (events["kind"] == "cell") & (events["parent_id"] < 0)
    called = np.isin(events["label"].astype(str), ("ctc", "ctc_neutrophil_cluster", "ctc_platelet_cluster"))
    assert (events["tumour_nuclei"][alone & ~called] == 0).all()


def test_csv_has_the_same_rows(results):
    with (results / "cartridge/events.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    table = pq.read_table(results / "cartridge/events.parquet")
    assert len(rows) == len(table)
    assert list(rows[0]) == table.column_names


def test_summary_says_what_was_done(results):
    with (results / "summary.csv").open() as stream:
        (row,) = csv.DictReader(stream)
    assert (row["status"], row["frames"], row["frames_missing"]) == ("done", "6", "0")
    assert float(row["ctc_per_7_5_ml"]) == float(row["ctc_events"])  # 7.5 mL of blood were given
    assert float(row["ctc_per_7_5_ml_low"]) == float(row["ctc_interval_low"])
    assert float(row["ctc_per_7_5_ml_high"]) == float(row["ctc_interval_high"])


def test_results_name_the_model_and_say_research_use(results):
    plan = json.loads((results / "cartridge/quality.json").read_text())["plan"]
    assert plan["model_name"] == "stain-rule"
    assert len(plan["model_sha256"]) == 64
    page = (results / "cartridge/report.html").read_text()
    assert "research use only" in page.lower()
    assert "simulated" in page.lower()


def test_levels_of_one_cartridge_serve_another(scan, cartridge_source, results, tmp_path):
    levels = results / "cartridge/levels.json"
    out = tmp_path / "out"
    assert scan(cartridge_source, out=out, options=("--levels", str(levels))) == 0
    assert "given with --levels" in (out / "cartridge/report.html").read_text()
    found = json.loads((out / "cartridge/levels.json").read_text())
    assert found["source"] == "given"
    given = json.loads(levels.read_text())["levels"]
    assert found["levels"]["CK"]["scale"] == given["CK"]["scale"]


def test_the_number_of_threads_changes_nothing(rule_model, cartridge_source, results, tmp_path):
    from ctcnet.cli import main

    words = ["scan", str(cartridge_source), "--model", str(rule_model), "-o", str(tmp_path / "out"), "--device", "cpu"]
    assert main([*words, "--threads", "1", "--blood-volume-ml", "7.5", "--csv"]) == 0
    for name in ("events.parquet", "counts.json", "report.html"):
        assert (tmp_path / "out/cartridge" / name).read_bytes() == (results / "cartridge" / name).read_bytes()
