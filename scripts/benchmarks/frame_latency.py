"""Latency, memory and start-up time of the frame graph, beside scikit-image detection with torchvision's networks.

    python scripts/benchmarks/frame_latency.py --panel cellsearch4 [--runs 100] [--out JSON]

The frame graph in float32 and with its network in INT8. One simulated frame of 1384 x 1036 with 420 nuclei; each way
runs in a process of its own, with one thread and with two. The peers find nuclei by Otsu's threshold, a distance
transform and a watershed, cut crops at the frame's own pixels and classify them by networks of random weights: their
time, not their answers, is compared. For research use only.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

FRAME_SHAPE, PIXEL_SIZE_UM, SEED = (1036, 1384), 0.64, 5
OWN = {"ctcnet": "frame_float32.onnx", "ctcnet INT8": "frame_int8.onnx"}
PEERS = ("resnet18", "mobilenet_v3_small")
CROP_SIZE_PX = 64
THREADS = (1, 2)


def prepare(panel_name: str, work: Path) -> list[str]:
    """Write the frame, the frame graphs and the peers' networks; what is to be said of the graphs."""
    import torch
    import torchvision
    from model_graphs import PRECISIONS, write_graphs

    from ctcnet.export.simulated_frame import simulated_frame
    from ctcnet.panel import load_panel
    from ctcnet.scan.platform import load_platform

    panel = load_panel(panel_name).network_panel()
    np.save(work / "frame.npy", simulated_frame(panel, PIXEL_SIZE_UM, FRAME_SHAPE, SEED))
    size = {"platform": load_platform("ome_tiff"), "pixel_size_um": PIXEL_SIZE_UM}
    graphs = [write_graphs("ctcnet-s", panel, work, precision=precision, **size) for precision in PRECISIONS]
    channels = len(panel.channels)
    for name in PEERS:
        network = getattr(torchvision.models, name)(num_classes=5).eval()
        first = next(module for module in network.modules() if isinstance(module, torch.nn.Conv2d))
        first.weight = torch.nn.Parameter(torch.randn(first.out_channels, channels, *first.kernel_size) * 0.05)
        first.in_channels = channels
        crops = torch.zeros(2, channels, CROP_SIZE_PX, CROP_SIZE_PX)
        torch.onnx.export(
            network,
            (crops,),
            str(work / f"{name}.onnx"),
            input_names=["crops"],
            dynamic_shapes=({0: torch.export.Dim("batch")},),
            opset_version=18,
            dynamo=True,
            external_data=False,
            verbose=False,
        )
    return [made.note for made in graphs if made.note]


def frame_graph(file: Path, threads: int) -> Callable[[np.ndarray], int]:
    """Opens a frame graph; what it gives takes a frame and gives the number of events."""
    from ctcnet.runtime import FramePredictor, SessionSettings

    graph = FramePredictor(file, SessionSettings(threads=threads))
    return lambda frame: len(graph.predict(frame))


def peer(name: str, work: Path, threads: int) -> Callable[[np.ndarray], int]:
    """The same of a peer."""
    import onnxruntime
    from scipy import ndimage
    from skimage.feature import peak_local_max
    from skimage.filters import gaussian, threshold_otsu
    from skimage.measure import regionprops
    from skimage.segmentation import watershed

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(str(work / f"{name}.onnx"), options, providers=["CPUExecutionProvider"])
    half = CROP_SIZE_PX // 2

    def run(frame: np.ndarray) -> int:
        nuclei = gaussian(frame[0].astype(np.float32), 1.0)
        mask = nuclei > threshold_otsu(nuclei)
        distance = ndimage.distance_transform_edt(mask)
        tops = np.zeros(mask.shape, np.int32)
        places = peak_local_max(distance, min_distance=5, labels=mask.astype(np.int32))
        tops[tuple(places.T)] = np.arange(1, len(places) + 1)
        regions = regionprops(np.asarray(watershed(0.0 - np.asarray(distance), tops, mask=mask)))
        centres = np.array([region.centroid for region in regions if region.area >= 30]).round().astype(int)
        padded = np.pad(frame, ((0, 0), (half, half), (half, half)), mode="edge")
        crops = np.stack([padded[:, y : y + CROP_SIZE_PX, x : x + CROP_SIZE_PX] for y, x in centres])
        normalised = (crops.astype(np.float32) - 100) / 500
        for start in range(0, len(normalised), 64):
            session.run(None, {"crops": normalised[start : start + 64]})
        return len(centres)

    return run


def peak_memory_mb() -> float:
    """Most memory that this process held; `ru_maxrss` would start from what its parent held."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1024


def measure(way: str, work: Path, threads: int, runs: int) -> dict[str, Any]:
    """Times of one way in this process."""
    frame = np.load(work / "frame.npy")
    begin = perf_counter()
    run = frame_graph(work / OWN[way], threads) if way in OWN else peer(way, work, threads)
    opened = perf_counter() - begin
    events, times = run(frame), []
    for _ in range(runs):
        begin = perf_counter()
        run(frame)
        times.append(perf_counter() - begin)
    p50, p99 = np.percentile(times, (50, 99))
    peak_mb = peak_memory_mb()
    return {
        "way": way,
        "threads": threads,
        "events": events,
        "p50_s": p50,
        "p99_s": p99,
        "start_s": opened,
        "peak_mb": peak_mb,
    }


def main() -> None:
    """Measure every way in a process of its own and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--panel", default="cellsearch4", help="shipped panel of four channels")
    parser.add_argument("--runs", type=int, default=100, help="frames of each way")
    parser.add_argument("--out", type=Path, help="JSON file")
    parser.add_argument("--one", nargs=3, metavar=("WAY", "THREADS", "FOLDER"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        way, threads, folder = args.one
        print(json.dumps(measure(way, Path(folder), int(threads), args.runs)))
        return
    from benchmark_output import print_table, save_result  # it imports torch, which the runs do without

    rows = []
    with tempfile.TemporaryDirectory() as folder:
        notes = prepare(args.panel, Path(folder))
        for way in (*OWN, *PEERS):
            for threads in THREADS:
                command = [sys.executable, __file__, "--runs", str(args.runs), "--one", way, str(threads), folder]
                done = subprocess.run(command, capture_output=True, text=True, check=True)
                rows.append(json.loads(done.stdout.splitlines()[-1]))
                print(rows[-1], flush=True)
    shown = [
        {name: f"{value:.3g}" if isinstance(value, float) else value for name, value in row.items()} for row in rows
    ]
    print_table(f"one frame of {FRAME_SHAPE[1]} x {FRAME_SHAPE[0]} x 4, {args.runs} runs", shown)
    print("\n".join(notes))
    save_result(args.out, {"rows": rows, "notes": notes})


if __name__ == "__main__":
    main()
