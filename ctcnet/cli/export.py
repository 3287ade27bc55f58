"""`ctcnet export`: a checkpoint or a shipped model becomes an ONNX file, and is compared with it on the spot."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from ctcnet.cli.models import find_source, is_shipped, load_checkpoint, load_shipped, panel_is_needed
from ctcnet.cli.precision import add_precision_options, check_precision, reduced_lines, reduction
from ctcnet.errors import SettingError
from ctcnet.extras import import_extra
from ctcnet.panel import Panel, load_panel

if TYPE_CHECKING:
    from ctcnet.export.precision import Reduced

DEFAULT_PLATFORM = "ome_tiff"
"""Platform of a frame graph where none is named: usual settings of the detector, no pixel size of its own."""


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add the verb `export`."""
    parser = subparsers.add_parser(
        "export",
        help="make an ONNX file from a checkpoint or a shipped model and check that both give the same answers",
        description="Make one ONNX file from a checkpoint, or from a shipped model and a panel: raw counts in, "
        "calibrated probabilities out. The file is compared with the checkpoint on the spot; where they differ, no "
        "file is left. With --int8 or --fp16 it is compared with the float32 model too.",
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
    parser.add_argument("--frame", action="store_true", help="make the graph for whole raw frames: events out")
    parser.add_argument("--pixel-size-um", type=float, help="with --frame: um per pixel of the frames")
    parser.add_argument(
        "--platform", help="with --frame: scanner whose settings are taken: a shipped name or a YAML file"
    )
    add_precision_options(parser)
    parser.add_argument("--overwrite", action="store_true", help="replace files that exist")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Export and print the worst difference."""
    _check_frame_options(args)
    path = find_source(args.checkpoint)
    panel = _panel(args.panel, path)
    check_precision(args, path)
    import_extra("torch", "train")
    import_extra("onnxscript", "train")
    export = import_extra("ctcnet.export.export", "train")
    export.check_export_output(args.output, overwrite=args.overwrite)
    if args.frame:
        return _export_frame(args, path, panel)
    predictor = load_checkpoint(path) if panel is None else load_shipped(path, panel)
    result = export.export_predictor(
        predictor,
        args.output,
        opset=args.opset,
        input_dtype=args.input_dtype,
        overwrite=args.overwrite,
        reduction=reduction(args, panel, predictor),
    )
    print(
        f"wrote {result.model} ({result.model.stat().st_size / 1e6:.2f} MB), {result.card.name}, {result.readme.name}"
    )
    print(f"parity with the checkpoint over {result.parity.to_text()}")
    _print_reduced(result.reduced)
    return 0


def _export_frame(args: argparse.Namespace, path: Path, panel: Panel | None) -> int:
    """Export the frame graph and print how it compares with the scan."""
    import_extra("scipy", "train")
    export = import_extra("ctcnet.export.frame_export", "train")
    from ctcnet.scan.platform import load_platform

    platform = load_platform(args.platform or DEFAULT_PLATFORM)
    predictor = load_checkpoint(path) if panel is None else load_shipped(path, panel)
    size_um = export.frame_pixel_size_um(args.pixel_size_um, platform, predictor.card)
    result = export.export_frame_graph(
        predictor,
        args.output,
        platform=platform,
        pixel_size_um=size_um,
        overwrite=args.overwrite,
        reduction=reduction(args, panel, predictor),
    )
    print(
        f"wrote {result.model} ({result.model.stat().st_size / 1e6:.2f} MB), {result.card.name}, {result.readme.name}"
    )
    print(f"for frames of {size_um:g} um per pixel; parity with the scan: {result.parity.to_text()}")
    _print_reduced(result.reduced)
    return 0


def _print_reduced(reduced: Reduced | None) -> None:
    """Print what the gate of another precision found, if there is one."""
    if reduced is not None:
        for line in reduced_lines(reduced):
            print(line)


def _check_frame_options(args: argparse.Namespace) -> None:
    """Refuse options of one graph for the other.

    Raises:
        SettingError: such an option is there.
    """
    given = [name for name in ("pixel_size_um", "platform") if getattr(args, name) is not None]
    if given and not args.frame:
        raise SettingError("is for the frame graph alone", where=f"--{given[0].replace('_', '-')}", fix="add --frame")
    if args.frame and args.input_dtype != "uint16":
        raise SettingError("a frame graph takes raw uint16 frames", where="--input-dtype", found=args.input_dtype)
    if args.frame and args.opset != 18:
        raise SettingError("a frame graph is written at opset 18", where="--opset", found=str(args.opset))


def _panel(name: str | None, path: Path) -> Panel | None:
    """Panel to specialise a shipped model to; None for a checkpoint, which has its own.

    Raises:
        ModelPanelError: a shipped model without a panel.
        SettingError: a checkpoint with one.
    """
    if is_shipped(path):
        if name is None:
            raise panel_is_needed(path)
        return load_panel(name)
    if name is not None:
        raise SettingError(
            "--panel is for shipped models alone",
            where=path,
            expected="no --panel: a checkpoint has the panel that it was trained for",
            found=name,
            fix="leave --panel out",
        )
    return None
