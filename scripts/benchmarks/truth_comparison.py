"""Events of a scan beside the truth of the simulated cartridge that they were found in."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from scipy.spatial import KDTree

MATCH_UM = 4.0
"""A cell found within this distance of a true one's nucleus is that cell; each stands for one at most."""
SAME_UM = 2.0
"""Two cells found this near to one true place would be one event counted twice."""
EDGE_UM = 12.0
"""Events nearer than this to the cartridge's outer edge, or to its rim, are not scored: they are not seen whole."""
CTC_CLASSES = ("ctc", "ctc_neutrophil_cluster", "ctc_platelet_cluster")
FORMS_WITHOUT_NUCLEUS = ("fragment", "aggregate", "fibre", "platelet_clump")

Columns = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class CartridgeComparison:
    """A cartridge's truth and events, matched.

    Attributes:
        cells: true nucleated cells: single ones and the members of events of several; columns of truth.parquet.
        events: true events, each once; columns of truth.parquet.
        found: rows of events.parquet.
        found_cells: rows of `found` with a nucleus, (K,) int64.
        match: (number of cells,) position in `found_cells` of the cell found for each true one, or -1.
        scored: (number of cells,) whether a true cell lies in the scored area.
        found_scored: (K,) whether a cell found does.
        events_scored: (number of events,) bool, likewise.
        shared: (number of cells,) whether a true cell's outline crosses a border of frames or reaches into an overlap.
    """

    cells: Columns
    events: Columns
    found: Columns
    found_cells: np.ndarray
    match: np.ndarray
    scored: np.ndarray
    found_scored: np.ndarray
    events_scored: np.ndarray
    shared: np.ndarray

    @property
    def error_um(self) -> np.ndarray:
        """Distance of each scored true cell that was found from where it was found."""
        rows = self.scored & (self.match >= 0)
        at = self.found_cells[self.match[rows]]
        across = self.found["x_um"][at] - self.cells["x_um"][rows]
        return np.hypot(across, self.found["y_um"][at] - self.cells["y_um"][rows])

    @property
    def false_cells(self) -> np.ndarray:
        """Rows of `found`: scored cells that stand for no true one."""
        alone = np.ones(len(self.found_cells), dtype=bool)
        alone[self.match[self.match >= 0]] = False
        return self.found_cells[alone & self.found_scored]


def compare_cartridge(cartridge: Path, result: Path) -> CartridgeComparison:
    """Match the events of a result folder with the truth in a simulated cartridge's folder."""
    truth = _columns(cartridge / "truth.parquet")
    found = _columns(result / "events.parquet")
    simulation = json.loads((cartridge / "simulation.json").read_text(encoding="utf-8"))
    single = (truth["role"] == "event") & np.isnan(truth["cluster_id"].astype(float))
    cells = _rows(truth, (single | (truth["role"] == "member")) & (truth["members"] > 0))
    events = _rows(truth, truth["role"] == "event")
    found_cells = np.flatnonzero(found["kind"] == "cell")
    match = match_places(places(cells), places(found)[found_cells], MATCH_UM)
    inside = [_scored(columns, simulation) for columns in (cells, found, events)]
    shared = _shared(cells, simulation["grid"])
    return CartridgeComparison(
        cells, events, found, found_cells, match, inside[0], inside[1][found_cells], inside[2], shared
    )


def places(columns: Columns) -> np.ndarray:
    """(N, 2) x and y in um."""
    return np.column_stack((columns["x_um"], columns["y_um"]))


def match_places(true_um: np.ndarray, found_um: np.ndarray, reach_um: float) -> np.ndarray:
    """One-to-one match, nearest pairs first; (N,) position among those found of each true place, or -1."""
    match = np.full(len(true_um), -1)
    if not len(true_um) or not len(found_um):
        return match
    pairs = KDTree(true_um).sparse_distance_matrix(KDTree(found_um), reach_um, output_type="ndarray")
    taken = np.zeros(len(found_um), dtype=bool)
    for pair in pairs[np.lexsort((pairs["j"], pairs["i"], pairs["v"]))]:
        if match[pair["i"]] < 0 and not taken[pair["j"]]:
            match[pair["i"]], taken[pair["j"]] = pair["j"], True
    return match


def near_count(true_um: np.ndarray, found_um: np.ndarray, reach_um: float | np.ndarray) -> np.ndarray:
    """(N,) number of places found within the reach of each true one."""
    if not len(true_um) or not len(found_um):
        return np.zeros(len(true_um), dtype=np.int64)
    return KDTree(found_um).query_ball_point(true_um, reach_um, return_length=True)


def _columns(path: Path) -> dict[str, np.ndarray]:
    table = pq.read_table(path)
    return {name: table[name].to_numpy(zero_copy_only=False) for name in table.column_names}


def _rows(columns: Columns, rows: np.ndarray) -> dict[str, np.ndarray]:
    return {name: values[rows] for name, values in columns.items()}


def _scored(columns: Columns, simulation: Mapping) -> np.ndarray:
    grid, least = simulation["grid"], simulation["rim_um"] + EDGE_UM
    inside = np.ones(len(columns["x_um"]), dtype=bool)
    for axis, number, size in (("x", "columns", "frame_width_px"), ("y", "rows", "frame_height_px")):
        overlap = grid[f"overlap_{axis}_px"]
        whole_um = ((grid[size] - overlap) * grid[number] + overlap) * grid["pixel_size_um"]
        inside &= (columns[f"{axis}_um"] > least) & (columns[f"{axis}_um"] < whole_um - least)
    return inside


def _shared(columns: Columns, grid: Mapping) -> np.ndarray:
    shared = np.zeros(len(columns["x_um"]), dtype=bool)
    for axis, number, size in (("x", "columns", "frame_width_px"), ("y", "rows", "frame_height_px")):
        overlap = grid[f"overlap_{axis}_px"]
        reach_px = columns["diameter_um"] / 2 / grid["pixel_size_um"]
        place_px = columns[f"{axis}_um"] / grid["pixel_size_um"]
        for index in range(1, grid[number]):
            first = index * (grid[size] - overlap) - 0.5
            shared |= (place_px + reach_px > first) & (place_px - reach_px < first + overlap)
    return shared
