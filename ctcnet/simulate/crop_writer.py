"""Simulated crops as TIFF files with a manifest, for training and tests."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
import torch

import ctcnet
from ctcnet.crops.source_kind import SIMULATION_FILE
from ctcnet.errors import SettingError
from ctcnet.output import new_output_dir
from ctcnet.panel import Panel, load_panel
from ctcnet.progress import track
from ctcnet.simulate.cartridge_levels import measure_cartridge_levels
from ctcnet.simulate.composition import CLASSES
from ctcnet.simulate.crop_plan import CropPlan, plan_crops
from ctcnet.simulate.crop_simulator import CHUNK, DIFFICULTIES, NUMERICAL_APERTURE, CropSimulator
from ctcnet.simulate.effects import Effects
from ctcnet.simulate.groups import TUMOURS

DEFAULT_PANEL = "ctc5"


def write_simulated_crops(
    out: str | Path,
    *,
    count: int,
    seed: int,
    panel: Panel | str | Path = DEFAULT_PANEL,
    groups: int | None = None,
    crop_size_px: int = 64,
    pixel_size_um: float | None = None,
    numerical_aperture: float = NUMERICAL_APERTURE,
    difficulty: str = "standard",
    class_fractions: Mapping[str, float] | None = None,
    device: str = "cpu",
    effects: Effects = Effects.none(),  # noqa: B008 (frozen)
    overwrite: bool = False,
) -> Path:
    """Write `count` simulated crops below `out` and return the path of their manifest.

    Files: `crops/<class>/<number>.tif` (channel, row, column; uint16, or uint8 for 8-bit panels; uncompressed),
    `manifest.csv` and `simulation.json` (settings, seed, version). The same arguments give the same bytes on a CPU.

    Args:
        count: crops, at least as many as groups.
        seed: 0 or more.
        panel: a panel, the name of a shipped one, or the path of its YAML file.
        groups: patients, each with one cartridge; see `crop_plan.plan_crops`.
        crop_size_px: side of the crops, 16 to 512.
        pixel_size_um: the panel's own where None, else 0.5.
        numerical_aperture: of the objective, 0.1 to 1.3; it sets the point-spread function and the depth of field.
        difficulty: a name in `crop_simulator.DIFFICULTIES`.
        class_fractions: shares of the classes; equal where None.
        device: 'cpu', 'cuda' or 'cuda:N'.
        effects: what makes real images hard.
        overwrite: replace an `out` that exists.

    Raises:
        SettingError, PanelError: an argument cannot be used.
        OutputError: `out` exists already or cannot be written.
    """
    panel = panel if isinstance(panel, Panel) else load_panel(panel)
    if difficulty not in DIFFICULTIES:
        raise SettingError("is unknown", where="difficulty", expected=", ".join(DIFFICULTIES), found=difficulty)
    plan = plan_crops(count, seed, groups, class_fractions)
    with new_output_dir(out, overwrite=overwrite, made_with=SIMULATION_FILE) as folder:
        simulator = CropSimulator(
            panel,
            crop_size_px=crop_size_px,
            pixel_size_um=pixel_size_um,
            seed=seed,
            num_groups=plan.num_groups,
            scanners=plan.scanners,
            numerical_aperture=numerical_aperture,
            difficulty=DIFFICULTIES[difficulty],
            device=_checked_device(device),
            effects=effects,
        )
        background, scale = measure_cartridge_levels(simulator)
        paths = _write_crops(folder, simulator, plan)
        _write_manifest(folder / "manifest.csv", simulator, plan, paths, background, scale)
        settings = {
            "simulated": True,
            "ctcnet_version": ctcnet.__version__,
            "seed": seed,
            "count": count,
            "groups": plan.num_groups,
            "scanners": plan.scanners,
            "crop_size_px": crop_size_px,
            "pixel_size_um": simulator.pixel_size_um,
            "difficulty": difficulty,
            "effects": list(effects.names),
            "numerical_aperture": simulator.numerical_aperture,
            "class_counts": {name: int((plan.labels == row).sum()) for row, name in enumerate(CLASSES)},
            "tumours": {_group_name(g): TUMOURS[int(t)] for g, t in enumerate(simulator.groups.tumour)},
            "panel": panel.to_dict(),
        }
        (folder / SIMULATION_FILE).write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
    return Path(out) / "manifest.csv"


def _checked_device(device: str) -> torch.device:
    try:
        chosen = torch.device(device)
        torch.zeros(1, device=chosen)
        torch.Generator(chosen)  # some kinds of device draw no random numbers
    except (RuntimeError, AssertionError) as cause:
        raise SettingError(
            f"cannot be used ({str(cause).splitlines()[0]})", where="device", found=device, fix="use cpu"
        ) from cause
    return chosen


def _group_name(group: int) -> str:
    return f"patient_{group:03d}"


def _write_crops(folder: Path, simulator: CropSimulator, plan: CropPlan) -> list[str]:
    """Write the TIFF files; their paths relative to `folder`, in the plan's order."""
    for name in CLASSES:
        (folder / "crops" / name).mkdir(parents=True)
    panel = simulator.panel
    dtype = np.uint8 if panel.bit_depth <= 8 else np.uint16
    options: dict[str, Any] = {
        "photometric": "minisblack",
        "resolution": (1e4 / simulator.pixel_size_um, 1e4 / simulator.pixel_size_um),
        "resolutionunit": "CENTIMETER",
        "metadata": {
            "axes": "CYX",
            "channel_names": list(panel.markers),
            "pixel_size_um": simulator.pixel_size_um,
            "simulated": True,
        },
    }
    digits = max(5, len(str(len(plan.labels))))
    written = np.zeros(len(CLASSES), dtype=int)
    paths: list[str] = []
    for start in track(range(0, len(plan.labels), CHUNK), "Simulating crops"):
        rows = slice(start, start + CHUNK)
        sample = simulator.sample(torch.from_numpy(plan.labels[rows]), torch.from_numpy(plan.groups[rows]))
        for label, crop in zip(plan.labels[rows], sample.counts.cpu().numpy().astype(dtype), strict=True):
            paths.append(f"crops/{CLASSES[label]}/{written[label]:0{digits}d}.tif")
            tifffile.imwrite(folder / paths[-1], crop, **options)
            written[label] += 1
    return paths


def _write_manifest(
    path: Path, simulator: CropSimulator, plan: CropPlan, paths: list[str], background: np.ndarray, scale: np.ndarray
) -> None:
    """Manifest with the cartridges' levels, save for display merges, which have no cartridge."""
    markers = simulator.panel.markers
    levels = simulator.panel.rgb_order is None
    header = ["path", "label", "group", "cartridge", "batch", "pixel_size_um"]
    if levels:
        header += [f"background_{name}" for name in markers] + [f"scale_{name}" for name in markers]
    scanner = simulator.groups.batch.cpu().numpy()
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        for name, label, group in zip(paths, plan.labels, plan.groups, strict=True):
            patient = _group_name(group)
            row = [name, CLASSES[label], patient, f"{patient}_c1", f"scanner_{scanner[group]}", simulator.pixel_size_um]
            writer.writerow(row + ([*background[group].tolist(), *scale[group].tolist()] if levels else []))
