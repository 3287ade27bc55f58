"""Whether simulated leukocyte crops with all effects cover what is measured on the real blood slide.

    python scripts/benchmarks/simulator_realism.py --slide ../shared/data/blood_slide [--out JSON]

Crops are cut at the masks of frames 3 to 5, and simulated for an 8-bit panel of DAPI, cytokeratin and CD45 at the same
pixel size; the same code measures both. The simulator varies what differs between cartridges (domain randomisation):
its range over all groups has to hold the real median, and need not resemble the one real slide. Real pixels are
measured here and go nowhere else. For research use only.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from benchmark_output import hardware, print_table, save_result
from crop_measures import (
    CD45,
    CK,
    DAPI,
    background_measures,
    cell_measures,
    free_area,
    nearest_neighbour,
    speck_measures,
)
from PIL import Image
from real_slide import PANEL, PIXEL_SIZE_UM, SOUND_FRAMES, is_there, tile
from scipy import ndimage

from ctcnet.simulate.composition import IS_LEUKOCYTE
from ctcnet.simulate.crop_simulator import CropSimulator
from ctcnet.simulate.effects import Effects

CROP_PX = 64
CELL_QUANTITIES = (
    "nucleus diameter um",
    "CD45 cell diameter um",
    "nucleus to cell area",
    "CD45 ring FWHM um",
    "CD45 centre to peak",
    "DAPI level counts",
    "CK level counts",
    "CD45 ring counts",
    "CK level to CD45 ring",
)


def real_crops(slide: Path, frame: int) -> np.ndarray:
    """Crops (N, 3, S, S) at the masks of a frame, those at its border left out."""
    planes = []
    for place in (DAPI, CK, CD45):
        with Image.open(tile(slide, frame, place)) as picture:
            planes.append(np.asarray(picture.convert("L")))
    image = np.stack(planes)
    with Image.open(slide / f"nuclei_mask_{frame:02d}.png") as picture:
        mask = np.asarray(picture).astype(np.int64)
    numbers = np.unique(mask[mask > 0])
    corners = np.round(np.array(ndimage.center_of_mass(mask > 0, mask, numbers)) - (CROP_PX - 1) / 2).astype(int)
    inside = (corners >= 0).all(1) & (corners + CROP_PX <= mask.shape).all(1)
    return np.stack([image[:, y : y + CROP_PX, x : x + CROP_PX] for y, x in corners[inside]])


def simulated_crops(groups: int, crops: int, seed: int, effects: Effects) -> list[np.ndarray]:
    """Leukocyte crops (N, 3, S, S) of each group."""
    simulator = CropSimulator(PANEL, crop_size_px=CROP_PX, seed=seed, num_groups=groups, effects=effects)
    group = torch.arange(groups).repeat_interleave(crops)
    counts = simulator.sample(torch.full_like(group, IS_LEUKOCYTE), group).counts.numpy()
    return list(counts.reshape(groups, crops, *counts.shape[1:]))


def measure(crops: np.ndarray) -> dict[str, list[float]]:
    """All quantities of one group's crops (N, 3, S, S); each a list over cells, specks or of one figure."""
    found: dict[str, list[float]] = defaultdict(list)
    cells = [cell for crop in crops if (cell := cell_measures(crop, PIXEL_SIZE_UM)) is not None]
    for name in CELL_QUANTITIES:
        found[name] = [cell[name] for cell in cells if np.isfinite(cell[name])]
    ck, cd45 = (np.array([cell[name] for cell in cells]) for name in ("CK level counts", "CD45 ring counts"))
    good = (ck > 1) & (cd45 > 2)
    if good.sum() >= 10:
        found["CK level log-SD"] = [float(np.log(ck[good]).std())]
        found["CK level with CD45, r"] = [float(np.corrcoef(np.log(ck[good]), np.log(cd45[good]))[0, 1])]
    for crop in crops:
        for name, value in background_measures(crop, PIXEL_SIZE_UM).items():
            found[name].append(value)
    others = [nearest_neighbour(crop, PIXEL_SIZE_UM) for crop in crops]
    field_mm2 = (CROP_PX * PIXEL_SIZE_UM) ** 2 * 1e-6
    found["nuclei per mm2"] = [float(np.mean([number for number, _ in others]) / field_mm2)]
    found["neighbour within 10 um, share"] = [float(np.mean([distance < 10 for _, distance in others]))]
    levels = {CK: np.median(ck) if len(ck) else 0.0, CD45: np.median(cd45) if len(cd45) else 0.0}
    for channel, name in ((CK, "CK"), (CD45, "CD45")):
        _add_specks(found, crops, channel, name, float(max(levels[channel], 0.0)))
    return found


def _add_specks(found: dict[str, list[float]], crops: np.ndarray, channel: int, name: str, level: float) -> None:
    """Density, peak and, of the epithelial ones, width of the specks between the cells."""
    free = [free_area(crop[DAPI].astype(np.float32), PIXEL_SIZE_UM) for crop in crops]
    parts = [speck_measures(crop[channel], area, level) for crop, area in zip(crops, free, strict=True)]
    area_mm2 = sum(int(part["area_px"][0]) for part in parts) * PIXEL_SIZE_UM**2 * 1e-6
    peaks = np.concatenate([part["peaks"] for part in parts])
    if area_mm2 > 0.002:
        found[f"{name} specks per mm2"] = [len(peaks) / area_mm2]
    if level > 1:
        found[f"{name} speck peak to level"] = (peaks / level).tolist()
    if channel == CK:
        widths = np.concatenate([part["widths"] for part in parts])
        found["speck sigma minor px"], found["speck sigma major px"] = widths[:, 0].tolist(), widths[:, 1].tolist()


def compare(real: list[dict[str, list[float]]], simulated: list[dict[str, list[float]]]) -> list[dict[str, Any]]:
    """A row for each quantity: median and 5 to 95 % range of both, and whether the real median is covered."""
    names = list(dict.fromkeys(key for part in (*real, *simulated) for key in part))
    rows = []
    for name in names:
        left, right = ([value for part in parts for value in part.get(name, [])] for parts in (real, simulated))
        if not left or not right:
            continue
        low, high = np.percentile(right, [5, 95])
        rows.append(
            {
                "quantity": name,
                "real: median (5-95 %)": _in_words(left),
                "values": len(left),
                "simulated: median (5-95 %)": _in_words(right),
                "values ": len(right),
                "covered": "yes" if low <= np.median(left) <= high else "NO",
            }
        )
    return rows


def _in_words(values: list[float]) -> str:
    low, middle, high = np.percentile(values, [5, 50, 95])
    return f"{middle:.3g} ({low:.3g} to {high:.3g})"


def main() -> None:
    """Read the arguments, measure both, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slide", type=Path, default=Path("../shared/data/blood_slide"))
    parser.add_argument("--effects", default="all", help="none, all or names (default: all)")
    parser.add_argument("--groups", type=int, default=60)
    parser.add_argument("--crops", type=int, default=24, help="crops of a group (default: 24)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    if not is_there(arguments.slide):
        return
    effects = Effects.from_names(arguments.effects)
    real = [measure(real_crops(arguments.slide, frame)) for frame in SOUND_FRAMES]
    simulated = simulated_crops(arguments.groups, arguments.crops, arguments.seed, effects)
    rows = compare(real, [measure(crops) for crops in simulated])
    print_table("Real slide, frames 3 to 5, and simulated leukocyte crops", rows)
    result = {"hardware": hardware(), "effects": list(effects.names), "groups": arguments.groups, "rows": rows}
    save_result(arguments.out, result)


if __name__ == "__main__":
    main()
