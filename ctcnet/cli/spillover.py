"""`ctcnet spillover`: how much of each channel's signal shows in the others, from single-stain images."""

from __future__ import annotations

import argparse


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add the verb's parser."""
    parser = subparsers.add_parser(
        "spillover",
        help="estimate the spectral spillover between channels from single-stain images",
        description="Write a 'spillover' mapping for a platform file, from images in which one marker is stained. "
        "Images hold all channels of the panel, unstretched.",
        epilog="example: ctcnet spillover --panel ctc5 CK=ck_only.ome.tif CD45=cd45_only.ome.tif -o spillover.yaml",
    )
    parser.add_argument(
        "images", nargs="+", metavar="MARKER=IMAGE", help="an image in which MARKER alone is stained; may be repeated"
    )
    parser.add_argument("--panel", required=True, metavar="P", help="shipped panel or YAML file")
    parser.add_argument("-o", "--output", required=True, metavar="YAML", help="file to write")
    parser.add_argument("--overwrite", action="store_true", help="replace what stands at YAML")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Estimate, write, and say what was found."""
    from pathlib import Path

    from ctcnet.crops.image_file import read_image
    from ctcnet.extras import import_extra
    from ctcnet.output import check_not_input, check_output, new_output_file
    from ctcnet.panel import load_panel

    estimate = import_extra("ctcnet.scan.preprocess.spillover_estimate", "scan")
    panel = load_panel(args.panel)
    files = [(_marker(word, panel.markers), Path(word.partition("=")[2])) for word in args.images]
    check_output(args.output, overwrite=args.overwrite)
    check_not_input(args.output, *(path for _, path in files))
    images: dict[str, list] = {}
    for marker, path in files:
        images.setdefault(marker, []).append(read_image(path, panel).pixels)
    estimates = estimate.estimate_spillover(images, panel)
    with new_output_file(args.output, overwrite=args.overwrite) as part:
        part.write_text(estimate.spillover_yaml(estimates), encoding="utf-8")
    for source, targets in estimates.items():
        for target, found in targets.items():
            word = "" if found.is_above_zero else " (none found)"
            print(f"{source} in {target}: {found.share:.4f} ({found.low:.4f} to {found.high:.4f}){word}")
    print(f"{args.output}: paste it into a platform file")
    return 0


def _marker(word: str, markers: tuple[str, ...]) -> str:
    """The panel's marker that a word MARKER=IMAGE names."""
    from ctcnet.errors import SettingError

    name, sign, path = word.partition("=")
    known = {marker.casefold(): marker for marker in markers}
    if not sign or not path or name.casefold() not in known:
        raise SettingError(
            f"cannot tell the stained marker of '{word}'",
            expected=f"MARKER=IMAGE with one of: {', '.join(markers)}",
            fix="write for instance CK=ck_only.ome.tif",
        )
    return known[name.casefold()]
