"""One model, many runtimes: onnxruntime of several versions, in Python, Node.js and WebAssembly, against the newest.

    python scripts/benchmarks/runtime_versions.py --work WORK [--models MODEL ...] [--frame PANEL ...] [--int8 PANEL]

Each runtime (--runtimes 1.17 web for some alone) has an environment of its own below WORK and runs without ctcnet, as
on an instrument (`scripts/examples/python/run_cases.py`, `scripts/examples/node/run_cases.mjs`). Inputs of a crop graph
are simulated crops of the model's panel, all of them in batches of 1, 2, 7 and 64; those of a frame graph simulated
frames of several sizes. Each is run with levels given and with NaN. --models are the shipped files, --frame the frame
graph in float32 of each panel; with --int8 crop graph and frame graph in INT8 are compared too, INT8 of each runtime
with INT8 of the newest. What a runtime has answered is kept in WORK, so that a run that was stopped goes on. For
research use only.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import onnx
from benchmark_output import hardware, print_table, save_result
from model_graphs import write_graphs
from runtime_cases import Answer, read_answers, write_cases
from runtime_comparison import compare_crops, compare_frames
from runtime_environments import RUNTIMES, Runtime, make_runtime
from runtime_inputs import crop_cases, frame_cases

from ctcnet.model_card_reading import card_from_dict
from ctcnet.panel import load_panel
from ctcnet.progress import track
from ctcnet.runtime.onnx_predictor import CARD_PROPERTY
from ctcnet.scan.platform import load_platform

MODELS = Path(__file__).resolve().parents[2] / "models" / "ctcnet-s"
REFERENCE = "newest"
FRAME_PIXEL_SIZE_UM = 0.64


def answers_of(runtime: Runtime, model: Path, cases: Path, work: Path) -> tuple[str, list[Answer]]:
    """What a runtime says of the cases, from the last run where neither model, inputs nor environment have changed."""
    key = sha256(model.read_bytes() + (cases / "cases.json").read_bytes() + (cases / "inputs.bin").read_bytes())
    out = work / "answers" / runtime.name / f"{model.stem}-{key.hexdigest()[:12]}"
    if not out.exists():
        out.parent.mkdir(parents=True, exist_ok=True)
        runtime.run(model, cases, out)
    return read_answers(out)


def written_models(panels: Sequence[str], precision: str, work: Path) -> tuple[list[Path], list[str]]:
    """Crop graph and frame graph of each panel, and what is to be said of them; kept for this model."""
    models, notes = [], []
    key = sha256((MODELS / "card.json").read_bytes()).hexdigest()[:12]  # it holds the hashes of the model's files
    for name in panels:
        folder = work / precision / f"{name}-{key}"
        said = folder / "note.txt"
        if not said.exists():
            folder.mkdir(parents=True, exist_ok=True)
            size = {"platform": load_platform("ome_tiff"), "pixel_size_um": FRAME_PIXEL_SIZE_UM}
            graphs = write_graphs(MODELS.name, load_panel(name), folder, precision=precision, **size)
            said.write_text(graphs.note, encoding="utf-8")
        models += sorted(folder.glob("*.onnx"))
        notes.append(said.read_text(encoding="utf-8"))
    return models, notes


def parity_rows(model: Path, runtimes: Mapping[str, Runtime], work: Path) -> tuple[str, list[dict[str, Any]]]:
    """Kind of the graph, 'crop' or 'frame', and rows for each runtime beside the reference."""
    properties = {entry.key: entry.value for entry in onnx.load(model).metadata_props}
    card, graph = card_from_dict(json.loads(properties[CARD_PROPERTY])), properties.get("graph", "crop")
    cases = work / "cases" / f"{graph}-{card.name}-{card.panel.name}"
    if not (cases / "cases.json").exists():
        if graph == "frame":
            write_cases(frame_cases(card, float(properties["frame_pixel_size_um"])), cases)
        else:
            write_cases(crop_cases(card, work / "crops" / card.panel.name), cases)
    reference, expected = answers_of(runtimes[REFERENCE], model, cases, work)
    rows: list[dict[str, Any]] = []
    for name in track([name for name in runtimes if name != REFERENCE], f"{model.name} in each runtime"):
        runtime, found = answers_of(runtimes[name], model, cases, work)
        compared = compare_frames(expected, found, card) if graph == "frame" else [compare_crops(expected, found, card)]
        about = {"model": model.name, "panel": card.panel.name, "precision": card.precision, "runtime": runtime}
        rows += [about | row for row in compared]
    print(f"{model.name}: reference {reference}")
    return graph, rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="folder for environments, inputs and answers")
    parser.add_argument("--models", type=Path, nargs="*", default=sorted(MODELS.glob("*.onnx")))
    parser.add_argument(
        "--frame", nargs="*", default=["cellsearch4", "ctc5"], metavar="PANEL", help="of four or five channels"
    )
    parser.add_argument("--int8", nargs="+", default=[], metavar="PANEL", help="the same")
    parser.add_argument("--runtimes", nargs="+", choices=RUNTIMES, default=RUNTIMES)
    parser.add_argument("--json", type=Path, default=None, help="also write the table here")
    args = parser.parse_args()
    work = args.work.resolve()
    names = dict.fromkeys((REFERENCE, *args.runtimes))
    runtimes = {name: make_runtime(name, work / "environments") for name in track(names, "environments")}
    tables: dict[str, list[dict[str, Any]]] = {}
    frames = [path for path in written_models(args.frame, "float32", work)[0] if path.stem.startswith("frame")]
    int8, notes = written_models(args.int8, "int8", work)
    for model in (*args.models, *frames, *int8):
        graph, rows = parity_rows(model.resolve(), runtimes, work)
        tables.setdefault(graph, []).extend(rows)
    for graph, rows in tables.items():
        print_table(f"The {graph} graph in each runtime against onnxruntime {REFERENCE}; simulated cells", rows)
    print("\n".join(notes))
    save_result(args.json, {"hardware": hardware(), **tables, "notes": notes})


if __name__ == "__main__":
    main()
