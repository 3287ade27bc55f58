"""`ctcnet pack`: all crops of a manifest at one scale in one memory-mapped store."""

from __future__ import annotations

import argparse

from ctcnet.resampling import DEFAULT_CROP_SIZE_PX


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add the verb's parser."""
    parser = subparsers.add_parser(
        "pack",
        help="write crops into one memory-mapped store that training reads fast",
        description="Write a store: crops.npy (memory-mapped), index.parquet and store.json in one folder.",
        epilog="example: ctcnet pack crops/manifest.csv -o crops.store --panel ctc5",
    )
    parser.add_argument("source", metavar="MANIFEST", help="manifest (.csv, .parquet), folder of crops, or store")
    parser.add_argument("-o", "--output", required=True, metavar="STORE", help="folder of the new store")
    parser.add_argument("--panel", metavar="P", help="shipped panel or YAML file; a store has its own")
    parser.add_argument("--labels", metavar="L", help="label schema, shipped or YAML; default: the labels found")
    parser.add_argument("--crop-size-px", type=int, default=DEFAULT_CROP_SIZE_PX, metavar="S", help="default: 64")
    parser.add_argument(
        "--pixel-size-um", type=float, metavar="U", help="um per pixel of images that do not state it themselves"
    )
    parser.add_argument(
        "--model-pixel-size-um", type=float, metavar="U", help="um per pixel of the store; default: the images' own"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace what stands at STORE")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Pack, and say what was written."""
    from ctcnet.crops import pack_crops, read_crops
    from ctcnet.crops.source_kind import STORE_FILE
    from ctcnet.labels import load_schema
    from ctcnet.output import check_output
    from ctcnet.panel import load_panel

    check_output(args.output, overwrite=args.overwrite, made_with=STORE_FILE)
    crops = read_crops(
        args.source,
        load_panel(args.panel) if args.panel else None,
        load_schema(args.labels) if args.labels else None,
        assumed_pixel_size_um=args.pixel_size_um,
    )
    for note in crops.notes:
        print(f"note: {note}")
    out = pack_crops(
        crops,
        args.output,
        pixel_size_um=args.model_pixel_size_um,
        crop_size_px=args.crop_size_px,
        overwrite=args.overwrite,
    )
    classes = "no labels" if crops.schema is None else f"{len(crops.schema.classes)} classes"
    print(f"{out}: {len(crops)} crops, {classes}, {args.crop_size_px} px")
    return 0
