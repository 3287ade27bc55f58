"""`ctcnet rates`: sensitivity and false calls of an evaluation written into a model file, for scans to count by."""

from __future__ import annotations

import argparse
from pathlib import Path

from ctcnet.extras import import_extra


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add the verb's parser."""
    parser = subparsers.add_parser(
        "rates",
        help="write a model's measured sensitivity and false calls into its file, so that scans correct their counts",
        description="Write a copy of an ONNX file whose card states the sensitivity and the false calls per event of "
        "each class that an evaluation of this very file measured, with their exact intervals. A scan with the copy "
        "gives corrected counts beside the uncorrected ones. Refused is an evaluation by which a scan may not correct: "
        "of another file, of groups that the model saw, at another prior, with levels other than a scan's, or of too "
        "few events. The graph stays as it is, and the copy is verified; a signature of the original does not hold for "
        "it.",
        epilog="example: ctcnet evaluate mine.onnx labelled.csv -o evaluation && ctcnet rates mine.onnx evaluation "
        "--cells real -o mine_rates.onnx",
    )
    add = parser.add_argument
    add("model", type=Path, metavar="MODEL.onnx", help="file written by ctcnet export")
    add("evaluation", type=Path, metavar="EVALUATION", help="folder that ctcnet evaluate wrote about this file")
    add("-o", "--output", type=Path, required=True, metavar="RATED.onnx", help="file to write")
    cells = "what the cells of the evaluation are, where its data do not say so (those of ctcnet simulate do)"
    add("--cells", choices=("real", "simulated"), help=cells)
    add("--overwrite", action="store_true", help="replace files that exist")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Check the evaluation, write the copy and say what it states."""
    from dataclasses import replace

    from ctcnet.cli.models import onnx_file
    from ctcnet.runtime.model_file import read_model_file
    from ctcnet.runtime.onnx_predictor import read_card
    from ctcnet.runtime.signature_file import signature_path, stated_sha256

    path = onnx_file(args.model)
    import_extra("scipy", "train")
    import_extra("torch", "train")
    import_extra("onnxscript", "train")
    rates_from_evaluation = import_extra("ctcnet.evaluation.stated_rates", "train").rates_from_evaluation
    write_with_card = import_extra("ctcnet.export.card_exchange", "train").write_with_card
    file = read_model_file(path, stated_sha256(path))
    card = read_card(file.properties, path)
    rates = rates_from_evaluation(args.evaluation, card, file.sha256, args.cells)
    steps = write_with_card(path, replace(card, rates=rates), args.output, overwrite=args.overwrite)
    for name, found in steps:
        print(f"{name + ':':15s}{found}")
    call_lines = import_extra("ctcnet.evaluation.call_counts", "train").call_lines
    for line in call_lines(rates.to_dict()):
        print(line)
    print(f"measured on {rates.cells_text}, {rates.groups} groups, data sha256 {rates.data_sha256[:16]}...")
    print(f"wrote {args.output}, its card and its README. For research use only.")
    if signature_path(path).exists():
        print(f"note: the signature of {path.name} does not hold for it: sign it with ctcnet sign")
    return 0
