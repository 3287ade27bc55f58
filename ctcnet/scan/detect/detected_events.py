"""What the detector found in one image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class DetectedEvents:
    """Events of one image, sorted by y, then x, then kind.

    Attributes:
        x_px, y_px: (N,) float32, centre in pixels of the image; (0, 0) is the centre of its upper left pixel. A cell
            stands at the centre of its nucleus, a cluster at the mean of its members.
        kind: (N,) uint8, see `ctcnet.scan.event_kinds`.
        diameter_um: (N,) float32, of the stained area of a cell (its nucleus where nothing else is stained), of an
            object; for a cluster the diameter of the circle about its centre that holds its members.
        snr: (N,) float32, height over the surroundings in standard deviations of the noise: of the nucleus, of an
            object in the channel that shows it best, of a cluster's brightest nucleus.
        members: (N,) int16, 1 for cells and objects, 2 or more for clusters.
        parent: (N,) int32, row of the cluster that a cell is a member of, else -1.
        crowded: (N,) bool, cells that touch others in a group too large to be one cluster (see `group_cells`).
        background: (C,) float32, typical background of each channel in counts.
        noise: (C,) float32, standard deviation of the background's pixels in counts, at least the noise floor.
        specks_per_mm2: (C,) float32, peaks too small to be events per mm2 of area free of cells; 0 for channels in
            which nothing is looked for, NaN where no area is free of cells.
        too_crowded: whether nuclei lie so close that no background is seen between them or that they can hardly be told
            apart; then there are more cells than were found.
    """

    x_px: np.ndarray
    y_px: np.ndarray
    kind: np.ndarray
    diameter_um: np.ndarray
    snr: np.ndarray
    members: np.ndarray
    parent: np.ndarray
    crowded: np.ndarray
    background: np.ndarray
    noise: np.ndarray
    specks_per_mm2: np.ndarray
    too_crowded: bool = False

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.x_px)
