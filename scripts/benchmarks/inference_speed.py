"""Crops per second through onnxruntime: every registered network exported the same way, side by side in one run.

The graphs are those that `ctcnet export` writes (raw uint16 counts in, normalisation inside) with untrained weights,
which take as long as trained ones. Runs of the networks alternate, so that a slow moment of the machine hits all.

Two threads can share one call, or each have its own (`--calls-at-once 2 --threads 1`, as classification does it).
Exported crop graphs of five channels of that size can be timed beside them (`--models models/ctcnet-s/model.onnx`).

    python scripts/benchmarks/inference_speed.py [--crop-size-px 64] [--batch-size 64] [--threads 2] [--rounds 7]
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median

import onnxruntime
import torch
from benchmark_output import hardware, print_table, save_result
from session_speed import crop_feed, crops_per_second, open_session
from torch.utils.flop_counter import FlopCounterMode
from untrained_model import untrained_card, write_untrained

from ctcnet.model_card import ModelCard
from ctcnet.networks import backbone_names

PEER = "resnet18"


def _session(card: ModelCard, folder: Path, threads: int) -> tuple[onnxruntime.InferenceSession, float, float]:
    """Session of an untrained network, its parameters in thousands and its MMAC per crop."""
    path = folder / f"{card.backbone}.onnx"
    network = write_untrained(card, path)
    example = torch.zeros(1, len(card.panel.channels), card.crop_size_px, card.crop_size_px)
    session = open_session(path, threads)
    parameters = sum(parameter.numel() for parameter in network.parameters()) / 1e3
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(example)
    return session, parameters, counter.get_total_flops() / 2e6


def measure(
    names: Sequence[str],
    crop_size_px: int,
    batch_size: int,
    threads: int,
    calls: int,
    rounds: int,
    seconds: float,
    models: Sequence[Path] = (),
) -> list[dict[str, float | str]]:
    """One row per network.

    Args:
        names: registered backbones, `PEER` among them.
        crop_size_px, batch_size: of the crops.
        threads: of onnxruntime, within a call.
        calls: that run side by side.
        rounds, seconds: measurements of each network, and how long each lasts.
        models: exported crop graphs of five channels and `crop_size_px`, which have no parameters and MMAC here.
    """
    feed = crop_feed(batch_size, crop_size_px)
    speeds: dict[str, list[float]] = {}
    sizes: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        sessions = {}
        for name in names:
            sessions[name], *sizes[name] = _session(untrained_card(name, "ctc5", crop_size_px), Path(folder), threads)
        sessions |= {str(path): open_session(path, threads) for path in models}
        for session in sessions.values():
            session.run(None, feed)
        for _ in range(rounds):
            for name, session in sessions.items():
                speeds.setdefault(name, []).append(crops_per_second(session, feed, seconds, calls))
    ratios = {name: [a / b for a, b in zip(values, speeds[PEER], strict=True)] for name, values in speeds.items()}
    return [
        {
            "network": name,
            "parameters (k)": round(sizes[name][0]) if name in sizes else "",
            "MMAC": round(sizes[name][1], 1) if name in sizes else "",
            "crops/s": round(median(speeds[name])),
            "x ResNet-18": round(median(ratios[name]), 1),
            "x ResNet-18, least": round(min(ratios[name]), 1),
            "x ResNet-18, most": round(max(ratios[name]), 1),
        }
        for name in sorted(speeds, key=lambda name: -median(speeds[name]))
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--crop-size-px", type=int, default=64)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--threads", type=int, default=2, help="within a call")
    parser.add_argument("--calls-at-once", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=1.0, help="length of one measurement")
    parser.add_argument("--models", type=Path, nargs="*", default=[], help="exported crop graphs to time as well")
    parser.add_argument("--json", type=Path, default=None, help="also write the table here")
    args = parser.parse_args()
    sizes = (args.crop_size_px, args.batch_size, args.threads, args.calls_at_once, args.rounds, args.seconds)
    rows = measure(backbone_names(), *sizes, models=args.models)
    title = (
        f"onnxruntime {onnxruntime.__version__}, {args.threads} threads in each of {args.calls_at_once} calls at once, "
        f"{args.crop_size_px} px, 5 channels, batches of {args.batch_size}"
    )
    print_table(title, rows)
    save_result(args.json, {"title": title, "hardware": hardware(), "rows": rows})


if __name__ == "__main__":
    main()
