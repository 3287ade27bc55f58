"""`ctcnet scan` on the real blood slide, against masks that another program made.

    python scripts/benchmarks/scan_on_slide.py --slide ../shared/data/blood_slide --model MODEL [--out JSON]

Frames 3 to 5 have channels that lie on each other; frame 2 does once its shift is undone, and half of its masks were
drawn where DAPI lies in the unregistered frame: all of them, and those that show CD45, are given apart. Frame 1 cannot
be registered and has to be warned of. Nearly every cell is a leukocyte, so a "CTC" is almost surely false. For research
use only.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from benchmark_output import hardware, print_table, save_result
from real_slide import PIXEL_SIZE_UM, SOUND_FRAMES, is_there, read_masks
from scipy.spatial import KDTree
from verb import run

MATCH_UM = 4.0
REGISTERED_FRAME, UNREGISTERED_FRAME = 2, 1
LEAST_CD45 = 20.0
"""Mean CD45 in counts from which a mask of frame 2 shows a cell of the registered frame."""
VESICLES = ((4, 844, 206), (4, 882, 187))
"""Frame, row and column of two bright bodies without a nucleus."""


def scan(slide: Path, model: str, out: Path, threads: int) -> None:
    """Scan the slide with the real command."""
    options = ["--model", model, "-o", out, "--threads", threads, "--device", "cpu", "--overwrite"]
    run("scan", slide, *options)


def frame_figures(slide: Path, events: dict[str, np.ndarray], frame: int, least_cd45: float = 0.0) -> dict[str, int]:
    """How the events of a frame agree with its masks of at least so much CD45."""
    mask, centres, cd45 = read_masks(slide, frame)
    centres = centres[cd45 >= least_cd45]
    own = events["frame"] == frame
    places = np.column_stack((events["y_px"], events["x_px"]))
    single = places[own & (events["kind"] != "cluster")]
    nucleated = places[own & (events["kind"] == "cell")]
    inside = mask[nucleated[:, 0].round().astype(int), nucleated[:, 1].round().astype(int)] > 0
    near = KDTree(single).query(centres)[0] * PIXEL_SIZE_UM <= MATCH_UM
    near_cell = KDTree(nucleated).query(centres)[0] * PIXEL_SIZE_UM <= MATCH_UM
    alone = (KDTree(centres).query(nucleated)[0] * PIXEL_SIZE_UM > MATCH_UM) & ~inside
    return {
        "masks": len(centres),
        "found": int(near.sum()),
        "found_with_nucleus": int(near_cell.sum()),
        "nucleated": len(nucleated),
        "without_mask": int(alone.sum()),
    }


def leukocyte_row(slide: Path, events: dict[str, np.ndarray], frames: tuple[int, ...]) -> dict[str, str]:
    """How many masks the model calls a leukocyte; an unassigned event counts against it."""
    called = masks = 0
    for frame in frames:
        _, centres, _ = read_masks(slide, frame)
        chosen = (events["frame"] == frame) & (events["kind"] != "cluster")
        distance, nearest = KDTree(np.column_stack((events["y_px"], events["x_px"]))[chosen]).query(centres)
        sure = (events["label"] == "leukocyte")[chosen] & ~events["unassigned"][chosen].astype(bool)
        called += int((sure[nearest] & (distance * PIXEL_SIZE_UM <= MATCH_UM)).sum())
        masks += len(centres)
    share = f"{100 * called / masks:.2f}"
    return {"masks": str(masks), "called leukocyte": str(called), "%": share, "wanted %": ">= 97"}


def mask_row(name: str, figures: list[dict[str, int]], wanted: str) -> dict[str, str]:
    """One row of the printed table."""
    total = {key: sum(part[key] for part in figures) for key in figures[0]}
    masks, nucleated = total["masks"], total["nucleated"]
    return {
        "masks of": name,
        "masks": str(masks),
        f"event within {MATCH_UM:g} um %": f"{100 * total['found'] / masks:.2f}",
        "of it nucleated %": f"{100 * total['found_with_nucleus'] / masks:.2f}",
        "wanted %": wanted,
        "nucleated events": str(nucleated),
        "of them without a mask %": f"{100 * total['without_mask'] / nucleated:.2f}",
    }


def vesicle_row(events: dict[str, np.ndarray], frame: int, row: int, column: int) -> dict[str, str]:
    """What was found at a body without a nucleus."""
    distance = np.hypot(events["y_px"] - row, events["x_px"] - column) * PIXEL_SIZE_UM
    nearest = int(np.where((events["frame"] == frame) & (events["kind"] != "cluster"), distance, np.inf).argmin())
    return {
        "frame, row, column": f"{frame}, {row}, {column}",
        "nearest event": str(events["kind"][nearest]),
        "um away": f"{distance[nearest]:.2f}",
        "diameter um": f"{events['diameter_um'][nearest]:.1f}",
        "label": str(events["label"][nearest]),
    }


def false_ctc_row(name: str, events: dict[str, np.ndarray], frames: tuple[int, ...]) -> dict[str, str]:
    """Counted events that are called a CTC, for each 1,000 counted leukocytes."""
    counted = events["counted"] & np.isin(events["frame"], frames)
    sure = counted & ~events["unassigned"]
    contains = np.char.find(events["label"].astype(str), "ctc") >= 0
    leukocytes = int((sure & (events["label"] == "leukocyte")).sum())
    calls, unsure = int((sure & contains).sum()), int((counted & events["unassigned"] & contains).sum())
    return {
        "frames": name,
        "counted events": str(int(counted.sum())),
        "leukocytes": str(leukocytes),
        "called CTC": str(calls),
        "for each 1,000 leukocytes": f"{1000 * calls / max(1, leukocytes):.1f}",
        "unassigned, nearest to a CTC": str(unsure),
    }


def score(slide: Path, result: Path) -> dict[str, Any]:
    """All tables from the results of a scan."""
    table = pq.read_table(result / "events.parquet")
    events = {name: table[name].to_numpy(zero_copy_only=False) for name in table.column_names}
    sound = [frame_figures(slide, events, frame) for frame in SOUND_FRAMES]
    registered = (frame_figures(slide, events, REGISTERED_FRAME, least) for least in (0.0, LEAST_CD45))
    rows = [mask_row("frames 3 to 5", sound, ">= 98.5; <= 5 without a mask")]
    rows += [mask_row(f"frame {frame}", [part], "") for frame, part in zip(SOUND_FRAMES, sound, strict=True)]
    for part, name in zip(registered, ("all", f"CD45 >= {LEAST_CD45:g} counts"), strict=True):
        rows.append(mask_row(f"frame {REGISTERED_FRAME}, {name}", [part], ">= 95"))
    quality = json.loads((result / "quality.json").read_text(encoding="utf-8"))
    warnings = [
        {"warning": note["flag"], "frame": str(note["frame"] or ""), "text": note["message"]}
        for note in quality["warnings"]
    ]
    return {
        "Masks of the real slide": rows,
        "Masks of frames 3 to 5 called a leukocyte": [leukocyte_row(slide, events, SOUND_FRAMES)],
        "Bodies without a nucleus": [vesicle_row(events, *vesicle) for vesicle in VESICLES],
        'Calls of "CTC", almost surely false': [
            false_ctc_row("3 to 5", events, SOUND_FRAMES),
            false_ctc_row("2", events, (REGISTERED_FRAME,)),
            false_ctc_row("1", events, (UNREGISTERED_FRAME,)),
        ],
        "Warnings in quality.json": warnings,
    }


def main() -> None:
    """Read the arguments, scan, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slide", type=Path, required=True)
    parser.add_argument("--model", required=True, help="model file, or the name of a shipped model")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--work", type=Path, help="folder for the results; an earlier scan there is kept")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    if not is_there(arguments.slide):
        return
    with tempfile.TemporaryDirectory() as temporary:
        out = arguments.work or Path(temporary) / "results"
        result = out / arguments.slide.resolve().name
        if not (result / "complete.json").is_file():
            scan(arguments.slide, arguments.model, out, arguments.threads)
        tables = score(arguments.slide, result)
    for title, rows in tables.items():
        print_table(title, rows)
    save_result(arguments.out, {"hardware": hardware(), "model": Path(arguments.model).name, "tables": tables})


if __name__ == "__main__":
    main()
