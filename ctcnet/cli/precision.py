"""Options of `ctcnet export` for INT8 and half precision, and what it prints of them."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from ctcnet.cli.models import is_shipped, panel_of_images
from ctcnet.errors import ManifestError, SettingError
from ctcnet.panel import Panel

if TYPE_CHECKING:
    from ctcnet.export.crop_graph import ExportablePredictor
    from ctcnet.export.precision import Reduced, Reduction

SIMULATED = "simulated"
"""In the place of crops: those that are simulated for a shipped model's panel."""


def add_precision_options(parser: argparse.ArgumentParser) -> None:
    """Add `--int8`, `--fp16` and `--keep-float`."""
    parser.add_argument(
        "--int8",
        metavar="CROPS",
        help="write the convolutions in INT8, calibrated on these crops: manifest, packed store or folder, labelled "
        "where possible, or for a shipped model the word 'simulated' (./simulated is a folder). A third of the groups "
        "is calibrated on, the others judge",
    )
    parser.add_argument("--fp16", action="store_true", help="write the convolutions in half precision, for a GPU")
    parser.add_argument(
        "--keep-float",
        nargs="+",
        default=[],
        metavar="LAYER",
        help="convolutions that stay in float32, with --int8, --fp16",
    )


def check_precision(args: argparse.Namespace, path: Path) -> None:
    """Check the options before any work is done.

    Raises:
        SettingError: they contradict each other.
        ManifestError: the crops are not there.
    """
    if args.int8 is not None and args.fp16:
        raise SettingError("--int8 and --fp16 exclude each other", fix="export twice, to two files")
    if args.keep_float and args.int8 is None and not args.fp16:
        raise SettingError("--keep-float needs --int8 or --fp16: without them every layer is float32")
    if args.int8 == SIMULATED and not is_shipped(path):
        raise SettingError(
            "'simulated' is for shipped models, which were trained on simulated cells",
            where="--int8",
            expected="a manifest, a packed store or a folder of crops",
            fix="give crops of the kind that the model will see (./simulated names a folder)",
        )
    if args.int8 not in (None, SIMULATED) and not Path(args.int8).exists():
        raise ManifestError("there is no such file or folder", where=args.int8, fix="check the path")


def reduction(args: argparse.Namespace, panel: Panel | None, predictor: ExportablePredictor) -> Reduction | None:
    """What the options ask for, with the crops read or simulated; None for float32.

    Args:
        args: with those of `add_precision_options`.
        panel: that a shipped model is to serve; None for a checkpoint.
        predictor: the model, a loaded checkpoint on the CPU.

    Raises:
        SettingError: an unknown layer to keep in float32; said before any crop is read.
        CtcnetError: the crops cannot be read or are too few.
    """
    from ctcnet.export.precision import Reduction, check_keep_float
    from ctcnet.export.reference_crops import divide, read_reference_crops

    card, kept = predictor.card, tuple(args.keep_float)
    if kept:
        check_keep_float(predictor, kept)
    if args.int8 is None:
        return Reduction("fp16", None, kept) if args.fp16 else None
    if args.int8 == SIMULATED:
        from ctcnet.pretrained.simulated_crops import simulated_crops

        crops = simulated_crops(card)
    else:
        images = panel or panel_of_images(None, args.int8, card)
        crops = read_reference_crops(args.int8, images, card)
    for note in crops.notes:
        print(f"note: {note}")
    if (crops.group == "").any():
        print("note: crops without a group may show one patient on both sides, calibration and judgement")
    return Reduction("int8", divide(crops, args.int8), kept)


def reduced_lines(reduced: Reduced) -> list[str]:
    """What the gate of a model of reduced precision found, how fast it is, and what stayed in float32."""
    from ctcnet.export.precision_gate import LEAST_OF_CLASS

    card, gate, speed = reduced.card, reduced.gate, reduced.speed
    if reduced.calibration_crops:
        which = (
            f"{gate.crops} crops of {reduced.groups[1]} groups held out from the calibration "
            f"({reduced.calibration_crops} crops of {reduced.groups[0]} groups)"
        )
    else:
        which = f"{gate.crops} random crops, without labels"
    decisions = (
        f"{card.precision} beside float32 on {which}: {gate.flips_inside + gate.flips_outside} decisions differ, "
        f"{gate.flips_outside} of them outside the guard band of {card.guard_band:g}; largest difference "
        f"{gate.probability_difference:.2g} in a probability"
    )
    recalls = [
        f"  recall of {name}: {recall.reduced:.4f} ({recall.float32:.4f} in float32) of {recall.crops} crops"
        + ("" if recall.crops >= LEAST_OF_CLASS else f"; not judged, fewer than {LEAST_OF_CLASS}")
        for name, recall in gate.recalls.items()
    ]
    lines = [decisions, *recalls]
    if gate.calibration_error is not None:
        before, after = gate.calibration_error
        lines.append(f"  calibration error of P(contains a CTC): {after:.4f} ({before:.4f} in float32)")
    if not gate.recalls:
        lines.append("  crops without labels: recall and calibration were not looked at")
    words = f"{speed.ratio:.2f} times float32" if speed.ratio >= 1 else f"SLOWER, {speed.ratio:.2f} times float32"
    lines.append(
        f"speed on this CPU, one thread, batches of 64: {words} "
        f"({speed.reduced:,.0f} against {speed.float32:,.0f} crops/s)"
    )
    return [*lines, f"in float32 stayed: {', '.join(card.float_layers)}, statistics, head and atypicality"]
