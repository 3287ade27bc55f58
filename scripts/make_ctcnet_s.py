"""Make the shipped model `ctcnet-s` again: simulation alone, no file of cells is read. For research use only.

    python scripts/make_ctcnet_s.py --out models/ctcnet-s

Three networks are trained on a stream of simulated crops of random panels. What they start from sees crops normalised
with the levels of their cartridge: freely, then with bounded activations, then thrice with weights in a narrow range as
well (both for INT8). Of those that are shipped, two are taught by what the network they start from answers when it
looks at each crop from eight sides: one for panels with a platelet marker, and, from the last, one for panels without.
The third is for crops normalised each by itself (display merges). At last the model is specialised to the five-colour
and the CellSearch panel and exported. A GPU is used where there is one.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import time
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, replace
from datetime import date
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

import ctcnet
from ctcnet.errors import OutputError
from ctcnet.export.export import export_predictor
from ctcnet.labels import load_schema
from ctcnet.networks.bounded_relu import UNBOUNDED
from ctcnet.output import check_output, new_output_dir
from ctcnet.panel import Panel, load_panel
from ctcnet.pretrained.calibration import WHEN_MADE, Calibration, calibrate
from ctcnet.pretrained.eight_views import EightViews
from ctcnet.pretrained.specialise import check_panel, mode_for, panel_network, specialise
from ctcnet.pretrained.stored_calibrations import write_calibrations
from ctcnet.pretrained.stream_training import train_on_stream
from ctcnet.pretrained.universal_module import UniversalSettings
from ctcnet.pretrained.universal_network import BACKBONE
from ctcnet.simulate.composition import CLASSES
from ctcnet.simulate.crop_stream import StreamSettings, class_frequencies
from ctcnet.simulate.effects import Effects
from ctcnet.training.optimizer import OptimizerSettings
from ctcnet.training.shipped_weights import CARD_FILE, WITH_PLATELET, ShippedModel, write_shipped

PANELS = ("ctc5", "cellsearch4", "hdsca4", "bzscanner", "axioscan", "rarecyte6", "sarcoma", "imaging_flow", "rgb_merge")
"""Shipped panels that half of the stream shows."""
EXPORTED = {"model.onnx": "ctc5", "model_cellsearch4.onnx": "cellsearch4"}
PAGE = "README.md"
CROP_SIZE_PX, PIXEL_SIZE_UM = 64, 0.6
STAGES = ("unbounded", "bounded", "per_crop", "narrow", "cartridge", "longer", "platelet", "no_platelet")
"""Trainings in the order of their seeds; 'per_crop', 'longer' and 'platelet' start from the weights of 'cartridge'."""
WEIGHT_RANGE = 3.5
"""Root mean squares of a filter that its largest weight may be; of weights at random it is three."""


def stream_settings(stage: str) -> StreamSettings:
    """What the network of a stage is trained on.

    Display merges are always normalised one by one, and half of what that stage sees of shipped panels. Of the last two
    one sees panels with a platelet marker, which never loses a channel, and the other those without.
    """
    names = [name for name in PANELS if name != "rgb_merge"]
    if stage == "per_crop":
        names += ["rgb_merge"] * len(names)
    panels = [load_panel(name) for name in names]
    settings = StreamSettings(tuple(panels), CROP_SIZE_PX, PIXEL_SIZE_UM, per_crop=stage == "per_crop")
    if stage not in ("platelet", "no_platelet"):
        return settings
    platelet = stage == "platelet"
    chosen = tuple(panel for panel in panels if ("platelet" in panel.roles) == platelet)
    return replace(settings, panels=chosen, platelet=platelet, drop_share=0.0 if platelet else settings.drop_share)


class Trained(NamedTuple):
    """A finished network.

    Attributes:
        weights: moving average of its weights.
        record: settings it was trained with, minutes and hardware.
    """

    weights: dict[str, Tensor]
    record: dict[str, Any]


def train(
    args: argparse.Namespace,
    stage: str,
    settings: UniversalSettings,
    start: Trained | None,
    teacher: Trained | None = None,
) -> Trained:
    """Train one of `STAGES`; what `args.work` holds already is taken as is, if it was trained with these settings."""
    seed = len(STAGES) * args.seed + STAGES.index(stage)
    workers = 0 if torch.cuda.is_available() else args.workers
    stream = stream_settings(stage)
    recipe = {"seed": seed, "workers": workers, "effects": list(Effects.all().names)}
    recipe |= {"network": asdict(settings), "stream": asdict(stream), "start": start and start.record["recipe"]}
    recipe["teacher"] = teacher and teacher.record["recipe"]
    recipe = json.loads(json.dumps(recipe))
    weights_file, record_file = (args.work / f"{stage}{ending}" for ending in (".safetensors", ".json"))
    if weights_file.is_file() and record_file.is_file():
        record = json.loads(record_file.read_text(encoding="utf-8"))
        if record["recipe"] != recipe:
            raise SystemExit(f"{weights_file} was trained with other settings: remove it, or give another --work")
        return Trained(load_file(weights_file), record)
    started = time.monotonic()
    first = None if start is None else start.weights
    views = None if teacher is None else EightViews(teacher.weights)
    weights = train_on_stream(settings, stream, seed, workers, first, views)
    record = {"recipe": recipe, "minutes": round((time.monotonic() - started) / 60, 1), "hardware": hardware()}
    args.work.mkdir(parents=True, exist_ok=True)
    save_file(weights, weights_file)
    record_file.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    return Trained(weights, record)


def hardware() -> str:
    """Processor or GPU and the number of CPUs."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    names = [
        line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line
    ]
    cpus = len(os.sched_getaffinity(0))
    return f"{names[0] if names else platform.processor()}, {cpus} CPU{'' if cpus == 1 else 's'}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of the model, replaced but for README.md")
    parser.add_argument(
        "--work",
        type=Path,
        default=Path("runs/ctcnet-s"),
        help="folder of finished networks; one that is there is not trained again",
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=16000, help="of the first network, without bounds")
    parser.add_argument("--bounded-steps", type=int, default=4000, help="of the same with bounded activations")
    parser.add_argument(
        "--narrow-steps", type=int, default=12000, help="of the same with weights in a narrow range too"
    )
    parser.add_argument("--last-steps", type=int, default=6000, help="once more so, from the highest learning rate on")
    parser.add_argument(
        "--longer-steps", type=int, default=12000, help="and once more for panels without a platelet marker"
    )
    parser.add_argument("--no-platelet-steps", type=int, default=5000, help="of the network without platelet markers")
    parser.add_argument("--platelet-steps", type=int, default=6000, help="of the network for panels with one")
    parser.add_argument("--per-crop-steps", type=int, default=2500, help="of the network for lone crops")
    parser.add_argument("--workers", type=int, default=1, help="processes that simulate, where there is no GPU")
    parser.add_argument("--threads", type=int, default=1, help="threads that train")
    args = parser.parse_args()
    try:
        check_output(args.out, overwrite=True, made_with=CARD_FILE)
    except OutputError as error:
        parser.error(str(error))
    torch.set_num_threads(args.threads)
    networks = train_all(args)
    shipped = {"cartridge": "no_platelet", WITH_PLATELET: "platelet", "per_crop": "per_crop"}
    weights = {mode: networks[stage].weights for mode, stage in shipped.items()}
    install(args.out, card_fields(args, networks), weights, args.workers + args.threads)


def train_all(args: argparse.Namespace) -> dict[str, Trained]:
    """The network of each of `STAGES`."""
    further = OptimizerSettings(1e-3, warmup_epochs=1.0)
    narrow = UniversalSettings(args.narrow_steps, weight_range=WEIGHT_RANGE, optimizer=further)
    found: dict[str, Trained] = {}
    found["unbounded"] = train(args, "unbounded", UniversalSettings(args.steps, activation_limit=UNBOUNDED), None)
    bounded = UniversalSettings(args.bounded_steps, optimizer=further)
    found["bounded"] = train(args, "bounded", bounded, found["unbounded"])
    found["narrow"] = train(args, "narrow", narrow, found["bounded"])
    first = found["cartridge"] = train(args, "cartridge", replace(narrow, steps=args.last_steps), found["narrow"])
    found["per_crop"] = train(args, "per_crop", replace(narrow, steps=args.per_crop_steps), first)
    found["platelet"] = train(args, "platelet", replace(narrow, steps=args.platelet_steps), first, teacher=first)
    longer = found["longer"] = train(args, "longer", replace(narrow, steps=args.longer_steps), first)
    settings = replace(narrow, steps=args.no_platelet_steps)
    found["no_platelet"] = train(args, "no_platelet", settings, longer, teacher=longer)
    return found


def card_fields(args: argparse.Namespace, networks: Mapping[str, Trained]) -> dict[str, Any]:
    """Fields of the model's card without hashes."""
    steps = args.steps + args.bounded_steps + args.narrow_steps + args.last_steps
    steps += args.longer_steps + args.no_platelet_steps + args.platelet_steps
    stream = stream_settings("cartridge")
    used = stream.parts * stream.part_crops / stream.uses
    training: dict[str, Any] = {
        "command": f"python scripts/make_ctcnet_s.py --out models/ctcnet-s --seed {args.seed} --steps {args.steps} "
        f"--bounded-steps {args.bounded_steps} --narrow-steps {args.narrow_steps} --last-steps {args.last_steps} "
        f"--longer-steps {args.longer_steps} --no-platelet-steps {args.no_platelet_steps} "
        f"--platelet-steps {args.platelet_steps} "
        f"--per-crop-steps {args.per_crop_steps} --workers {args.workers} --threads {args.threads}",
        "seed": args.seed,
        "crops": round(steps * used),
        "crops_per_crop_mode": round(args.per_crop_steps * used),
        "groups": round(steps * used / stream.group_crops),
        "uses_of_each_crop": stream.uses,
        "minutes": {stage: networks[stage].record["minutes"] for stage in STAGES},
        "hardware": networks["platelet"].record["hardware"],
        "date": date.today().isoformat(),
        "effects": list(Effects.all().names),
        "panels": list(PANELS),
    }
    labels = load_schema("five_class")
    assert tuple(labels.classes) == CLASSES
    return {
        "name": "ctcnet-s",
        "backbone": BACKBONE,
        "labels": labels,
        "pixel_size_um": PIXEL_SIZE_UM,
        "crop_size_px": CROP_SIZE_PX,
        "class_shares": class_frequencies(stream),
        "training": training,
        "software_version": ctcnet.__version__,
    }


def install(out: Path, card: Mapping[str, Any], weights: Mapping[str, Mapping[str, Tensor]], processes: int) -> None:
    """Write the folder of the model; it comes to its place when all is in it, so that no file lies beside older ones.

    Args:
        out: the folder. Of an older one README.md alone is kept, which is written by hand.
        card, weights: as `write_shipped`.
        processes: that calibrate at once.

    Raises:
        OutputError: it cannot be written, or holds something else than a model.
    """
    with new_output_dir(out, overwrite=True, made_with=CARD_FILE) as folder:
        if (out / PAGE).is_file():
            shutil.copy(out / PAGE, folder)
        export(calibrated(write_shipped(folder, card, weights), processes))


def calibrated(model: ShippedModel, processes: int) -> ShippedModel:
    """The model with calibrations of the shipped panels beside it."""
    with ProcessPoolExecutor(processes, get_context("spawn")) as pool:
        found = pool.map(calibration_of, [model] * len(PANELS), PANELS)
        return write_calibrations(model, dict(found))


def calibration_of(model: ShippedModel, name: str) -> tuple[Panel, Calibration]:
    """Calibration of one shipped panel, in a process of its own."""
    torch.set_num_threads(1)
    panel = check_panel(load_panel(name), model.card.name)
    mode = mode_for(panel)
    return panel, calibrate(model.card, panel_network(model, panel, mode), panel, mode, WHEN_MADE)


def export(model: ShippedModel) -> None:
    """Write the ONNX files of the shipped panels."""
    for file, panel in EXPORTED.items():
        result = export_predictor(specialise(model, load_panel(panel)), model.folder / file, overwrite=True)
        print(f"{result.model.name}: worst difference of a probability {result.parity.probability_difference:.2g}")


if __name__ == "__main__":
    main()
