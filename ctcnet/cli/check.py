"""`ctcnet check`: every problem of a manifest, folder or store at once."""

from __future__ import annotations

import argparse
import json
import sys

from ctcnet.resampling import DEFAULT_CROP_SIZE_PX

PLAIN_WIDTH = 140
"""Characters in a line of the table where the output is no terminal."""


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add the verb's parser."""
    parser = subparsers.add_parser(
        "check",
        help="report everything that is wrong with a manifest, a folder or a store of crops",
        description="Report every problem at once: files, channels, values, duplicates, labels, groups, pixel sizes. "
        "Exit code 1 when training would go wrong, 0 otherwise (warnings allowed).",
        epilog="example: ctcnet check crops/manifest.csv --panel ctc5 --json problems.json",
    )
    parser.add_argument("source", metavar="MANIFEST", help="manifest (.csv, .parquet), folder of crops, or store")
    parser.add_argument("--panel", metavar="P", help="shipped panel or YAML file; a store has its own")
    parser.add_argument("--labels", metavar="L", help="label schema, shipped or YAML; default: the labels found")
    parser.add_argument(
        "--pixel-size-um", type=float, metavar="U", help="um per pixel of images that do not state it themselves"
    )
    parser.add_argument(
        "--crop-size-px", type=int, default=DEFAULT_CROP_SIZE_PX, metavar="S", help="of the model; default: 64"
    )
    parser.add_argument(
        "--model-pixel-size-um",
        type=float,
        metavar="U",
        help="um per pixel of the model; default: the panel's, else the images' own",
    )
    parser.add_argument("--unlabelled", action="store_true", help="the crops are to be classified, not trained on")
    parser.add_argument("--json", metavar="FILE", help="write all findings as JSON; - for standard output, no table")
    parser.add_argument("--overwrite", action="store_true", help="replace the JSON file if it exists")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Check, print, and return the exit code."""
    from rich.console import Console

    from ctcnet.crops.check_table import print_report, report_to_dict
    from ctcnet.crops.checks import check_crops
    from ctcnet.crops.source_kind import check_not_read
    from ctcnet.labels import load_schema
    from ctcnet.output import check_not_input, check_output, new_output_file
    from ctcnet.panel import load_panel

    json_file = None if args.json in (None, "-") else str(args.json)
    if json_file is not None:
        check_output(json_file, overwrite=args.overwrite)
        check_not_read(json_file, args.source)
        check_not_input(json_file, *filter(None, (args.panel, args.labels)))
    report = check_crops(
        args.source,
        load_panel(args.panel) if args.panel else None,
        load_schema(args.labels) if args.labels else None,
        assumed_pixel_size_um=args.pixel_size_um,
        pixel_size_um=args.model_pixel_size_um,
        crop_size_px=args.crop_size_px,
        labelled=not args.unlabelled,
    )
    text = json.dumps(report_to_dict(report, args.source), indent=2) + "\n"
    if json_file is not None:
        with new_output_file(json_file, overwrite=args.overwrite) as part:
            part.write_text(text, encoding="utf-8")
    if args.json == "-":
        sys.stdout.write(text)
    else:
        console = Console(width=None if sys.stdout.isatty() else PLAIN_WIDTH)
        print_report(report, args.source, console, labelled=not args.unlabelled)
    return 1 if report.count("error") else 0
