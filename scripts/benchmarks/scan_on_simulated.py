"""`ctcnet scan` on simulated cartridges of every layout, against the truth that they were drawn from.

    python scripts/benchmarks/scan_on_simulated.py --work FOLDER --model MODEL [--out JSON]
    python scripts/benchmarks/scan_on_simulated.py --work FOLDER --model MODEL --layouts celltracks --seeds 20

The first form: recall, precision and positions of cells by class and local density, clusters, events at the borders of
frames and in overlaps, CTCs, at three densities for each layout. The second: mean difference between the number found
and the true number over many small cartridges. Simulated figures, no clinical evidence. For research use only.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from benchmark_output import hardware, print_table, save_result
from truth_comparison import (
    CTC_CLASSES,
    FORMS_WITHOUT_NUCLEUS,
    MATCH_UM,
    SAME_UM,
    CartridgeComparison,
    compare_cartridge,
    near_count,
    places,
)
from verb import run

from ctcnet.cli import main as ctcnet
from ctcnet.simulate.layouts.registry import find_layout

LAYOUTS = ("celltracks", "bzscanner", "axioscan", "ome-tiff", "ome-zarr")
DENSITIES_PER_MM2 = (300, 1000, 1800)
FRAMES, CTC, CLUSTERS_NEUTROPHIL, CLUSTERS_PLATELET = 6, 24, 12, 6
BIAS_FRAMES, BIAS_FRAME_PX, BIAS_NUCLEI, BIAS_CTC, BIAS_CLUSTERS = 4, (420, 330), 60, 4, 2
DENSITY_BINS = (0, 500, 1000, 1500, 2500, np.inf)
BODY_BINS_UM = (4, 5, 6, 8, np.inf)

SIMULATED = "simulated cartridges"


def simulate(folder: Path, layout: str, seed: int, frame_px: tuple[int, int], numbers: dict[str, int]) -> None:
    """Simulate a cartridge as the command does, where the folder does not hold one already."""
    if (folder / "truth.parquet").is_file():
        return
    size = f"{frame_px[0]}x{frame_px[1]}"
    options = [text for name, value in numbers.items() for text in (f"--{name}", str(value))]
    command = ["simulate", "cartridge", folder, "--layout", layout, "--seed", seed, "--frame-size-px", size, *options]
    if ctcnet([str(word) for word in [*command, "--overwrite"]]):
        raise SystemExit(f"{folder} could not be simulated")


def scan(cartridges: Sequence[Path], layout: str, model: Path, out: Path, threads: int) -> None:
    """Scan cartridges with the real command; OME files do not say what was stained."""
    panel = ["--panel", find_layout(layout).panel] if layout.startswith("ome") else []
    options = [*panel, "--model", model, "-o", out, "--threads", threads, "--device", "cpu", "--overwrite"]
    run("scan", *cartridges, *options)


def percent(part: float, whole: float) -> str:
    """A share with what it is a share of."""
    return f"{100 * part / whole:.1f} ({whole:.0f})" if whole else "- (0)"


def cell_figures(name: dict[str, Any], pairs: Sequence[CartridgeComparison]) -> dict[str, Any]:
    """Recall, precision, positions, borders and doubles over cartridges."""
    found = sum(int((pair.scored & (pair.match >= 0)).sum()) for pair in pairs)
    true = sum(int(pair.scored.sum()) for pair in pairs)
    false = sum(len(pair.false_cells) for pair in pairs)
    errors = np.concatenate([pair.error_um for pair in pairs])
    once, twice, shared = 0, 0, 0
    for pair in pairs:
        cells = places(pair.found)[pair.found_cells]
        number = near_count(places(pair.cells), cells, SAME_UM)
        rows = pair.scored & pair.shared
        shared += int(rows.sum())
        once += int((rows & (number == 1)).sum())
        twice += int((pair.scored & (number > 1)).sum())
    return name | {
        "recall % (true cells)": percent(found, true),
        "precision % (found)": percent(found, found + false),
        "median um": f"{np.median(errors):.2f}",
        "95 % um": f"{np.quantile(errors, 0.95):.2f}",
        "within 1 um %": f"{100 * (errors <= 1).mean():.1f}",
        f"at borders: one within {SAME_UM:g} um % (cells)": percent(once, shared),
        "found twice": twice,
    }


def recall_by(pairs: Sequence[CartridgeComparison], what: str) -> list[dict[str, Any]]:
    """Recall of cells by what they are, or by local density with the precision there."""
    rows = []
    kinds = np.concatenate([_kinds(pair)[pair.scored] for pair in pairs])
    hit = np.concatenate([(pair.match >= 0)[pair.scored] for pair in pairs])
    density = np.concatenate([pair.cells["local_density_per_mm2"][pair.scored] for pair in pairs])
    if what == "kind":
        for kind in sorted(set(kinds)):
            chosen = kinds == kind
            rows.append({"true cell": kind, "recall % (cells)": percent(hit[chosen].sum(), chosen.sum())})
        return rows
    false = np.concatenate([_density_of(pair, pair.false_cells) for pair in pairs])
    for low, high in pairwise(DENSITY_BINS):
        chosen = (density >= low) & (density < high)
        wrong = int(((false >= low) & (false < high)).sum())
        rows.append(
            {
                "other cells per mm2 within 50 um": f"{low:g} to {high:g}",
                "recall % (true cells)": percent(hit[chosen].sum(), chosen.sum()),
                "precision % (found)": percent(hit[chosen].sum(), hit[chosen].sum() + wrong),
            }
        )
    return rows


def _kinds(pair: CartridgeComparison) -> np.ndarray:
    member = np.where(pair.cells["role"] == "member", " in a cluster", "")
    return np.array([kind + of for kind, of in zip(pair.cells["kind"], member, strict=True)], dtype=object)


def _density_of(pair: CartridgeComparison, rows: np.ndarray) -> np.ndarray:
    """Local density at cells found that stand for none: that of the nearest true cell."""
    if not len(rows):
        return np.empty(0)
    distance = np.linalg.norm(places(pair.found)[rows][:, None] - places(pair.cells)[None], axis=2)
    return pair.cells["local_density_per_mm2"][distance.argmin(axis=1)]


def event_figures(name: dict[str, Any], pairs: Sequence[CartridgeComparison]) -> dict[str, Any]:
    """Clusters, objects without a nucleus and CTCs over cartridges; the last two columns depend on the model."""
    whole, right, clusters, objects, seen, once, lost, false, true, counted = (0,) * 10
    for pair in pairs:
        at, radius = places(pair.events), np.maximum(pair.events["diameter_um"] / 2, MATCH_UM)
        several = pair.events_scored & (pair.events["members"] > 1)
        members = pair.found["members"][:, None] == pair.events["members"][None]
        near = np.linalg.norm(places(pair.found)[:, None] - at[None], axis=2)
        is_cluster = (pair.found["kind"] == "cluster")[:, None] & (near <= MATCH_UM)
        clusters += int(several.sum())
        whole += int((several & is_cluster.any(0)).sum())
        right += int((several & (is_cluster & members).any(0)).sum())
        bare = _bodies(pair)
        objects += int(bare.sum())
        seen += int((bare & _near_an_event(pair)).sum())
        ctc = np.isin(pair.events["class"], CTC_CLASSES)
        called = pair.found["counted"] & np.isin(pair.found["label"], CTC_CLASSES) & ~pair.found["unassigned"]
        of_event = (near <= radius) & called[:, None]
        once += int((ctc & (of_event.sum(0) == 1)).sum())
        lost += int((ctc & ~of_event.any(0)).sum())
        false += int((called & ~of_event[:, ctc].any(1)).sum())
        true, counted = true + int(ctc.sum()), counted + int(called.sum())
    return name | {
        "clusters found as one % (true)": percent(whole, clusters),
        "with the right members %": percent(right, clusters),
        "objects without nucleus found %": percent(seen, objects),
        "CTC events true / counted": f"{true} / {counted}",
        "counted once / lost / false": f"{once} / {lost} / {false}",
    }


def _bodies(pair: CartridgeComparison) -> np.ndarray:
    """Bool over true events, those without a nucleus that are large enough to be looked for."""
    bare = pair.events_scored & np.isin(pair.events["kind"], FORMS_WITHOUT_NUCLEUS)
    return bare & (pair.events["diameter_um"] >= BODY_BINS_UM[0])


def bodies_by_diameter(pairs: Sequence[CartridgeComparison]) -> list[dict[str, Any]]:
    """Recall of bodies without a nucleus by their true diameter."""
    diameter = np.concatenate([pair.events["diameter_um"][_bodies(pair)] for pair in pairs])
    seen = np.concatenate([_near_an_event(pair)[_bodies(pair)] for pair in pairs])
    rows = []
    for low, high in pairwise(BODY_BINS_UM):
        chosen = (diameter >= low) & (diameter < high)
        rows.append(
            {"diameter um": f"{low:g} to {high:g}", "found % (true)": percent(seen[chosen].sum(), chosen.sum())}
        )
    return rows


def _near_an_event(pair: CartridgeComparison) -> np.ndarray:
    """Bool over true events, whether something was found within their radius."""
    at, radius = places(pair.events), np.maximum(pair.events["diameter_um"] / 2, MATCH_UM)
    near = np.linalg.norm(places(pair.found)[:, None] - at[None], axis=2)
    return (near <= radius).any(0)


def acceptance(arguments: argparse.Namespace) -> dict[str, Any]:
    """Every layout at three densities."""
    pairs: dict[tuple[str, int], CartridgeComparison] = {}
    for layout in arguments.layouts:
        width, height = (arguments.frame_px[0],) * 2 if layout == "axioscan" else arguments.frame_px
        area_mm2 = width * height * find_layout(layout).pixel_size_um ** 2 * 1e-6
        cartridges = {}
        for density in DENSITIES_PER_MM2:
            cartridges[density] = arguments.work / f"{layout}_{density}"
            numbers = {"frames": FRAMES, "nuclei-per-frame": round(density * area_mm2), "ctc": CTC}
            numbers |= {"clusters-neutrophil": CLUSTERS_NEUTROPHIL, "clusters-platelet": CLUSTERS_PLATELET}
            simulate(cartridges[density], layout, arguments.first_seed + density, (width, height), numbers)
        out = arguments.work / "results" / layout
        scan(list(cartridges.values()), layout, arguments.model, out, arguments.threads)
        for density, cartridge in cartridges.items():
            pairs[layout, density] = compare_cartridge(cartridge, out / cartridge.name)
    names = [{"layout": layout, "nuclei per mm2": density} for layout, density in pairs]
    everything = list(pairs.values())
    total = {"layout": "all", "nuclei per mm2": "all"}
    cells = [cell_figures(name, [pair]) for name, pair in zip(names, everything, strict=True)]
    events = [event_figures(name, [pair]) for name, pair in zip(names, everything, strict=True)]
    return {
        f"Cells found in {SIMULATED}": [*cells, cell_figures(total, everything)],
        f"Events of {SIMULATED}; what counts as a CTC depends on the model": [
            *events,
            event_figures(total, everything),
        ],
        f"Bodies without a nucleus, {SIMULATED}": bodies_by_diameter(everything),
        f"Recall by kind of cell, {SIMULATED}": recall_by(everything, "kind"),
        f"By local density, {SIMULATED}": recall_by(everything, "density"),
    }


def bias(arguments: argparse.Namespace) -> dict[str, Any]:
    """Mean difference of numbers found and true over small cartridges, with its standard error."""
    rows = []
    for layout in arguments.layouts:
        frame_px = (400, 400) if layout == "axioscan" else BIAS_FRAME_PX
        numbers = {"frames": BIAS_FRAMES, "nuclei-per-frame": BIAS_NUCLEI, "ctc": BIAS_CTC}
        numbers |= {"clusters-neutrophil": BIAS_CLUSTERS}
        cartridges = [arguments.work / f"{layout}_seed{seed:03d}" for seed in range(1, arguments.seeds + 1)]
        for seed, cartridge in enumerate(cartridges, arguments.first_seed + 1):
            simulate(cartridge, layout, seed, frame_px, numbers)
        out = arguments.work / "results" / f"{layout}_seeds"
        scan(cartridges, layout, arguments.model, out, arguments.threads)
        differences: dict[str, list[tuple[float, float]]] = {}
        for cartridge in cartridges:
            pair = compare_cartridge(cartridge, out / cartridge.name)
            for name, values in _numbers(pair).items():
                differences.setdefault(name, []).append(values)
        for name, values in differences.items():
            found, true = np.array(values, dtype=float).T
            error = (found - true).std(ddof=1) / np.sqrt(len(found))
            mean = (found - true).mean()
            rows.append(
                {
                    "layout": layout,
                    "number of": name,
                    "true, mean": f"{true.mean():.2f}",
                    "found - true, mean": f"{mean:+.2f}",
                    "standard error": f"{error:.2f}",
                    "within 2 standard errors of 0": "yes" if abs(mean) <= 2 * error else "no",
                    "share of the true number %": f"{100 * mean / true.mean():+.2f}",
                }
            )
    return {f"Numbers over {arguments.seeds} {SIMULATED}": rows}


def _numbers(pair: CartridgeComparison) -> dict[str, tuple[float, float]]:
    """Found and true numbers of a cartridge."""
    at = places(pair.cells)
    ctc_cells = (pair.cells["class"] == "ctc") & pair.scored
    found = places(pair.found)[pair.found_cells]
    ctc = np.isin(pair.events["class"], CTC_CLASSES)
    called = pair.found["counted"] & np.isin(pair.found["label"], CTC_CLASSES) & ~pair.found["unassigned"]
    return {
        "cells": (pair.found_scored.sum(), pair.scored.sum()),
        "true CTC cells with a cell within 4 um": (
            np.minimum(near_count(at[ctc_cells], found, MATCH_UM), 1).sum(),
            ctc_cells.sum(),
        ),
        "CTC events counted (depends on the model)": (called.sum(), ctc.sum()),
    }


def main() -> None:
    """Read the arguments, simulate, scan, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="folder for cartridges and results")
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--layouts", nargs="+", choices=LAYOUTS, default=list(LAYOUTS))
    parser.add_argument("--seeds", type=int, default=0, help="numbers over so many small cartridges instead")
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--frame-px", type=int, nargs=2, default=[700, 520], help="width and height of the frames")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)
    tables = bias(arguments) if arguments.seeds else acceptance(arguments)
    for title, rows in tables.items():
        print_table(title, rows)
    save_result(arguments.out, {"simulated": True, "hardware": hardware(), "tables": tables})


if __name__ == "__main__":
    main()
