"""Cells and frames per second of `ctcnet scan`, end to end, beside what a user would write today, in one run.

The cartridges are simulated in the CellTracks layout (1384 x 1036 px, 4 channels, 16-bit files) and kept in FOLDER. The
peer thresholds the nucleus channel (scikit-image: Otsu, distance transform, watershed, regionprops), cuts 64 px crops
and runs torchvision's ResNet-18; it does not register, measure, write tables or see cells across borders. Both use the
same number of threads; ctcnet runs in a process of its own, whose peak memory is stated.

    python scripts/benchmarks/scan_speed.py --work FOLDER [--frames 175] [--nuclei 420] [--threads 2]
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from pathlib import Path
from time import perf_counter

import numpy as np
import tifffile
import torch
import torchvision
from benchmark_output import hardware, print_table, save_result
from scipy import ndimage
from skimage.feature import peak_local_max
from skimage.filters import gaussian, threshold_otsu
from skimage.measure import regionprops
from skimage.segmentation import watershed
from untrained_model import untrained_card, write_untrained

CROP_PX = 64
PEER_FRAMES = 6
STAGES = ("reading", "registration", "detection", "cutting", "network", "measurement", "quality", "writing")


def _simulate(work: Path, frames: int, nuclei: int, compression: str) -> Path:
    """A simulated cartridge, made unless it is there."""
    folder = work / f"cartridge_{frames}_{nuclei}_{compression}"
    if not folder.is_dir():
        words = f"simulate cartridge {folder} --layout celltracks --frames {frames} --nuclei-per-frame {nuclei}"
        command = [*words.split(), "--ctc", "10", "--seed", "0", "--compression", compression]
        subprocess.run([sys.executable, "-m", "ctcnet", *command], check=True)
    return folder


def _scan(cartridge: Path, model: Path, out: Path, threads: int) -> dict[str, float]:
    """Scan in a process of its own; figures of its run log, wall seconds and peak memory."""
    shutil.rmtree(out, ignore_errors=True)
    words = [
        "scan",
        str(cartridge),
        "--model",
        str(model),
        "-o",
        str(out),
        "--device",
        "cpu",
        "--threads",
        str(threads),
    ]
    code = (
        "import atexit, resource; from ctcnet.__main__ import run; from ctcnet.process_end import run_to_end; "
        "peak = lambda: print('PEAK_KIB', resource.getrusage(resource.RUSAGE_SELF).ru_maxrss); "
        "run_to_end(lambda: (atexit.register(peak), run())[1])"
    )
    start = perf_counter()
    done = subprocess.run([sys.executable, "-c", code, *words], check=True, capture_output=True, text=True)
    seconds = perf_counter() - start
    peak = next(int(line.split()[1]) for line in done.stdout.splitlines() if line.startswith("PEAK_KIB"))
    log = json.loads((out / cartridge.name / "run_log.json").read_text())
    stages = log["seconds_per_stage_all_threads"]
    results = log["seconds_results"]
    cells = log["cells_per_second"] * log["seconds"]
    return {"seconds": seconds, "cells": cells, "peak_mb": peak / 1024, "results_s": results, **stages}


def _peer(cartridge: Path, threads: int) -> tuple[float, float]:
    """Cells per second and frames per second of the peer over a few frames away from the cartridge's rim."""
    torch.set_num_threads(threads)
    network = torchvision.models.resnet18(num_classes=5)
    network.conv1 = torch.nn.Conv2d(4, 64, 7, 2, 3, bias=False)
    network = network.eval()
    files = sorted(cartridge.glob("*.tif"))
    middle = files[len(files) // 2 - PEER_FRAMES // 2 :][:PEER_FRAMES]
    _peer_frame(middle[0], network)
    start = perf_counter()
    cells = sum(_peer_frame(file, network) for file in middle)
    seconds = perf_counter() - start
    return cells / seconds, len(middle) / seconds


def _peer_frame(file: Path, network: torch.nn.Module) -> int:
    image = np.stack([np.asarray(page.asarray()) for page in tifffile.TiffFile(file).pages])
    nucleus = gaussian(image[1].astype(np.float32), 1)
    mask = nucleus > threshold_otsu(nucleus)
    distance = np.asarray(ndimage.distance_transform_edt(mask))
    parts, _ = ndimage.label(mask)  # type: ignore[misc]
    peaks = np.asarray(peak_local_max(distance, min_distance=4, labels=parts))
    markers = np.zeros(mask.shape, dtype=np.int32)
    markers[tuple(peaks.T)] = np.arange(1, len(peaks) + 1)
    regions = regionprops(watershed(-distance, markers, mask=mask), intensity_image=np.moveaxis(image, 0, -1))
    padded = np.pad(image, ((0, 0), (CROP_PX, CROP_PX), (CROP_PX, CROP_PX)))
    crops, measured = [], []
    for region in regions:
        row, column = (round(value) + CROP_PX // 2 for value in region.centroid)
        crops.append(padded[:, row : row + CROP_PX, column : column + CROP_PX])
        measured.append((region.area, *region.intensity_mean))
    with torch.inference_mode():
        for start in range(0, len(crops), 256):
            network(torch.from_numpy(np.stack(crops[start : start + 256]).astype(np.float32) / 4095))
    return len(crops)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="folder for the simulated cartridges (some GB)")
    parser.add_argument("--frames", type=int, default=175)
    parser.add_argument("--nuclei", type=int, default=420, help="nuclei per frame")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--memory-frames", type=int, nargs="*", default=[50, 200], help="peak memory at these sizes")
    parser.add_argument("--out", type=Path, help="JSON file for the result")
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    model = args.work / "compact.onnx"
    write_untrained(untrained_card("compact", "cellsearch4", CROP_PX), model)
    rows, memory = [], []
    for compression in ("none", "lzw"):
        cartridge = _simulate(args.work, args.frames, args.nuclei, compression)
        before, frames_before = _peer(cartridge, args.threads)
        ours = _scan(cartridge, model, args.work / "out", args.threads)
        after, frames_after = _peer(cartridge, args.threads)
        peer, peer_frames = (before + after) / 2, (frames_before + frames_after) / 2
        cells_s, frames_s = ours["cells"] / ours["seconds"], args.frames / ours["seconds"]
        busy = sum(ours.get(stage, 0.0) for stage in STAGES) + ours["results_s"]
        shares = {stage: f"{100 * ours.get(stage, 0.0) / busy:.0f} %" for stage in STAGES}
        rows.append(
            {
                "files": {"none": "uncompressed", "lzw": "LZW"}[compression],
                "cells/s": f"{cells_s:.0f}",
                "frames/s": f"{frames_s:.2f}",
                "peer cells/s": f"{peer:.0f}",
                "peer frames/s": f"{peer_frames:.2f}",
                "x peer (cells)": f"{cells_s / peer:.1f}",
                "x peer (frames)": f"{frames_s / peer_frames:.1f}",
                "peak MB": f"{ours['peak_mb']:.0f}",
                **shares,
                "results": f"{100 * ours['results_s'] / busy:.0f} %",
            }
        )
    for frames in args.memory_frames:
        cartridge = _simulate(args.work, frames, args.nuclei, "none")
        found = _scan(cartridge, model, args.work / "out", args.threads)
        memory.append({"frames": frames, "peak MB": f"{found['peak_mb']:.0f}", "s": f"{found['seconds']:.0f}"})
    title = f"ctcnet scan, {args.frames} frames of 1384 x 1036 px, 4 channels, {args.nuclei} nuclei a frame (simulated)"
    print_table(f"{title}, {args.threads} threads, process start included", rows)
    if memory:
        print_table("Peak memory", memory)
    save_result(args.out, {"title": title, "hardware": hardware(), "rows": rows, "memory": memory})


if __name__ == "__main__":
    main()
