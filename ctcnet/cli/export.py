"""`ctcnet export`: a checkpoint becomes an ONNX file, and is compared with it on the spot."""

from __future__ import annotations

import argparse
from pathlib import Path

from ctcnet.cli.models import find_model, load_checkpoint
from ctcnet.errors import ModelFileError
from ctcnet.extras import import_extra


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add the verb `export`."""
    parser = subparsers.add_parser(
        "export",
        help="make an ONNX file from a checkpoint and check that both give the same answers",
        description="Make one ONNX file from a checkpoint: raw counts in, calibrated probabilities out. The file is "
        "compared with the checkpoint on the spot; where they differ, no file is left.",
        epilog="example: ctcnet export runs/first -o model.onnx",
    )
    parser.add_argument("checkpoint", type=Path, help="checkpoint (.ckpt), or a run folder for its best.ckpt")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="MODEL.onnx", help="file to write")
    parser.add_argument("--opset", type=int, default=18, help="ONNX opset (default: 18)")
    parser.add_argument(
        "--input-dtype", choices=("uint16", "float32"), default="uint16", help="type of crops (default: uint16)"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace files that exist")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Export and print the worst difference."""
    path = find_model(args.checkpoint)
    if path.suffix != ".ckpt":
        raise ModelFileError("is no checkpoint", where=path, expected="a .ckpt file or a run folder")
    import_extra("torch", "train")
    import_extra("onnxscript", "train")
    export = import_extra("ctcnet.export.export", "train")
    export.check_export_output(args.output, overwrite=args.overwrite)
    predictor = load_checkpoint(path)
    result = export.export_predictor(
        predictor, args.output, opset=args.opset, input_dtype=args.input_dtype, overwrite=args.overwrite
    )
    parity = result.parity
    print(
        f"wrote {result.model} ({result.model.stat().st_size / 1e6:.2f} MB), {result.card.name}, {result.readme.name}"
    )
    print(
        f"parity with the checkpoint over {parity.crops} predictions in batches of 1, 2, 7 and 64: "
        f"worst difference {parity.probability_difference:.2g} in a probability, "
        f"{parity.embedding_difference:.2g} relative in the embedding; every decision equal"
        + (f" but {parity.decisions_in_guard_band} in the guard band" if parity.decisions_in_guard_band else "")
    )
    return 0
