"""`ctcnet classify`: a table of classes and probabilities for crops."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from ctcnet.cli.models import DEVICES, find_model, load_predictor, model_sha256, panel_of_images, served_panel
from ctcnet.errors import SettingError
from ctcnet.model_card import ModelCard
from ctcnet.output import check_not_input, check_output


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add the verb `classify`."""
    parser = subparsers.add_parser(
        "classify",
        help="classify crops with an ONNX file, a checkpoint or a shipped model",
        description="Classify every crop of a manifest, a folder or a store and write one row for each: path, label, "
        "p_<class>, entropy (nats), unassigned, levels, atypicality; also set and review where the model has conformal "
        "sets. The p_<class> of a crop add up to 1; that of a class which the panel cannot tell is always 0, since its "
        "probability is in that of the class which it is called, and the printed counts leave it out. An ONNX file "
        "needs no torch. A shipped model is specialised to the panel first, in some seconds.",
        epilog="example: ctcnet classify model.onnx crops/ -o predictions.parquet --panel ctc5",
    )
    parser.add_argument(
        "model", help="ONNX file, checkpoint (.ckpt), run folder or name of a shipped model (./NAME is a folder)"
    )
    parser.add_argument("input", type=Path, help="manifest (.csv, .parquet), folder searched through, or packed store")
    parser.add_argument(
        "-o", "--output", type=Path, required=True, metavar="TABLE", help="table to write: .parquet or .csv"
    )
    parser.add_argument(
        "--panel",
        help="panel of the images: a shipped name or a YAML file (default: a store's own, else the model's; a shipped "
        "model has none)",
    )
    parser.add_argument(
        "--pixel-size-um", type=float, help="micrometres per pixel of the images, where nothing else states it"
    )
    parser.add_argument(
        "--levels",
        choices=("auto", "model", "per_crop"),
        default="auto",
        help="background and scale: the cartridge's where stated (auto), the model's own, or each crop's by itself",
    )
    parser.add_argument("--device", choices=DEVICES, default="auto", help="where to run (default: auto)")
    parser.add_argument(
        "--batch-size", type=int, help="largest number of crops at once (default: 64 on a CPU, else 1024)"
    )
    parser.add_argument("--threads", type=int, help="threads of the CPU (default: all; a checkpoint: as torch chooses)")
    parser.add_argument("--overwrite", action="store_true", help="replace a table that exists")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Classify, write the table and print how many crops fell to each class."""
    from ctcnet.cli.prediction_table import ENDINGS, prediction_table, table_metadata, write_table
    from ctcnet.crops import read_crops
    from ctcnet.crops.source_kind import check_not_read
    from ctcnet.runtime import classify_crops

    if args.output.suffix not in ENDINGS:
        raise SettingError(
            "output is no table", where=args.output, expected=" or ".join(ENDINGS), found=args.output.suffix or "none"
        )
    model_path = find_model(args.model)
    check_output(args.output, overwrite=args.overwrite)
    check_not_input(args.output, model_path)
    check_not_read(args.output, args.input)
    served = served_panel(model_path, args.panel, args.input)
    predictor = load_predictor(model_path, args.device, args.threads, served)
    panel = panel_of_images(args.panel, args.input, predictor.card)
    crops = read_crops(args.input, panel, assumed_pixel_size_um=args.pixel_size_um, labelled=False)
    for note in crops.notes:
        print(f"note: {note}")
    predictions, levels = classify_crops(
        predictor, crops, levels=args.levels, batch_size=args.batch_size, progress="classifying, in batches"
    )
    table = prediction_table(crops.path, predictions, levels, predictor.card)
    metadata = table_metadata(model_sha256(model_path, predictor.card), predictor.card, crops.panel)
    write_table(table.replace_schema_metadata(metadata), args.output, overwrite=args.overwrite)
    for line in class_lines(table["label"].to_pylist(), predictor.card):
        print(line)
    print(f"{'unassigned (whatever class)':30s} {int(predictions.unassigned.sum()):8d}")
    if "review" in table.column_names:
        print(f"{'of these for review':30s} {sum(table['review'].to_pylist()):8d}")
    print(f"wrote {args.output}: {table.num_rows} crops. For research use only.")
    return 0


def class_lines(labels: Sequence[str], card: ModelCard) -> list[str]:
    """One line per class: how many crops were called it, or that the panel cannot tell it."""
    counts, folded = Counter(labels), card.folded or {}
    return [
        f"{name:30s} not told on this panel: called {folded[name]}"
        if name in folded
        else f"{name:30s} {counts[name]:8d}"
        for name in card.labels.classes
    ]
