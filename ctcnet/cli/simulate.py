"""`ctcnet simulate crops`: simulated crops with their manifest, for first runs, tests and pre-training."""

from __future__ import annotations

import argparse
from pathlib import Path

from ctcnet.extras import import_extra


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add the verb `simulate` with its object `crops`."""
    parser = subparsers.add_parser(
        "simulate",
        help="simulate images (synthetic, never clinical evidence)",
        description="Simulate images. Figures measured on them are never clinical evidence.",
        epilog="example: ctcnet simulate crops data/simulated --count 4000 --seed 1",
    )
    kinds = parser.add_subparsers(dest="kind", metavar="KIND", required=True)
    crops = kinds.add_parser(
        "crops",
        help="simulate labelled crops of the five classes with their manifest",
        description="Simulate labelled crops of the five classes: TIFF files, manifest.csv and simulation.json.",
        epilog="example: ctcnet simulate crops data/simulated --count 4000 --seed 1 --panel ctc5",
    )
    crops.add_argument("out", type=Path, help="folder to write")
    crops.add_argument("--count", type=int, required=True, help="number of crops")
    crops.add_argument("--seed", type=int, required=True, help="0 or more; the same seed gives the same bytes on a CPU")
    crops.add_argument("--panel", default="ctc5", help="shipped name or YAML file (default: ctc5)")
    crops.add_argument("--groups", type=int, help="number of patients (default: grows with the count)")
    crops.add_argument("--crop-size-px", type=int, default=64, help="side of the crops (default: 64)")
    crops.add_argument("--pixel-size-um", type=float, help="micrometres per pixel (default: the panel's, else 0.5)")
    crops.add_argument("--difficulty", default="standard", help="how alike the classes look (default: standard)")
    crops.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N (default: cpu)")
    crops.add_argument("--overwrite", action="store_true", help="replace a folder that exists")
    crops.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Simulate and print where the manifest is."""
    writer = import_extra("ctcnet.simulate.crop_writer", "train")
    manifest = writer.write_simulated_crops(
        args.out,
        count=args.count,
        seed=args.seed,
        panel=args.panel,
        groups=args.groups,
        crop_size_px=args.crop_size_px,
        pixel_size_um=args.pixel_size_um,
        difficulty=args.difficulty,
        device=args.device,
        overwrite=args.overwrite,
    )
    print(f"wrote {manifest}: {args.count} simulated crops; no figure from them is clinical evidence")
    return 0
