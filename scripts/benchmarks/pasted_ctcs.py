"""Sensitivity on pixels that are partly real: simulated CTCs of 20 kinds pasted into the real blood slide.

    python scripts/benchmarks/pasted_ctcs.py --slide ../shared/data/blood_slide --model ctcnet-s [--out JSON]

Each round pastes every kind into empty places and beside leukocytes of frames 3 to 5, at the slide's own levels, PSF
and noise, and scans the frames. A cell is hit where an event within 7 um is called a class that contains a CTC. Calls
elsewhere are false. Nothing is fitted, calibrated or thresholded here. The cells are simulated and their surroundings
real: the figures are of neither alone. For research use only.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from benchmark_output import hardware, print_table, save_result
from PIL import Image
from real_ctcs import CONTAINS_CTC, HIT_UM
from real_slide import FITC_PLACE, PANEL, PIXEL_SIZE_UM, SOUND_FRAMES, is_there, read_masks, tile
from scipy.spatial import KDTree
from verb import columns, run

from ctcnet.simulate.cells import UNIT_ELECTRONS
from ctcnet.simulate.composition import IS_CTC, IS_NEUTROPHIL_CLUSTER, compose
from ctcnet.simulate.crop_simulator import CropSimulator
from ctcnet.simulate.effects import Effects
from ctcnet.simulate.groups import Groups
from ctcnet.simulate.scene_variation import SceneVariation

PATCH_PX = 96
DIAMETERS_UM = (7.5, 10.3, 12.4, 18.4)
"""Colorectal, prostate, breast, cultured breast."""
CK_LEVELS = (1.0, 2.0, 4.0, 10.0)
"""CK of a CTC over that of a leukocyte, on top of a leukocyte's own."""
VARIANCE_PER_COUNT = 0.146
"""Of the noise (lossless TRITC picture of another slide)."""
EMPTY_UM, APART_UM, BORDER_UM = 13.0, 30.0, 20.0
OVERLAP_UM = (0.0, 1.5)
LEUKOCYTE_RADIUS_UM = 4.3
TOUCH_EXTRA_UM = 4.0


class Kind(NamedTuple):
    """A kind of pasted event: median diameter and CK of its CTCs, label, and numbers of tumour cells and partners."""

    name: str
    diameter_um: float
    ck: float
    label: int = IS_CTC
    tumour_cells: int = 1
    partners: int = 0


KINDS: tuple[Kind, ...] = (
    *(Kind(f"single, {d:g} um, CK x{ck:g}", d, ck) for d in DIAMETERS_UM for ck in CK_LEVELS),
    Kind("two CTCs, 10.3 um, CK x4", 10.3, 4.0, tumour_cells=2),
    Kind("CTC and another leukocyte, 10.3 um, CK x4", 10.3, 4.0, partners=1),
    Kind("CTC and neutrophil, 10.3 um, CK x4", 10.3, 4.0, IS_NEUTROPHIL_CLUSTER, partners=1),
    Kind("CTC and two neutrophils, 10.3 um, CK x4", 10.3, 4.0, IS_NEUTROPHIL_CLUSTER, partners=2),
)


class Pasted(NamedTuple):
    """One pasted event: its kind (row of `KINDS`), whether beside leukocytes, frame, centre in pixels."""

    kind: int
    crowded: bool
    frame: int
    y_px: float
    x_px: float


def patches(kind: Kind, count: int, seed: int) -> np.ndarray:
    """Light of events of one kind, (count, 3, PATCH_PX, PATCH_PX) float32 in units of a leukocyte's stain."""
    effects = Effects.from_names("cytoplasm,astigmatism")
    simulator = CropSimulator(
        PANEL, crop_size_px=PATCH_PX, seed=seed, num_groups=16 * count, scanners=4, effects=effects, difficulty=0.5
    )
    groups = _plain(simulator.groups, kind)
    number = len(groups.tumour)
    levels = simulator.levels.rows(torch.arange(number))
    variation = SceneVariation(effects, levels, simulator.draws)
    labels = torch.full((number,), kind.label)
    scene = compose(
        labels, groups, PANEL.roles, PATCH_PX * PIXEL_SIZE_UM, simulator.draws, variation.make_bodies, _nothing
    )
    signal = simulator.expected_electrons(scene, groups, levels)
    fits = (scene.tumour_cells == kind.tumour_cells) & (scene.partners == kind.partners)
    unit = torch.tensor([UNIT_ELECTRONS[role] for role in PANEL.roles])
    return (signal / unit[:, None, None])[fits][:count].numpy()


def _plain(groups: Groups, kind: Kind) -> Groups:
    """Groups of the kind's tumour, without background, bleed-through, spread of stain, neighbours and dots."""
    one, none = torch.ones_like(groups.ctc_epithelial), torch.zeros_like(groups.ctc_epithelial)
    return replace(
        groups,
        ctc_diameter_um=one * kind.diameter_um,
        ctc_epithelial=one * kind.ck,
        ctc_epithelial_log_sd=none,
        stain=torch.ones_like(groups.stain),
        background_e=torch.zeros_like(groups.background_e),
        bleed=torch.eye(len(PANEL.channels)).expand_as(groups.bleed),
        platelets_per_mm2=none,
        specks_per_mm2=none,
        defocus_sd_um=one * 1.5,
    )


def _nothing(*_: object) -> list:
    return []


Centre = tuple[float, float]


def places(
    slide: Path, frame: int, number: int, crowded: bool, taken: list[Centre], rng: np.random.Generator
) -> list[Centre]:
    """Centres (y, x) in pixels, apart from each other and from `taken`: free of cells, or beside one."""
    mask, centres, _ = read_masks(slide, frame)
    height, width = mask.shape
    tree, border = KDTree(centres), BORDER_UM / PIXEL_SIZE_UM
    found: list[Centre] = []
    for _ in range(200_000):
        if len(found) == number:
            return found
        if crowded:
            leukocyte = centres[rng.integers(len(centres))]
            angle, reach = rng.uniform(0, 2 * np.pi), LEUKOCYTE_RADIUS_UM + TOUCH_EXTRA_UM - rng.uniform(*OVERLAP_UM)
            y, x = leukocyte + reach / PIXEL_SIZE_UM * np.array([np.sin(angle), np.cos(angle)])
        else:
            y, x = rng.uniform(border, height - border), rng.uniform(border, width - border)
        inside = border <= y < height - border and border <= x < width - border
        nearest_um = float(tree.query((y, x))[0]) * PIXEL_SIZE_UM
        free = nearest_um > (LEUKOCYTE_RADIUS_UM + 1.5 if crowded else EMPTY_UM)
        alone = all(np.hypot(y - v, x - u) * PIXEL_SIZE_UM > APART_UM for v, u in (*found, *taken))
        if inside and free and alone:
            found.append((float(y), float(x)))
    raise SystemExit(f"frame {frame} has no room for {number} cells")


def paste(image: np.ndarray, patch: np.ndarray, y_px: float, x_px: float, rng: np.random.Generator) -> tuple[int, int]:
    """Add a patch (3, P, P) in counts with its noise to an image (3, H, W); gives the centre in whole pixels."""
    top, left = round(y_px - PATCH_PX / 2), round(x_px - PATCH_PX / 2)
    rows = slice(max(0, top), min(image.shape[1], top + PATCH_PX))
    across = slice(max(0, left), min(image.shape[2], left + PATCH_PX))
    part = patch[:, rows.start - top : rows.stop - top, across.start - left : across.stop - left]
    noise = rng.normal(size=part.shape) * np.sqrt(VARIANCE_PER_COUNT * part.clip(0))
    image[:, rows, across] += part + noise
    return top + PATCH_PX // 2, left + PATCH_PX // 2


def make_round(slide: Path, out: Path, scale: np.ndarray, number: int) -> list[Pasted]:
    """Write frames 3 to 5 with every kind pasted once into each of them or another, half of the places crowded."""
    rng = np.random.default_rng(number)
    light = [patches(kind, 2, 1000 * number + index) for index, kind in enumerate(KINDS)]
    order = rng.permutation(2 * len(KINDS))
    pasted: list[Pasted] = []
    for index, frame in enumerate(SOUND_FRAMES):
        own = order[index :: len(SOUND_FRAMES)]
        image = np.stack([np.asarray(Image.open(tile(slide, frame, place)), np.float32) for place in range(3)])
        taken: list[Centre] = []
        for crowded in (False, True):
            chosen = [slot for slot in own if (slot >= len(KINDS)) == crowded]
            centres = places(slide, frame, len(chosen), crowded, taken, rng)
            taken += centres
            for slot, (y, x) in zip(chosen, centres, strict=True):
                kind = int(slot % len(KINDS))
                patch = light[kind][int(crowded) % len(light[kind])] * scale[:, None, None]
                pasted.append(Pasted(kind, crowded, frame, *paste(image, patch, y, x, rng)))
        for place in range(3):
            pixels = np.rint(image[place]).clip(0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(out / tile(slide, frame, place).with_suffix(".tif").name)
        fitc = tile(slide, frame, FITC_PLACE)  # nothing is pasted there
        with Image.open(fitc) as other:
            other.convert("L").save(out / fitc.with_suffix(".tif").name)
    return pasted


def hits(pasted: list[Pasted], events: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray, int]:
    """Pasted events called, called or for review, bool (N,) each, and the number of false calls.

    A member of a cluster that is counted as one stands for its cluster, whose centre may lie further away.
    """
    counted = events["counted"].astype(bool)
    called = counted & np.isin(events["label"], CONTAINS_CTC) & ~events["unassigned"].astype(bool)
    review = counted & (called | events["review"].astype(bool))
    row_of = {int(number): row for row, number in enumerate(events["event_id"])}
    stands = np.array([row_of.get(int(p), row) if p == p else row for row, p in enumerate(events["parent_id"])])
    stands = np.where(counted, np.arange(len(counted)), stands)
    found, near = [], np.zeros(len(called), bool)
    for item in pasted:
        distance_px = np.hypot(events["y_px"] - item.y_px, events["x_px"] - item.x_px)
        close = (events["frame"] == item.frame) & (distance_px * PIXEL_SIZE_UM <= HIT_UM)
        near[stands[close]] = True
        found.append((called[stands[close]].any(), review[stands[close]].any()))
    both = np.array(found, bool).reshape(-1, 2)
    return both[:, 0], both[:, 1], int((called & ~near).sum())


def summary(title: str, groups: Iterable[tuple[str, np.ndarray]], crowded: np.ndarray, found: np.ndarray) -> list[dict]:
    """Rows with the recall in empty and in crowded places; `found` is (N, 2), called, and called or for review."""
    rows = []
    for name, own in groups:
        row = {title: name}
        for place, there in (("empty", ~crowded), ("crowded", crowded)):
            chosen = own & there
            called, either = found[chosen].sum(0)
            row |= {f"{place}: called": f"{called} of {chosen.sum()}", f"{place}: or for review": str(either)}
        rows.append(row)
    return rows


def main() -> None:
    """Read the arguments, paste, scan, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slide", type=Path, default=Path("../shared/data/blood_slide"))
    parser.add_argument("--model", default="ctcnet-s")
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--work", type=Path, help="folder for the pasted frames and results; they are kept")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    if not is_there(arguments.slide):
        return
    torch.set_num_threads(1)
    pasted: list[Pasted] = []
    found: list[np.ndarray] = []
    false = 0
    with tempfile.TemporaryDirectory() as temporary:
        work = arguments.work or Path(temporary)
        scale = slide_levels(arguments.slide, arguments.model, work)
        for number in range(arguments.rounds):
            folder = work / f"round_{number}"
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            own = make_round(arguments.slide, folder, scale, number)
            run("scan", folder, "--model", arguments.model, "-o", work / "scan", "--device", "cpu", "--overwrite")
            called, either, wrong = hits(own, columns(work / "scan" / folder.name / "events.parquet"))
            pasted += own
            found.append(np.stack([called, either], 1))
            false += wrong
    everything, crowded = np.concatenate(found), np.array([item.crowded for item in pasted])
    kind = np.array([item.kind for item in pasted])
    single = np.array([k.tumour_cells == 1 and k.partners == 0 for k in KINDS])[kind]
    size, ck = (np.array([getattr(k, name) for k in KINDS])[kind] for name in ("diameter_um", "ck"))
    sizes = ((f"{d:g}", single & (size == d)) for d in DIAMETERS_UM)
    tables = {
        "By kind": summary("kind", ((k.name, kind == i) for i, k in enumerate(KINDS)), crowded, everything),
        "Single CTCs by size": summary("um", sizes, crowded, everything),
        "Single CTCs by CK": summary("CK", ((f"x{c:g}", single & (ck == c)) for c in CK_LEVELS), crowded, everything),
        "All": summary("", [("all", np.ones(len(kind), bool))], crowded, everything),
    }
    for title, rows in tables.items():
        print_table(f"{title} (simulated cells pasted into a real slide)", rows)
    print(f"false calls: {false} in {arguments.rounds} scans of the same three frames. For research use only.")
    save_result(arguments.out, {"hardware": hardware(), "model": arguments.model, "false": false, "tables": tables})


def slide_levels(slide: Path, model: str, work: Path) -> np.ndarray:
    """Leukocytes' stain (3,) in counts of DAPI, CK and CD45, as a scan of the untouched frames measures it."""
    folder = work / "untouched"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for frame in SOUND_FRAMES:
        for place in (*range(3), FITC_PLACE):
            shutil.copy(tile(slide, frame, place), folder)
    run("scan", folder, "--model", model, "-o", work / "scan", "--device", "cpu", "--overwrite")
    levels = json.loads((work / "scan" / "untouched" / "levels.json").read_text(encoding="utf-8"))["levels"]
    return np.array([levels[channel.marker]["scale"] for channel in PANEL.channels], np.float32)


if __name__ == "__main__":
    main()
