"""A model on real CTCs that it was not trained on: pasted into a real slide, and as lone display merges.

    python scripts/benchmarks/real_ctcs.py --data ../shared/data --model ctcnet-s [--out JSON]

`spiked_slide`: positions of the blood slide with CTC crops pasted in. All pixels are real, the composition is not. A
CTC is hit where an event within 7 um is called a class that contains a CTC. `ctc_crops`: display merges, each
normalised by itself. Nothing is fitted, calibrated or thresholded here. For research use only.
"""

from __future__ import annotations

import argparse
import csv
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from benchmark_output import hardware, print_table, save_result
from real_slide import PIXEL_SIZE_UM
from scipy.spatial import KDTree
from verb import columns, run

HIT_UM = 7.0
CROP_PIXEL_SIZE_UM = 0.055
"""Of the lone crops, about; not recorded in the files. The middle of the range stated beside them."""
CONTAINS_CTC = ("ctc", "ctc_neutrophil_cluster", "ctc_platelet_cluster")


def spiked_rows(slide: Path, events: dict[str, np.ndarray]) -> list[dict[str, str]]:
    """Hits by kind of pasted cell, and what is called a CTC elsewhere."""
    with (slide / "truth.csv").open(newline="", encoding="utf-8") as stream:
        truth = list(csv.DictReader(stream))
    contains = np.isin(events["label"], CONTAINS_CTC)
    counted = events["counted"].astype(bool)
    called = contains & counted & ~events["unassigned"].astype(bool)
    hits = {name: np.zeros(len(truth), bool) for name in ("called", "called or to review")}
    near_truth = np.zeros(len(called), bool)
    for frame in sorted({int(row["tile"]) for row in truth}):
        rows = [index for index, row in enumerate(truth) if int(row["tile"]) == frame]
        places = np.array([[float(truth[i]["x_px"]), float(truth[i]["y_px"])] for i in rows])
        own = np.flatnonzero(events["frame"] == frame)
        xy = np.column_stack((events["x_px"], events["y_px"]))[own]
        near_truth[own] = KDTree(places).query(xy)[0] * PIXEL_SIZE_UM <= HIT_UM
        for name, chosen in (("called", called), ("called or to review", counted & (called | _review(events)))):
            if chosen[own].any():
                distance = KDTree(xy[chosen[own]]).query(places)[0]
                hits[name][rows] = distance * PIXEL_SIZE_UM <= HIT_UM
    false = called & ~near_truth
    result = []
    for kind, wanted in (("easy", "36 of 36"), ("hard", ">= 31 of 36")):
        own = np.array([row["kind"] == kind for row in truth])
        found = {name: f"{int((hit & own).sum())} of {int(own.sum())}" for name, hit in hits.items()}
        result.append({"pasted CTCs": kind, **found, "wanted": wanted})
    nothing = dict.fromkeys(hits, "")
    result.append({"pasted CTCs": "false calls", **nothing, "called": str(int(false.sum())), "wanted": "<= 2"})
    return result


def _review(events: dict[str, np.ndarray]) -> np.ndarray:
    return events["review"].astype(bool) if events["review"].dtype == bool else events["review"] != ""


def crop_rows(predictions: dict[str, np.ndarray]) -> list[dict[str, str]]:
    """Calls of the lone crops by the folder they lie in."""
    kinds = np.array([Path(str(path)).parent.name for path in predictions["path"]])
    contains = np.isin(predictions["label"], CONTAINS_CTC)
    sure = contains & ~predictions["unassigned"].astype(bool)
    rows = []
    for kind in ("upCTC", "midCTC", "mixCTC", "noCTC"):
        own = kinds == kind
        rows.append(
            {
                "crops": kind,
                "number": str(int(own.sum())),
                "called a CTC": str(int((sure & own).sum())),
                "by label alone": str(int((contains & own).sum())),
                "wanted": "0" if kind == "noCTC" else "all",
            }
        )
    return rows


def main() -> None:
    """Read the arguments, scan, classify, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--model", default="ctcnet-s")
    parser.add_argument("--work", type=Path, help="folder for the results; they are kept")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    slide, crops = arguments.data / "spiked_slide", arguments.data / "ctc_crops"
    if not (slide / "truth.csv").is_file() or not crops.is_dir():
        print(f"skipped: no spiked_slide and ctc_crops at {arguments.data}")
        return
    tables: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as temporary:
        work = arguments.work or Path(temporary)
        work.mkdir(parents=True, exist_ok=True)
        run("scan", slide, "--model", arguments.model, "-o", work / "scan", "--device", "cpu", "--overwrite")
        events = columns(work / "scan" / slide.name / "events.parquet")
        tables["Real CTCs pasted into the real slide"] = spiked_rows(slide, events)
        options = ("--panel", "rgb_merge", "--pixel-size-um", CROP_PIXEL_SIZE_UM, "--overwrite")
        run("classify", arguments.model, crops, "-o", work / "crops.parquet", *options)
        tables["Lone display merges"] = crop_rows(columns(work / "crops.parquet"))
    for title, rows in tables.items():
        print_table(title, rows)
    save_result(arguments.out, {"hardware": hardware(), "model": arguments.model, "tables": tables})


if __name__ == "__main__":
    main()
