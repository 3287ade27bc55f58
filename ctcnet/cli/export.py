"""`ctcnet export`: a checkpoint or a shipped model becomes an ONNX file, and is compared with it on the spot."""

from __future__ import annotations

import argparse
from pathlib import Path

from ctcnet.cli.models import find_model, is_shipped, load_checkpoint, load_shipped, panel_is_needed
from ctcnet.errors import ModelFileError, SettingError
from ctcnet.extras import import_extra
from ctcnet.panel import Panel, load_panel


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add the verb `export`."""
    parser = subparsers.add_parser(
        "export",
        help="make an ONNX file from a checkpoint or a shipped model and check that both give the same answers",
        description="Make one ONNX file from a checkpoint, or from a shipped model and a panel: raw counts in, "
        "calibrated probabilities out. The file is compared with the checkpoint on the spot; where they differ, no "
        "file is left.",
        epilog="example: ctcnet export runs/first -o model.onnx",
    )
    parser.add_argument(
        "checkpoint",
        help="checkpoint (.ckpt), run folder for its best.ckpt, or name of a shipped model (./NAME is a folder)",
    )
    parser.add_argument("--panel", help="panel that a shipped model is to serve: a shipped name or a YAML file")
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
    panel = _panel(args.panel, path)
    import_extra("torch", "train")
    import_extra("onnxscript", "train")
    export = import_extra("ctcnet.export.export", "train")
    export.check_export_output(args.output, overwrite=args.overwrite)
    predictor = load_checkpoint(path) if panel is None else load_shipped(path, panel)
    result = export.export_predictor(
        predictor, args.output, opset=args.opset, input_dtype=args.input_dtype, overwrite=args.overwrite
    )
    print(
        f"wrote {result.model} ({result.model.stat().st_size / 1e6:.2f} MB), {result.card.name}, {result.readme.name}"
    )
    print(f"parity with the checkpoint over {result.parity.to_text()}")
    return 0


def _panel(name: str | None, path: Path) -> Panel | None:
    """Panel to specialise a shipped model to; None for a checkpoint, which has its own.

    Raises:
        ModelFileError: the model is neither.
        ModelPanelError: a shipped model without a panel.
        SettingError: a checkpoint with one.
    """
    if is_shipped(path):
        if name is None:
            raise panel_is_needed(path)
        return load_panel(name)
    if path.suffix != ".ckpt":
        raise ModelFileError(
            "is no checkpoint", where=path, expected="a .ckpt file, a run folder or the name of a shipped model"
        )
    if name is not None:
        raise SettingError(
            "--panel is for shipped models alone",
            where=path,
            expected="no --panel: a checkpoint has the panel that it was trained for",
            found=name,
            fix="leave --panel out",
        )
    return None
