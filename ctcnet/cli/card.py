"""`ctcnet card`: what a model says about itself."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ctcnet.model_card import ModelCard
    from ctcnet.training.shipped_weights import ShippedCard


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add the verb's parser."""
    parser = subparsers.add_parser(
        "card",
        help="print the card of an ONNX file, a checkpoint or a shipped model",
        description="Print what a model says about itself: panel, classes, levels, thresholds, training data, limits. "
        "The card of a checkpoint needs torch, the others do not.",
        epilog="example: ctcnet card model.onnx --json",
    )
    parser.add_argument(
        "model", help="ONNX file, checkpoint (.ckpt), run folder or name of a shipped model (./NAME is a folder)"
    )
    parser.add_argument("--json", action="store_true", help="print the whole card as JSON")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the card."""
    import json

    card = _read(args.model)
    print(json.dumps(card.to_dict(), indent=2) if args.json else card.to_markdown().rstrip())
    return 0


def _read(model: str) -> ModelCard | ShippedCard:
    from ctcnet.cli.models import find_model, is_shipped
    from ctcnet.extras import import_extra
    from ctcnet.runtime.model_file import read_model_file
    from ctcnet.runtime.onnx_predictor import read_card
    from ctcnet.runtime.signature_file import stated_sha256
    from ctcnet.training import shipped_weights

    path: Path = find_model(model)
    if is_shipped(path):
        return shipped_weights.read_card(path.parent)
    if path.suffix == ".onnx":
        return read_card(read_model_file(path, stated_sha256(path)).properties, path)
    import_extra("torch", "train")
    checkpoint: Any = import_extra("ctcnet.training.checkpoint", "train")
    return checkpoint.card_of(checkpoint.read_checkpoint(path), path)
