"""The real blood slide that several benchmarks are about: its files, its channels and the masks beside it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image
from scipy import ndimage

from ctcnet.panel import Channel, Panel

PIXEL_SIZE_UM = 0.591
TILES_PER_CHANNEL = 2304
CD45_PLACE, FITC_PLACE = 2, 4
"""Places of two channels among those of the scan; DAPI and CK come before them, transmitted light lies between."""
SOUND_FRAMES = (3, 4, 5)
"""Frames whose channels lie on each other."""
PANEL = Panel(
    "slide",
    (
        Channel("DAPI", "nucleus", emission_nm=461),
        Channel("CK", "epithelial", emission_nm=576),
        Channel("CD45", "leukocyte", emission_nm=666),
    ),
    8,
    PIXEL_SIZE_UM,
)


def is_there(slide: Path) -> bool:
    """Whether the slide lies in this folder; says on the console that a benchmark is skipped where it does not."""
    found = (slide / "nuclei_mask_03.png").is_file()
    if not found:
        print(f"skipped: the real slide is not at {slide}")
    return found


def tile(slide: Path, frame: int, place: int) -> Path:
    """File of a frame's channel."""
    return slide / f"Tile{frame + place * TILES_PER_CHANNEL:06d}.jpg"


def read_masks(slide: Path, frame: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Instance mask (H, W) of a frame, the masks' centres (N, 2) as (row, column), and mean CD45 counts (N,)."""
    with Image.open(slide / f"nuclei_mask_{frame:02d}.png") as picture:
        mask = np.asarray(picture).astype(np.int64)
    with Image.open(tile(slide, frame, CD45_PLACE)) as picture:
        cd45 = np.asarray(picture, np.float32)
    numbers = np.unique(mask[mask > 0])
    return mask, np.array(ndimage.center_of_mass(mask > 0, mask, numbers)), ndimage.mean(cd45, mask, numbers)
