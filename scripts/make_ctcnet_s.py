"""Make the shipped model `ctcnet-s` again: simulation alone, no file of cells is read. For research use only.

    python scripts/make_ctcnet_s.py --out models/ctcnet-s

Two networks are trained on a stream of simulated crops of random panels: one on crops normalised with the levels of
their cartridge, and from its weights one on crops normalised each by itself (display merges). Then the model is
specialised to the five-colour and the CellSearch panel and exported. About an hour on 2 CPU cores; a GPU is used where
there is one.
"""

from __future__ import annotations

import argparse
import os
import platform
import time
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Trainer, seed_everything
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.utils.data import DataLoader

import ctcnet
from ctcnet.export.export import export_predictor
from ctcnet.labels import load_schema
from ctcnet.panel import load_panel
from ctcnet.pretrained.shipped_model import ShippedModel, write_shipped
from ctcnet.pretrained.specialise import specialise
from ctcnet.pretrained.universal_module import UniversalModule, UniversalSettings
from ctcnet.pretrained.universal_network import BACKBONE
from ctcnet.simulate.composition import CLASSES
from ctcnet.simulate.crop_stream import CLASS_SHARES, CropStream, StreamSettings
from ctcnet.simulate.effects import Effects
from ctcnet.training.optimizer import OptimizerSettings

PANELS = ("ctc5", "cellsearch4", "hdsca4", "bzscanner", "axioscan", "rarecyte6", "sarcoma", "imaging_flow", "rgb_merge")
"""Shipped panels that half of the stream shows."""
EXPORTED = {"model.onnx": "ctc5", "model_cellsearch4.onnx": "cellsearch4"}
CROP_SIZE_PX, PIXEL_SIZE_UM = 64, 0.6


def stream_settings(per_crop: bool) -> StreamSettings:
    """What the network of one mode is trained on; display merges are always normalised one by one."""
    names = PANELS if per_crop else [name for name in PANELS if name != "rgb_merge"]
    return StreamSettings(tuple(load_panel(name) for name in names), CROP_SIZE_PX, PIXEL_SIZE_UM, per_crop=per_crop)


def train(
    args: argparse.Namespace, mode: str, settings: UniversalSettings, start: dict[str, Tensor] | None
) -> dict[str, Tensor]:
    """Train one network and return the moving average of its weights; a finished one in `args.work` is taken as is."""
    finished = args.work / f"{mode}.safetensors"
    if finished.is_file():
        return load_file(finished)
    on_gpu = torch.cuda.is_available()
    seed = 2 * args.seed + (mode == "per_crop")
    seed_everything(seed, verbose=False)
    stream = CropStream(stream_settings(mode == "per_crop"), seed, Effects.all(), "cuda" if on_gpu else "cpu")
    loader = DataLoader(stream, batch_size=None, num_workers=0 if on_gpu else args.workers, prefetch_factor=4)
    module = UniversalModule(settings, start)
    trainer = Trainer(
        max_steps=settings.steps,
        accelerator="gpu" if on_gpu else "cpu",
        devices=1,
        precision="bf16-mixed",
        gradient_clip_val=5.0,
        logger=False,
        enable_checkpointing=False,
        log_every_n_steps=20,
    )
    trainer.fit(module, loader)
    weights = {name: value.detach().cpu().contiguous() for name, value in module.average.state_dict().items()}
    args.work.mkdir(parents=True, exist_ok=True)
    save_file(weights, finished)
    return weights


def hardware() -> str:
    """Processor or GPU and the number of CPUs."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    names = [
        line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line
    ]
    return f"{names[0] if names else platform.processor()}, {len(os.sched_getaffinity(0))} CPUs"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of the model; its files are replaced")
    parser.add_argument(
        "--work",
        type=Path,
        default=Path("runs/ctcnet-s"),
        help="folder of finished networks; one that is there is not trained again",
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=6000, help="of the network for cartridges")
    parser.add_argument("--per-crop-steps", type=int, default=1500, help="of the network for lone crops")
    parser.add_argument("--workers", type=int, default=1, help="processes that simulate, where there is no GPU")
    parser.add_argument("--threads", type=int, default=1, help="threads that train")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    started = time.monotonic()
    first = UniversalSettings(args.steps)
    second = UniversalSettings(args.per_crop_steps, optimizer=OptimizerSettings(1e-3, warmup_epochs=1.0))
    cartridge = train(args, "cartridge", first, None)
    per_crop = train(args, "per_crop", second, cartridge)
    batch = stream_settings(False)
    crops = (args.steps + args.per_crop_steps) * batch.parts * batch.part_crops
    training: dict[str, Any] = {
        "command": f"python scripts/make_ctcnet_s.py --out models/ctcnet-s --seed {args.seed} --steps {args.steps} "
        f"--per-crop-steps {args.per_crop_steps}",
        "seed": args.seed,
        "crops": round(crops / batch.uses),
        "uses_of_each_crop": batch.uses,
        "minutes": round((time.monotonic() - started) / 60, 1),
        "hardware": hardware(),
        "date": date.today().isoformat(),
        "effects": sorted(name for name, on in asdict(Effects.all()).items() if on),
        "panels": list(PANELS),
    }
    args.out.mkdir(parents=True, exist_ok=True)
    card = {
        "name": "ctcnet-s",
        "backbone": BACKBONE,
        "labels": load_schema("five_class"),
        "pixel_size_um": PIXEL_SIZE_UM,
        "crop_size_px": CROP_SIZE_PX,
        "class_shares": tuple(share / sum(CLASS_SHARES) for share in CLASS_SHARES),
        "training": training,
        "software_version": ctcnet.__version__,
    }
    assert tuple(card["labels"].classes) == CLASSES
    model = write_shipped(args.out, card, {"cartridge": cartridge, "per_crop": per_crop})
    export(model)


def export(model: ShippedModel) -> None:
    """Write the ONNX files of the shipped panels."""
    for file, panel in EXPORTED.items():
        result = export_predictor(specialise(model, load_panel(panel)), model.folder / file, overwrite=True)
        print(f"{result.model}: worst difference of a probability {result.parity.probability_difference:.2g}")


if __name__ == "__main__":
    main()
