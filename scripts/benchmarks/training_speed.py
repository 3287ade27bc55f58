"""Training speed beside what a user would write: a DataLoader over a folder of TIFFs and torchvision's ResNet-18.

Three lines, each a ratio within one run, its parts measured in turn several times:
1. the loader alone: packed store, folder of TIFFs through ctcnet, folder of TIFFs through a plain DataLoader;
2. the same compact network fed both ways, in the same plain loop;
3. the whole: compact network with augmentation on the device from the packed store, against ResNet-18 with flips from
   the plain DataLoader.
On a GPU also the share of time that it waits for data.

    python scripts/benchmarks/training_speed.py [--count 4000] [--device cpu] [--rounds 3] [--seconds 8]
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from time import perf_counter

import numpy as np
import tifffile
import torch
from benchmark_output import hardware, print_table, save_result
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from ctcnet.crops import read_crops
from ctcnet.crops.packing import pack_crops
from ctcnet.data.augmentation import Augmentation
from ctcnet.data.crop_data_module import CropDataModule
from ctcnet.data.device_augmentation import DeviceAugmentation
from ctcnet.labels import load_schema
from ctcnet.networks import build_classifier
from ctcnet.normalization import normalize
from ctcnet.panel import load_panel
from ctcnet.simulate.crop_writer import write_simulated_crops

PANEL, LABELS = "ctc5", "five_class"
AUGMENTATION = Augmentation(
    affine=0.5, rotate_deg=20, shift_px=3, zoom=0.08, gain=0.15, offset=0.02, defocus=0.2, defocus_px=1, shot_noise=0.2
)
Step = Callable[[Tensor, Tensor], None]


class _PlainFolder(Dataset):
    """What a user writes first: one TIFF after the other, divided by full scale, flipped at random."""

    def __init__(self, folder: Path) -> None:
        self.paths = sorted(folder.rglob("*.tif"))
        self.names = sorted({path.parent.name for path in self.paths})

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, row: int) -> tuple[Tensor, int]:
        path = self.paths[row]
        crop = torch.from_numpy(tifffile.imread(path).astype(np.float32) / 4095)
        if torch.rand(()) < 0.5:
            crop = crop.flip(-1)
        return crop, self.names.index(path.parent.name)


def _endless(make: Callable[[], Iterator]) -> Iterator:
    while True:
        yield from make()


def _ctcnet_batches(manifest: Path, batch_size: int, workers: int, device: torch.device) -> Iterator:
    data = CropDataModule(str(manifest), PANEL, LABELS, batch_size=batch_size, num_workers=workers)
    data.setup("fit")
    loader = data.loader("train", all_processes=False) if workers == 0 else data.loader("train")
    return _endless(lambda: iter(loader))


def _plain_batches(folder: Path, batch_size: int, workers: int) -> Iterator:
    loader = DataLoader(
        _PlainFolder(folder),
        batch_size,
        shuffle=True,
        num_workers=workers,
        drop_last=True,
        persistent_workers=workers > 0,
    )
    return _endless(lambda: iter(loader))


def _training_step(backbone: str, device: torch.device, batch_size: int) -> Step:
    panel, labels = load_panel(PANEL), load_schema(LABELS)
    network = build_classifier(backbone, panel.roles, len(labels.classes)).to(device)
    network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3, fused=device.type == "cuda")
    precision = torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda")
    seeds = torch.arange(batch_size, device=device)  # of what the network drops in training

    def step(x: Tensor, target: Tensor) -> None:
        network.train()
        optimizer.zero_grad(set_to_none=True)
        with precision:
            logits = network(x.contiguous(memory_format=torch.channels_last), None, seeds[: len(x)]).logits
            loss = nn.functional.cross_entropy(logits, target)
        loss.backward()
        optimizer.step()

    return step


def _speed(next_batch: Callable[[], int], device: torch.device, seconds: float) -> float:
    """Crops a second; `next_batch` handles one batch and says how many crops it held."""
    for _ in range(3):
        next_batch()
    done, start = 0, perf_counter()
    while perf_counter() - start < seconds:
        done += next_batch()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return done / (perf_counter() - start)


class _Arms:
    """Everything that is measured, as functions that handle one batch."""

    def __init__(self, folder: Path, store: Path, args: argparse.Namespace) -> None:
        self.device = torch.device(args.device)
        size, workers = args.batch_size, args.workers
        self.augment = DeviceAugmentation(AUGMENTATION, load_panel(PANEL).full_scale).to(self.device)
        self.batches = {
            "packed store": _ctcnet_batches(store, size, 0, self.device),
            "folder of TIFFs": _ctcnet_batches(folder / "manifest.csv", size, workers, self.device),
            "plain DataLoader": _plain_batches(folder / "crops", size, workers),
        }
        self.compact, self.resnet = (_training_step(name, self.device, size) for name in ("compact", "resnet18"))
        self.waited_s = 0.0

    def load(self, source: str) -> int:
        batch = next(self.batches[source])
        return len(batch["crops"]) if isinstance(batch, dict) else len(batch[0])

    def _ready(self, source: str, augment: bool) -> tuple[Tensor, Tensor]:
        start = perf_counter()
        batch = next(self.batches[source])
        self.waited_s += perf_counter() - start
        if not isinstance(batch, dict):
            return batch[0].to(self.device, non_blocking=True), batch[1].to(self.device, non_blocking=True)
        moved = {name: value.to(self.device, non_blocking=True) for name, value in batch.items()}
        counts = moved["crops"].float()
        if augment:
            counts = self.augment(counts, moved["background"], moved["scale"], moved["sample_seed"])
        return normalize(counts, moved["background"], moved["scale"]), moved["target"]

    def train(self, source: str, step: Step, augment: bool) -> int:
        x, target = self._ready(source, augment)
        step(x, target)
        return len(x)


def measure(folder: Path, store: Path, args: argparse.Namespace) -> list[dict[str, str | int | float]]:
    """One row per arm."""
    arms = _Arms(folder, store, args)
    plain = "plain DataLoader"
    lines = {
        "1 loader alone": {name: (lambda name=name: arms.load(name)) for name in arms.batches},
        "2 same network (compact)": {
            name: (lambda name=name: arms.train(name, arms.compact, augment=False)) for name in ("packed store", plain)
        },
        "3 the whole": {
            "packed store, augmentation, compact": lambda: arms.train("packed store", arms.compact, augment=True),
            "plain DataLoader, ResNet-18": lambda: arms.train(plain, arms.resnet, augment=False),
        },
    }
    rows: list[dict[str, str | int | float]] = []
    for line, parts in lines.items():
        speeds: dict[str, list[float]] = {name: [] for name in parts}
        waits: dict[str, list[float]] = {name: [] for name in parts}
        for _ in range(args.rounds):
            for name, handle in parts.items():
                arms.waited_s, start = 0.0, perf_counter()
                speeds[name].append(_speed(handle, arms.device, args.seconds))
                waits[name].append(arms.waited_s / (perf_counter() - start))
        base = speeds[list(parts)[-1]]
        for name, values in speeds.items():
            ratios = [a / b for a, b in zip(values, base, strict=True)]
            wait = "-" if line.startswith("1") else f"{100 * median(waits[name]):.0f} %"
            rows.append(
                {
                    "line": line,
                    "arm": name,
                    "crops/s": round(median(values)),
                    "ratio": round(median(ratios), 1),
                    "least": round(min(ratios), 1),
                    "most": round(max(ratios), 1),
                    "waiting for data": wait,
                }
            )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=4000, help="simulated crops")
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--workers", type=int, default=0, help="loader workers of the two folder arms")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=8.0, help="length of one measurement")
    parser.add_argument("--json", type=Path, default=None, help="also write the table here")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder, store = Path(temporary) / "folder", Path(temporary) / "store"
        manifest = write_simulated_crops(folder, count=args.count, seed=0, panel=PANEL)
        crops = read_crops(manifest, load_panel(PANEL), load_schema(LABELS))
        pack_crops(crops, store, pixel_size_um=load_panel(PANEL).pixel_size_um, crop_size_px=64)
        rows = measure(folder, store, args)
    title = f"Training, {args.device}, 64 px, 5 channels, batches of {args.batch_size}, {args.workers} folder workers"
    print_table(title, rows)
    save_result(args.json, {"title": title, "hardware": hardware(), "rows": rows})


if __name__ == "__main__":
    main()
