"""`ctcnet verify`: whether a model file is what it says, and answers here as it did where it was made."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add the verb's parser."""
    parser = subparsers.add_parser(
        "verify",
        help="check that an exported file is whole, says what it holds, and gives its stored answers here",
        description="Check an exported file: its form, operators and size, its signature, each of its metadata "
        "properties, and its answers to the golden sample that it holds. Exit code 0 where all is as it should be, 1 "
        "at the first difference. Needs no torch without --against.",
        epilog="example: ctcnet verify model.onnx --key laboratory.pub.pem",
    )
    parser.add_argument("model", type=Path, metavar="MODEL.onnx", help="file written by ctcnet export")
    parser.add_argument(
        "--against",
        metavar="CHECKPOINT",
        help="compare also with a checkpoint (.ckpt), a run folder, or a shipped model's name (for the file's panel)",
    )
    parser.add_argument("--key", type=Path, metavar="PUBLIC.pem", help="the file must be signed by this key")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Check step by step and print what was found."""
    from ctcnet.cli.models import find_source, onnx_file
    from ctcnet.contract.signing import read_public_key
    from ctcnet.contract.verification import verify

    path = onnx_file(args.model)
    public_key = None if args.key is None else read_public_key(args.key)
    source = None if args.against is None else find_source(args.against)
    if not _passes(verify(path, public_key)):
        return 1
    if source is not None:
        _check_comparable(path)
        if not _passes(_parity(path, source)):
            return 1
    print(f"pass: {path}. For research use only.")
    return 0


def _passes(steps: Iterator[tuple[str, str]]) -> bool:
    """Print what each step found; whether none failed."""
    from ctcnet.errors import CtcnetError, MissingExtraError

    try:
        for name, found in steps:
            print(f"{name + ':':15s}{found}")
    except MissingExtraError:
        raise
    except CtcnetError as difference:
        print(f"FAILED: {difference}")
        return False
    return True


def _check_comparable(path: Path) -> None:
    """Raise SettingError where a file cannot be compared with its checkpoint.

    A model of reduced precision answers otherwise; a frame graph that was made for a platform of the user's own is
    compared with a scan for that platform, of which the file has no more than the name.
    """
    from ctcnet.errors import SettingError
    from ctcnet.resources import resource_dir
    from ctcnet.runtime.model_file import read_model_file
    from ctcnet.runtime.onnx_predictor import read_card

    properties = read_model_file(path).properties
    names = sorted(file.stem for file in (resource_dir("configs") / "platforms").glob("*.yaml"))
    if properties.get("platform", names[0]) not in names:
        raise SettingError(
            "--against compares frame graphs of shipped platforms alone",
            where=path,
            expected=f"a platform among {', '.join(names)}",
            found=properties["platform"],
            fix="leave --against out: this file was compared with the scan when it was made",
        )
    precision = read_card(properties, path).precision
    if precision != "float32":
        raise SettingError(
            "--against compares models in float32 alone",
            where=path,
            found=precision,
            fix="leave --against out: this file was compared with the float32 model when it was made",
        )


def _parity(path: Path, source: Path) -> Iterator[tuple[str, str]]:
    """Compare with the model that the file was made from; gives what was found, in words."""
    from ctcnet.cli.models import is_shipped, load_checkpoint, load_shipped
    from ctcnet.errors import ModelPanelError
    from ctcnet.extras import import_extra
    from ctcnet.runtime import FramePredictor, OnnxPredictor
    from ctcnet.runtime.model_file import read_model_file

    import_extra("torch", "train")
    is_frame = read_model_file(path).properties["graph"] == "frame"
    exported = FramePredictor(path) if is_frame else OnnxPredictor(path)
    reference = load_shipped(source, exported.card.panel) if is_shipped(source) else load_checkpoint(source)
    if reference.card.panel != exported.card.panel or reference.card.labels != exported.card.labels:
        raise ModelPanelError(
            "was made from another model: panel or classes differ",
            where=path,
            expected=f"{', '.join(reference.card.panel.markers)}; {', '.join(reference.card.labels.classes)}",
            found=f"{', '.join(exported.card.panel.markers)}; {', '.join(exported.card.labels.classes)}",
        )
    if isinstance(exported, FramePredictor):
        check_file = import_extra("ctcnet.export.frame_parity", "train").check_frame_file
        yield "parity", check_file(reference, exported, path).to_text()
    else:
        check_parity = import_extra("ctcnet.export.parity", "train").check_parity
        yield "parity", check_parity(reference, exported, path, exported.input_dtype).to_text()
