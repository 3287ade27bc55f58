"""`ctcnet evaluate`: judge a model on labelled crops of groups that it never saw."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from ctcnet.cli.leave_out import LeaveOneOut
from ctcnet.cli.models import DEVICES, find_model, load_predictor, model_sha256, panel_of_images, served_panel
from ctcnet.errors import LabelError, SettingError
from ctcnet.extras import import_extra
from ctcnet.labels import LabelSchema, load_schema
from ctcnet.output import check_output, new_output_dir

if TYPE_CHECKING:
    from ctcnet.evaluation.evaluation_run import Evaluation

_EXAMPLE = "example: ctcnet evaluate run/best.ckpt crops/manifest.csv --split test -o evaluation"

LEAST_RESAMPLES = 40
"""Fewer have no 2.5 % quantile: the interval would be that of the smallest and the largest."""


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add the verb and its options."""
    parser = subparsers.add_parser(
        "evaluate",
        help="judge a model on labelled crops: figures with intervals and a report",
        description="Write metrics.json, predictions.parquet and report.html. Fits nothing. Groups that the model saw "
        "in training or validation are left out.",
        epilog=_EXAMPLE,
    )
    add = parser.add_argument
    model = "checkpoint (.ckpt), run folder, ONNX file or name of a shipped model (./NAME is a folder)"
    add("model", metavar="MODEL", help=model)
    add("manifest", type=Path, metavar="MANIFEST", help="manifest, packed store or folder of class folders")
    add("-o", "--output", type=Path, required=True, metavar="OUT", help="folder to write")
    panel = "panel of the images: shipped name or YAML file (default: a store's own, else the model's; a shipped model "
    add("--panel", help=panel + "has none)")
    add("--labels", help="label schema with the roll-ups to report: shipped name or YAML file (default: the model's)")
    add("--pixel-size-um", type=float, help="um per pixel of images that do not state it")
    add("--split", choices=("train", "val", "test"), default="", help="only crops of this split of the manifest")
    add("--include-seen", action="store_true", help="keep groups that the model saw; figures are flagged as too good")
    add("--leave-out", choices=("batch",), help="train anew on all batches but one, in turn, and judge on that one")
    add("--prior", help="restate probabilities: class=value,... for every class, or contains_ctc=1e-5")
    add("--levels", choices=("auto", "model", "per_crop"), default="auto", help="where background and scale come from")
    add("--device", choices=DEVICES, default="auto", help="where to run (default: auto)")
    add("--batch-size", type=int, help="largest number of crops at once (default: 64 on a CPU, else 1024)")
    intervals = "resamples over groups for 95 %% intervals (default: 1000; 0 for none)"
    add("--bootstrap", type=int, default=1000, metavar="N", help=intervals)
    add("--seed", type=int, default=0, help="of the bootstrap (default: 0)")
    add("--overwrite", action="store_true", help="replace an evaluation that exists")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the verb; 0 when the report is written."""
    for module in ("scipy", "matplotlib", "jinja2"):
        import_extra(module, "train")
    from ctcnet.crops import read_crops
    from ctcnet.evaluation.evaluation_run import METRICS_FILE, EvaluationSettings, evaluate_crops, write_evaluation
    from ctcnet.evaluation.leave_out import batches_to_leave_out, evaluate_left_out

    if args.bootstrap != 0 and args.bootstrap < LEAST_RESAMPLES:
        raise SettingError(
            "resamples are too few for a 95 % interval",
            where="--bootstrap",
            expected=f"{LEAST_RESAMPLES} or more, or 0 for no intervals",
            found=str(args.bootstrap),
        )
    if args.batch_size is not None and args.batch_size < 1:
        raise SettingError("is below 1", where="--batch-size", found=str(args.batch_size))
    if args.seed < 0:
        raise SettingError("--seed is negative", expected="0 or more", found=str(args.seed))
    check_output(args.output, overwrite=args.overwrite, made_with=METRICS_FILE)
    settings = EvaluationSettings(
        args.split, args.include_seen, args.prior, args.levels, args.batch_size, args.bootstrap, args.seed, "evaluating"
    )
    model_path = find_model(args.model)
    served = served_panel(model_path, args.panel, args.manifest)
    predictor = load_predictor(model_path, args.device, panel=served)
    schema = schema_for(predictor.card.labels, args.labels)
    panel = panel_of_images(args.panel, args.manifest, predictor.card)
    crops = read_crops(args.manifest, panel, schema, assumed_pixel_size_um=args.pixel_size_um, labelled=True)
    for note in crops.notes:
        print(f"note: {note}")
    digest = model_sha256(model_path, predictor.card)
    with new_output_dir(args.output, overwrite=args.overwrite, made_with=METRICS_FILE) as folder:
        if args.leave_out is None:
            evaluation = evaluate_crops(predictor, crops, schema, settings, source=args.manifest, model_sha256=digest)
        else:
            batches_to_leave_out(crops)
            (folder / "leave_out").mkdir()
            train = LeaveOneOut(
                predictor.card, args.manifest, crops.panel, args.pixel_size_um, folder / "leave_out", args.device
            )
            evaluation = evaluate_left_out(
                train, crops, schema, settings, card=predictor.card, source=args.manifest, model_sha256=digest
            )
        write_evaluation(evaluation, folder)
    print_headlines(evaluation, args.output)
    return 0


def schema_for(model_schema: LabelSchema, name: str | None) -> LabelSchema:
    """The model's classes in the model's order, with the roll-ups and hierarchy of the schema asked for.

    Raises:
        LabelError: the schema's classes are not the model's.
    """
    if name is None:
        return model_schema
    asked = load_schema(name)
    if set(asked.classes) != set(model_schema.classes):
        raise LabelError(
            "the schema's classes are not the model's",
            where=name,
            expected=", ".join(model_schema.classes),
            found=", ".join(asked.classes),
            fix="give the schema that the model was trained with",
        )
    return LabelSchema(asked.name, model_schema.classes, asked.parents, asked.rollups)


def print_headlines(evaluation: Evaluation, output: Path) -> None:
    """Print the headline figures with their intervals, what limits them, and where the report is."""
    from rich.console import Console
    from rich.table import Table

    from ctcnet.evaluation.call_counts import call_lines
    from ctcnet.evaluation.report import HEADLINES, format_figure, format_interval

    metrics = evaluation.metrics
    title = f"{metrics['crops']} crops of {metrics['groups']} groups" + (", simulated" if metrics["simulated"] else "")
    table = Table("figure", "value", "95 % interval", title=title, title_justify="left")
    for key, name, _ in HEADLINES:
        table.add_row(name, format_figure(metrics[key]), format_interval(metrics["intervals"][key]) or "none")
    for name, row in metrics["per_class"].items():
        interval = format_interval(metrics["intervals"]["per_class"][name]["f1"]) or "none"
        table.add_row(f"F1 {name} ({row['support']})", format_figure(row["f1"]), interval)
    table.add_row("Unassigned", f"{100 * metrics['unassigned']['fraction']:.1f} %", "")
    Console().print(table)
    if "contains_ctc" in metrics:
        print("Calls as a scan counts them, exact 95 % intervals:")
        for line in call_lines(metrics["contains_ctc"]["as_counted"]):
            print(f"  {line}")
    if metrics["includes_seen_groups"]:
        print("CAUTION: groups that the model saw in training or validation are included; the figures are too good.")
    if metrics["prior"]["restated"]:
        print("The figures are those of probabilities restated by --prior, on crops of this set's own mix of classes.")
    if metrics["seen_groups_left_out"]:
        print(f"{metrics['seen_groups_left_out']} groups that the model saw were left out.")
    if metrics["data"]["groups_are_file_names"] and not metrics["leave_out"]:
        print("note: the groups are file names, so that whether the model saw these cells or patients is not known")
    for reason in (metrics["intervals_method"].get("reason"), metrics["intervals_method"].get("note")):
        if reason:
            print(f"intervals: {reason}")
    print(f"report: {output / 'report.html'} (for research use only)")
