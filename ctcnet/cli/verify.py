"""`ctcnet verify`: whether a model file is what it says, and answers here as it did where it was made."""

from __future__ import annotations

import argparse
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
    from ctcnet.cli.models import find_model, onnx_file
    from ctcnet.contract.signing import read_public_key
    from ctcnet.contract.verification import verify
    from ctcnet.errors import CtcnetError, MissingExtraError

    path = onnx_file(args.model)
    public_key = None if args.key is None else read_public_key(args.key)
    source = None if args.against is None else find_model(args.against)
    try:
        for name, found in verify(path, public_key):
            print(f"{name + ':':15s}{found}")
        if source is not None:
            print(f"{'parity:':15s}{_compare(path, source)}")
    except MissingExtraError:
        raise
    except CtcnetError as difference:
        print(f"FAILED: {difference}")
        return 1
    print(f"pass: {path}. For research use only.")
    return 0


def _compare(path: Path, source: Path) -> str:
    """Compare with the model that the file was made from; what was found, in words."""
    from ctcnet.cli.models import is_shipped, load_checkpoint, load_shipped
    from ctcnet.errors import ModelPanelError
    from ctcnet.extras import import_extra
    from ctcnet.runtime import OnnxPredictor

    import_extra("torch", "train")
    check_parity = import_extra("ctcnet.export.parity", "train").check_parity
    exported = OnnxPredictor(path)
    reference = load_shipped(source, exported.card.panel) if is_shipped(source) else load_checkpoint(source)
    if reference.card.panel != exported.card.panel or reference.card.labels != exported.card.labels:
        raise ModelPanelError(
            "was made from another model: panel or classes differ",
            where=path,
            expected=f"{', '.join(reference.card.panel.markers)}; {', '.join(reference.card.labels.classes)}",
            found=f"{', '.join(exported.card.panel.markers)}; {', '.join(exported.card.labels.classes)}",
        )
    return check_parity(reference, exported, path, exported.input_dtype).to_text()
