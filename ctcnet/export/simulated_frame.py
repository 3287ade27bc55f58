"""One simulated frame of a panel, to compare a frame graph with the scan on."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ctcnet.panel import Panel
from ctcnet.simulate.crop_simulator import DIFFICULTIES
from ctcnet.simulate.field_events import EventNumbers
from ctcnet.simulate.field_grid import FieldGrid
from ctcnet.simulate.field_renderer import FieldRenderer
from ctcnet.simulate.field_scene import compose_field, draw_patient

NUCLEI_PER_MM2 = 700.0
"""About 420 on a frame of CellTracks."""


def simulated_frame(panel: Panel, pixel_size_um: float, shape: tuple[int, int], seed: int) -> np.ndarray:
    """Counts of a simulated frame: leukocytes, and for each 40 one CTC, one cluster of each kind, one piece of debris.

    Args:
        panel: its channels.
        pixel_size_um: micrometres per pixel.
        shape: height and width in pixels.
        seed: the same seed gives the same frame on one machine.

    Returns:
        uint16 (C, H, W).
    """
    height, width = shape
    panel = replace(panel, pixel_size_um=pixel_size_um)
    grid = FieldGrid(1, 1, height, width, pixel_size_um)
    nuclei = max(3, round(NUCLEI_PER_MM2 * height * width * pixel_size_um**2 * 1e-6))
    rare = nuclei // 40
    numbers = EventNumbers(ctc=rare, clusters_neutrophil=rare, clusters_platelet=rare, leukocytes=nuclei, debris=rare)
    group = draw_patient(panel, seed, DIFFICULTIES["standard"])
    scene = compose_field(panel, grid, numbers, seed=seed, group=group)
    return FieldRenderer(scene, panel, grid).frame(next(iter(grid.scan_order())))
