"""`ctcnet scan`: cartridges and slides from frames to counted events."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from ctcnet import __version__
from ctcnet.cli.models import DEVICES, find_model, is_shipped, load_predictor, model_sha256
from ctcnet.errors import OutputError, SettingError
from ctcnet.extras import import_extra
from ctcnet.output import check_not_input
from ctcnet.panel import load_panel
from ctcnet.process_end import interruption_code
from ctcnet.runtime.session import usable_cpus


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add the verb `scan`."""
    parser = subparsers.add_parser(
        "scan",
        help="find, classify, measure and count every event of scanned cartridges or slides",
        description="Scan cartridges: one folder or file each. Writes, for each, events.parquet, counts.json, "
        "report.html, events.geojson (QuPath), csi_events.csv and quality.json, and summary.csv for all. Exit code 0 "
        "when all were scanned, 1 when some failed (summary.csv says why), 2 for bad input. For research use only.",
        epilog="example: ctcnet scan cartridges/* --model model.onnx -o results --blood-volume-ml 7.5",
    )
    add = parser.add_argument
    add("cartridges", type=Path, nargs="+", metavar="CARTRIDGE", help="folder or file of one cartridge or slide")
    model = "ONNX file, checkpoint (.ckpt), run folder or name of a shipped model (./NAME is a folder)"
    add("--model", required=True, help=model)
    add("-o", "--output", type=Path, required=True, metavar="OUT", help="folder to write, a folder per cartridge in it")
    add("--device", choices=DEVICES, default="auto", help="where to run (default: auto)")
    add("--panel", help="panel that was stained: shipped name or YAML file (default: the platform's)")
    add("--pixel-size-um", type=float, metavar="U", help="um per pixel, where the files and the platform do not say")
    add("--blood-volume-ml", type=float, metavar="V", help="blood that went into each cartridge, in mL")
    add("--layout", help="reader to use (default: chosen by what is in the folder)")
    add("--platform", help="settings of the scanner: shipped name or YAML file (default: the layout's)")
    add("--pattern", help="names of the files of a plain folder, such as {frame}_{channel}.tif")
    add("--levels", type=Path, metavar="JSON", help="background and scale to use: levels.json of a like cartridge")
    add("--threads", type=int, help="threads that work on frames (default: the number of CPUs)")
    add("--csv", action="store_true", help="write the events as CSV too")
    add("--resume", action="store_true", help="go on with a run that was cut off; finished work is kept")
    add("--overwrite", action="store_true", help="remove the results of an earlier scan in OUT first")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Scan, write, print the summary; 1 where a cartridge failed."""
    torch = import_extra("torch", "scan")
    for module in ("scipy", "matplotlib", "jinja2", "defusedxml"):
        import_extra(module, "scan")
    from ctcnet.cli.scan_panel import panel_of_cartridges
    from ctcnet.scan.detect.settings_check import check_detection_values
    from ctcnet.scan.pipeline.one_heap import use_one_heap
    from ctcnet.scan.pipeline.output_folder import check_scan_output, scan_output
    from ctcnet.scan.pipeline.scan_run import FAILED, ScanRequest, print_summary, result_names, scan_all
    from ctcnet.scan.pipeline.settings import ScanSettings, read_levels
    from ctcnet.scan.platform import load_platform
    from ctcnet.scan.readers.opening import open_cartridge, wanted_layout
    from ctcnet.scan.readers.panel_choice import LARGEST_PIXEL_UM, SMALLEST_PIXEL_UM

    use_one_heap()
    model_path = find_model(args.model)
    result_names(args.cartridges)
    _check_places(args, model_path)
    check_scan_output(args.output, resume=args.resume, overwrite=args.overwrite)
    workers = args.threads if args.threads is not None else usable_cpus()
    panel = None if args.panel is None else load_panel(args.panel)
    platform = None if args.platform is None else load_platform(args.platform)
    wanted = wanted_layout(args.layout, platform, args.pattern)
    if platform is not None:
        check_detection_values(platform.detection)
    if args.pixel_size_um is not None and not SMALLEST_PIXEL_UM < args.pixel_size_um < LARGEST_PIXEL_UM:
        raise SettingError(
            "is no pixel size of a microscope",
            where="--pixel-size-um",
            expected=f"more than {SMALLEST_PIXEL_UM:g} and less than {LARGEST_PIXEL_UM:g} um per pixel",
            found=str(args.pixel_size_um),
            fix="give what the scanner or its camera states",
        )
    levels = None if args.levels is None else read_levels(args.levels)
    served = panel
    if served is None and is_shipped(model_path):
        served = panel_of_cartridges(args.cartridges, platform, wanted)
    predictor = load_predictor(model_path, args.device, 1, served)
    digest = model_sha256(model_path, predictor.card)
    device = "cuda" if args.device != "cpu" and torch.cuda.is_available() else "cpu"
    torch.set_num_threads(1)  # each thread works on a frame of its own
    settings = ScanSettings(digest, device, workers, args.blood_volume_ml, levels, args.csv, args.pattern)
    identity = {"model_sha256": digest, "model_name": predictor.card.name, "software_version": __version__}
    identity |= {"notice": "for research use only"}
    with scan_output(args.output, identity, resume=args.resume, overwrite=args.overwrite) as out:
        request = ScanRequest(
            paths=args.cartridges,
            open=lambda path: open_cartridge(
                path,
                layout=args.layout,
                platform=args.platform,
                panel=panel,
                pixel_size_um=args.pixel_size_um,
                pattern=args.pattern,
            ),
            predictor=predictor,
            settings=settings,
            out=out,
            platform=platform,
        )
        try:
            rows = scan_all(request)
        except KeyboardInterrupt as stop:
            print("interrupted; finished work is kept: run the same command with --resume to go on", file=sys.stderr)
            return interruption_code(stop)
    print_summary(rows)
    failed = [row["cartridge"] for row in rows if row["status"] == FAILED]
    print(f"results: {args.output} ({len(rows) - len(failed)} of {len(rows)} cartridges). For research use only.")
    return 1 if failed else 0


def _check_places(args: argparse.Namespace, model_path: Path) -> None:
    """Raise OutputError where OUT is an input, or lies in one or the reverse."""
    inputs = [model_path, *args.cartridges, *([] if args.levels is None else [args.levels])]
    check_not_input(args.output, *inputs)
    out = Path(os.path.realpath(args.output))
    for path in inputs:
        if out in Path(os.path.realpath(path)).parents:
            raise OutputError(
                f"holds an input, {path}, which --overwrite would remove",
                where=args.output,
                fix="choose a folder for results alone",
            )
    for path in args.cartridges:
        if Path(os.path.realpath(path)) in out.parents:
            raise OutputError("lies inside a cartridge", where=args.output, fix="choose a folder outside it")
