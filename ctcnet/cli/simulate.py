"""`ctcnet simulate`: simulated crops for first runs and pre-training, simulated cartridges for trying a scan."""

from __future__ import annotations

import argparse
import math
from pathlib import Path

from ctcnet.extras import import_extra


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add the verb `simulate` with its objects `crops` and `cartridge`."""
    parser = subparsers.add_parser(
        "simulate",
        help="simulate images (synthetic, never clinical evidence)",
        description="Simulate images. Figures measured on them are never clinical evidence.",
        epilog="example: ctcnet simulate crops data/simulated --count 4000 --seed 1",
    )
    kinds = parser.add_subparsers(dest="kind", metavar="KIND", required=True)
    _add_crops(kinds)
    _add_cartridge(kinds)


def _add_crops(kinds: argparse._SubParsersAction) -> None:
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
    crops.add_argument(
        "--numerical-aperture", type=float, default=0.45, metavar="NA", help="of the objective (default: 0.45)"
    )
    crops.add_argument("--difficulty", default="standard", help="how alike the classes look (default: standard)")
    crops.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N (default: cpu)")
    crops.add_argument(
        "--effects",
        default="none",
        metavar="none|all|NAME,...",
        help="what makes real images hard, such as dense_specks,jpeg; a wrong name lists all (default: none)",
    )
    crops.add_argument("--overwrite", action="store_true", help="replace a folder that exists")
    crops.set_defaults(run=run)


def _add_cartridge(kinds: argparse._SubParsersAction) -> None:
    cartridge = kinds.add_parser(
        "cartridge",
        help="simulate the frames of a whole cartridge as a scanner writes them, with the truth beside them",
        description="Simulate a scanned cartridge: the scanner's own files, truth.parquet and simulation.json.",
        epilog="example: ctcnet simulate cartridge data/c1 --layout celltracks --frames 12 --nuclei-per-frame 420 "
        "--ctc 10 --clusters-neutrophil 4 --clusters-platelet 4 --seed 1",
    )
    add = cartridge.add_argument
    add("out", type=Path, help="folder to write")
    add("--layout", required=True, help="celltracks, bzscanner, axioscan, ome-tiff or ome-zarr")
    add("--frames", type=int, required=True, help="number of frames; full scans get the scanner's own grid")
    add("--nuclei-per-frame", type=int, required=True, help="leukocytes on the area of one frame")
    add("--seed", type=int, required=True, help="0 or more; the same seed gives the same bytes on one machine")
    add("--ctc", type=int, default=0, help="CTCs in the whole cartridge (default: 0)")
    add("--clusters-neutrophil", type=int, default=0, help="CTC-neutrophil clusters in the whole cartridge")
    add("--clusters-platelet", type=int, default=0, help="CTC-platelet clusters in the whole cartridge")
    add("--debris-per-frame", type=float, help="pieces of debris on the area of one frame (default: 3%% of the nuclei)")
    add("--panel", help="shipped name or YAML file (default: the layout's own)")
    add("--pixel-size-um", type=float, help="micrometres per pixel (default: the scanner's)")
    add("--frame-size-px", type=_size, metavar="WxH", help="width and height of the frames (default: the scanner's)")
    add("--compression", default="none", help="none, lzw or deflate (default: none)")
    add("--bit-depth", type=int, help="bits of a stored pixel, 8, 12 or 16, where the scanner has a choice")
    add("--jpeg", action="store_true", help="8-bit JPEG files without bright field (bzscanner)")
    add("--specks-per-mm2", type=float, help="density of specks of stain (default: the scanner's or drawn)")
    add("--difficulty", default="standard", help="how alike the classes look (default: standard)")
    add(
        "--channel-shift",
        type=_shift,
        action="append",
        default=[],
        metavar="MARKER=DX,DY[@FRAME,...]",
        help="a fault: displace a channel by pixels, in all frames or those named; may be given several times",
    )
    add("--overwrite", action="store_true", help="replace a folder that exists")
    cartridge.set_defaults(run=run_cartridge)


def _size(text: str) -> tuple[int, int]:
    width, _, height = text.lower().partition("x")
    if not (width.isdecimal() and height.isdecimal()):
        raise argparse.ArgumentTypeError(f"'{text}' is not of the form WIDTHxHEIGHT, such as 1384x1036")
    return int(width), int(height)


def _shift(text: str) -> tuple[str, float, float, tuple[int, ...]]:
    marker, equals, rest = text.rpartition("=")
    shift, _, frames = rest.partition("@")
    try:
        x_px, y_px = (float(value) for value in shift.split(","))
        numbers = tuple(int(value) for value in frames.split(",")) if frames else ()
    except ValueError:
        equals, x_px, y_px, numbers = "", 0.0, 0.0, ()
    if not (marker and equals and math.isfinite(x_px) and math.isfinite(y_px)):
        raise argparse.ArgumentTypeError(f"'{text}' is not of the form MARKER=DX,DY or MARKER=DX,DY@FRAME,FRAME")
    return marker, x_px, y_px, numbers


def run(args: argparse.Namespace) -> int:
    """Simulate and print where the manifest is."""
    writer = import_extra("ctcnet.simulate.crop_writer", "train")
    effects = import_extra("ctcnet.simulate.effects", "train").Effects
    manifest = writer.write_simulated_crops(
        args.out,
        count=args.count,
        seed=args.seed,
        panel=args.panel,
        groups=args.groups,
        crop_size_px=args.crop_size_px,
        pixel_size_um=args.pixel_size_um,
        numerical_aperture=args.numerical_aperture,
        difficulty=args.difficulty,
        device=args.device,
        effects=effects.from_names(args.effects),
        overwrite=args.overwrite,
    )
    print(f"wrote {manifest}: {args.count} simulated crops; no figure from them is clinical evidence")
    return 0


def run_cartridge(args: argparse.Namespace) -> int:
    """Simulate a cartridge and print what was written."""
    writer = import_extra("ctcnet.simulate.cartridge_writer", "train")
    shift = import_extra("ctcnet.simulate.field_renderer", "train").ChannelShift
    out = writer.write_simulated_cartridge(
        args.out,
        layout=args.layout,
        frames=args.frames,
        nuclei_per_frame=args.nuclei_per_frame,
        seed=args.seed,
        ctc=args.ctc,
        clusters_neutrophil=args.clusters_neutrophil,
        clusters_platelet=args.clusters_platelet,
        debris_per_frame=args.debris_per_frame,
        panel=args.panel,
        pixel_size_um=args.pixel_size_um,
        frame_size_px=args.frame_size_px,
        compression=args.compression,
        bit_depth=args.bit_depth,
        jpeg=args.jpeg,
        specks_per_mm2=args.specks_per_mm2,
        difficulty=args.difficulty,
        channel_shifts=[shift(*entry) for entry in args.channel_shift],
        overwrite=args.overwrite,
    )
    if args.clusters_platelet and not writer.shows_platelets(out):
        print("note: no channel shows platelets, so that CTC-platelet clusters look as single CTCs do")
    print(
        f"wrote {out}: {args.frames} simulated frames and {writer.TRUTH_FILE}; no figure from them is clinical evidence"
    )
    return 0
