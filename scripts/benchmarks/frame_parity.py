"""The frame graph's events against those of `ctcnet scan`, event by event, on simulated frames and on a real slide.

    python scripts/benchmarks/frame_parity.py --slide ../shared/data/blood_slide [--precisions int8] [--out JSON]

Each frame becomes a cartridge of one frame, which the real command scans with given levels; the frame graph gets the
same pixels and levels. In INT8 the scan runs the INT8 crop graph. Frames 3 to 5 of the slide are registered first, by
the scan's own functions: the frame graph takes registered frames. Decisions may differ within the guard band of the
model's card, which is fixed before; for at most 0.5 % of the events. For research use only.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import tifffile
import torch
from benchmark_output import print_table, save_result
from model_graphs import PRECISIONS, Graphs, write_graphs

from ctcnet.cli.main import main as ctcnet
from ctcnet.export.frame_parity import compare_events
from ctcnet.export.simulated_frame import simulated_frame
from ctcnet.panel import Panel, load_panel
from ctcnet.runtime import FrameEvents, FramePredictor, OnnxPredictor, Predictions, Predictor, SessionSettings
from ctcnet.runtime.frame_predictor import KIND_NAMES
from ctcnet.scan.detect.detected_events import DetectedEvents
from ctcnet.scan.detect.detector import EventDetector
from ctcnet.scan.platform import Platform, load_platform
from ctcnet.scan.preprocess.registration import measure_shifts, undo_shifts
from ctcnet.scan.readers.opening import open_cartridge

SIMULATED = (
    ("cellsearch4", 0.64, (1036, 1384)),
    ("hdsca4", 0.591, (1004, 1362)),
    ("hdsca4", 0.591, (2040, 2040)),
    ("ctc5", 0.64, (64, 64)),
)
"""Panel, um per pixel, height and width."""

SLIDE_FRAMES = (3, 4, 5)
SEED = 11


def frames_of_slide(slide: Path, platform: Platform) -> Iterator[tuple[str, Panel, float, np.ndarray]]:
    """Name, panel, um per pixel and registered counts of the slide's sound frames."""
    cartridge = open_cartridge(slide)
    chosen = [index for index, channel in enumerate(cartridge.panel.channels) if channel.role != "none"]
    panel = replace(cartridge.panel.network_panel(), bit_depth=12)  # 8-bit counts, in the 16-bit files of a camera
    for index, frame in enumerate(cartridge.frames):
        if frame.number not in SLIDE_FRAMES:
            continue
        counts = torch.from_numpy(np.asarray(cartridge.read(index), np.float32))
        shifts = measure_shifts(counts, cartridge.panel.roles, cartridge.pixel_size_um, platform.registration)
        undo_shifts(counts, shifts)
        pixels = counts[chosen].round().clamp(0, 65535).numpy().astype(np.uint16)
        yield f"blood slide, frame {frame.number}", panel, cartridge.pixel_size_um, pixels


def simulated_frames() -> Iterator[tuple[str, Panel, float, np.ndarray]]:
    """The same of simulated frames."""
    for name, pixel_size_um, shape in SIMULATED:
        panel = load_panel(name).network_panel()
        frame = simulated_frame(panel, pixel_size_um, shape, SEED)
        yield f"simulated {shape[1]} x {shape[0]} x {len(frame)}, {name}", panel, pixel_size_um, frame


def levels_of(frame: np.ndarray, detector: EventDetector, predictor: Predictor) -> tuple[np.ndarray, np.ndarray]:
    """Background as detection finds it, and the model's own scale brought to the frame's depth, as both are given."""
    events = detector.detect(torch.from_numpy(frame.astype(np.float32))[None])[0]
    scale = np.array(predictor.card.normalization.scale, np.float32)
    return events.background.round(2).astype(np.float32), scale


def scan(
    frame: np.ndarray,
    panel: Panel,
    pixel_size_um: float,
    levels: tuple[np.ndarray, np.ndarray],
    model: Path,
    work: Path,
) -> dict[str, np.ndarray]:
    """Events of a frame by the real command; columns of `events.parquet`."""
    cartridge, out = work / "cartridge", work / "results"
    cartridge.mkdir(exist_ok=True)
    axes = {
        "axes": "CYX",
        "PhysicalSizeX": pixel_size_um,
        "PhysicalSizeY": pixel_size_um,
        "Channel": {"Name": panel.markers},
    }
    tifffile.imwrite(cartridge / "frame_0001.ome.tif", frame, metadata=axes)
    (work / "panel.yaml").write_text(json.dumps(replace(panel, pixel_size_um=None).to_dict()))
    given = {
        marker: {"background": float(background), "scale": float(scale)}
        for marker, background, scale in zip(panel.markers, *levels, strict=True)
    }
    (work / "levels.json").write_text(json.dumps({"levels": given}))
    options = ["--model", model, "--panel", work / "panel.yaml", "--levels", work / "levels.json", "-o", out]
    command = [
        "scan",
        cartridge,
        *options,
        "--pixel-size-um",
        pixel_size_um,
        "--threads",
        1,
        "--device",
        "cpu",
        "--overwrite",
    ]
    if ctcnet([str(word) for word in command]):
        raise SystemExit("the scan failed")
    table = pq.read_table(next(out.rglob("events.parquet")))
    return {name: table[name].to_numpy() for name in table.column_names}


def as_events(table: dict[str, np.ndarray], classes: tuple[str, ...]) -> tuple[DetectedEvents, Predictions]:
    """A scan's table as what the comparison takes."""
    number = len(table["x_px"])
    nothing = np.zeros(0, np.float32)
    kind = np.array([KIND_NAMES.index(name) for name in table["kind"]], np.uint8)
    events = DetectedEvents(
        table["x_px"], table["y_px"], kind, table["diameter_um"], np.zeros(number), table["members"],
        np.full(number, -1), np.zeros(number, bool), nothing, nothing, nothing,
    )  # fmt: skip
    p = np.stack([table[f"p_{name}"] for name in classes], axis=1).astype(np.float32)
    return events, Predictions(p, table["unassigned"].astype(bool), table["atypicality"], p[:, :0])


def measure(
    name: str, panel: Panel, pixel_size_um: float, frame: np.ndarray, graphs: Graphs, work: Path
) -> dict[str, Any]:
    """One row of the table."""
    settings = SessionSettings(threads=1)
    graph, predictor = FramePredictor(graphs.frame, settings), OnnxPredictor(graphs.crop, settings)
    detector = EventDetector(load_platform("ome_tiff").detection, panel.roles, pixel_size_um)
    levels = levels_of(frame, detector, predictor)
    table = scan(frame, panel, pixel_size_um, levels, graphs.crop, work)
    events, answers = as_events(table, predictor.card.labels.classes)
    found: FrameEvents = graph.predict(frame, *levels)
    parity = compare_events(events, answers, found, predictor)
    return {
        "frame": name,
        "precision": predictor.card.precision,
        **asdict(parity),
        "share_in_band": parity.flips_inside / max(1, parity.scan_events),
    }


def main() -> None:
    """Compare and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slide", type=Path, help="folder of the real slide; without, simulated frames alone")
    parser.add_argument("--model", default="ctcnet-s", help="shipped model")
    parser.add_argument("--precisions", nargs="+", choices=PRECISIONS, default=PRECISIONS)
    parser.add_argument("--out", type=Path, help="JSON file")
    args = parser.parse_args()
    torch.set_num_threads(1)
    platform, rows = load_platform("ome_tiff"), []
    made: dict[Any, Graphs] = {}
    cases = [*simulated_frames(), *(() if args.slide is None else frames_of_slide(args.slide, platform))]
    with tempfile.TemporaryDirectory() as folder:
        for precision in args.precisions:
            for name, panel, pixel_size_um, frame in cases:
                key = (precision, panel.markers, pixel_size_um)
                if key not in made:
                    place = Path(folder) / str(len(made))
                    place.mkdir()
                    size = {"platform": platform, "pixel_size_um": pixel_size_um}
                    made[key] = write_graphs(args.model, panel, place, precision=precision, **size)
                rows.append(measure(name, panel, pixel_size_um, frame, made[key], Path(folder)))
                print(rows[-1], flush=True)
    notes = [graphs.note for graphs in made.values() if graphs.note]
    shown = [
        {
            "frame": row["frame"],
            "precision": row["precision"],
            "events of the scan": row["scan_events"],
            "of the graph": row["graph_events"],
            "matched": row["matched"],
            "farthest px": f"{row['distance_px']:.2g}",
            "probability": f"{row['probability_difference']:.2g}",
            "decisions outside the band": row["flips_outside"],
            "inside": row["flips_inside"],
        }
        for row in rows
    ]
    print_table("frame graph against ctcnet scan", shown)
    print("\n".join(notes))
    save_result(args.out, {"rows": rows, "notes": notes})


if __name__ == "__main__":
    main()
