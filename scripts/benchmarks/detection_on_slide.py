"""Figures of the detector on the real blood slide, against masks that another program made.

    python scripts/benchmarks/detection_on_slide.py DATA/blood_slide [--frames 2 3 4 5]

Prints, for each frame: masks with an event within 4 um of their centre (also matched one to one), cells with no mask
there, objects, clusters and the time of one call. Frame 2 has its DAPI shift undone first, and only those of its masks
count that show CD45: the others were drawn where DAPI lies in the unregistered frame. For research use only.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from scipy import ndimage
from scipy.optimize import linear_sum_assignment
from scipy.spatial import KDTree
from scipy.spatial.distance import cdist

from ctcnet.scan.detect.detected_events import DetectedEvents
from ctcnet.scan.detect.detector import EventDetector
from ctcnet.scan.event_kinds import CELL, CLUSTER, OBJECT
from ctcnet.scan.platform import load_platform

PIXEL_SIZE_UM = 0.59
MATCH_UM = 4.0
TILES_PER_CHANNEL = 2304
CHANNELS = ((0, "nucleus"), (1, "epithelial"), (2, "leukocyte"), (4, "none"))
"""Number of each channel in the scan, and the role that it plays."""

FRAME_2_DAPI_SHIFT_PX = (-17, -24)
"""DAPI of frame 2 lies this far (x, y) from CD45; the correlation of the two rises to 0.83 when it is undone."""

FRAME_2_LEAST_CD45 = 20.0
"""Mean CD45 in counts from which a mask of frame 2 shows a cell of the registered frame."""

OBJECTS_FRAME_4 = ((844, 206), (882, 187))
"""Row and column of two bright bodies without a nucleus."""


@dataclass(frozen=True)
class SlideFigures:
    """How the events of a frame agree with its masks.

    Attributes:
        masks: number of masks.
        near: share of masks with a cell within 4 um of their centre.
        matched: share of masks matched one to one within 4 um.
        without_mask: share of cells with no mask centre within 4 um and not inside a mask.
        split: masks with more than one cell inside.
    """

    masks: int
    near: float
    matched: float
    without_mask: float
    split: int


def read_frame(folder: Path, frame: int) -> tuple[torch.Tensor, np.ndarray]:
    """Counts (1, 4, H, W) float32 and instance mask (H, W) of a frame; frame 2 with its DAPI shift undone."""
    planes = []
    for place, _ in CHANNELS:
        with Image.open(folder / f"Tile{frame + place * TILES_PER_CHANNEL:06d}.jpg") as picture:
            planes.append(np.asarray(picture, np.float32))
    if frame == 2:
        x_px, y_px = FRAME_2_DAPI_SHIFT_PX
        planes[0] = ndimage.shift(planes[0], (-y_px, -x_px), order=0, mode="constant")
    with Image.open(folder / f"nuclei_mask_{frame:02d}.png") as picture:
        mask = np.asarray(picture).astype(np.int64)
    if frame == 2:
        numbers = np.arange(mask.max() + 1)
        mask[ndimage.mean(planes[2], mask, numbers)[mask] < FRAME_2_LEAST_CD45] = 0
    return torch.from_numpy(np.stack(planes))[None], mask


def compare(events: DetectedEvents, mask: np.ndarray) -> SlideFigures:
    """Agreement of the cells among the events with an instance mask."""
    numbers = np.unique(mask[mask > 0])
    centres = np.array(ndimage.center_of_mass(mask > 0, mask, numbers))
    cells = events.kind == CELL
    places = np.column_stack((events.y_px, events.x_px))[cells]
    inside = mask[places[:, 0].round().astype(int), places[:, 1].round().astype(int)]
    near = KDTree(places).query(centres)[0] * PIXEL_SIZE_UM <= MATCH_UM
    alone = (KDTree(centres).query(places)[0] * PIXEL_SIZE_UM > MATCH_UM) & (inside == 0)
    distance_um = cdist(centres, places) * PIXEL_SIZE_UM
    rows, columns = linear_sum_assignment(np.where(distance_um <= MATCH_UM, distance_um, 1e3))
    matched = distance_um[rows, columns] <= MATCH_UM
    split = int((np.unique(inside[inside > 0], return_counts=True)[1] > 1).sum())
    return SlideFigures(len(numbers), near.mean(), matched.sum() / len(numbers), alone.mean(), split)


def nearest_object_um(events: DetectedEvents, row: int, column: int) -> float:
    """Distance from a place to the nearest object without a nucleus, in um."""
    objects = events.kind == OBJECT
    distance = np.hypot(events.y_px[objects] - row, events.x_px[objects] - column)
    return float(distance.min(initial=np.inf)) * PIXEL_SIZE_UM


def main() -> None:
    """Read the arguments, detect and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--frames", type=int, nargs="+", default=[2, 3, 4, 5])
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    settings = load_platform("bzscanner").detection
    detector = EventDetector(settings, [role for _, role in CHANNELS], PIXEL_SIZE_UM)
    for frame in arguments.frames:
        counts, mask = read_frame(arguments.folder, frame)
        detector.detect(counts)
        start = time.perf_counter()
        events = detector.detect(counts)[0]
        seconds = time.perf_counter() - start
        figures = compare(events, mask)
        kinds = {kind: int((events.kind == kind).sum()) for kind in (CELL, OBJECT, CLUSTER)}
        print(
            f"frame {frame}: {figures.masks} masks, {100 * figures.near:.2f} % with a cell within {MATCH_UM:g} um "
            f"({100 * figures.matched:.2f} % one to one), {figures.split} masks split; {kinds[CELL]} cells, "
            f"{100 * figures.without_mask:.2f} % without a mask; {kinds[OBJECT]} objects, {kinds[CLUSTER]} clusters; "
            f"{events.specks_per_mm2[1]:.0f} CK specks per mm2; {seconds:.3f} s"
        )
        if frame == 4:
            for row, column in OBJECTS_FRAME_4:
                print(
                    f"  object at ({row}, {column}): found {nearest_object_um(events, row, column):.2f} um from there"
                )


if __name__ == "__main__":
    main()
