"""Sizes and levels of leukocytes on a real slide, where it is at hand, against those measured by other means."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage
from skimage.feature import peak_local_max
from skimage.measure import regionprops
from skimage.segmentation import watershed

from ctcnet.panel import Channel, Panel
from ctcnet.scan.measure.event_measurer import EventMeasurer

pytestmark = pytest.mark.unit

SLIDE = Path(__file__).resolve().parents[5] / "shared" / "data" / "blood_slide"
PANEL = Panel("slide", (Channel("DAPI", "nucleus"), Channel("CK", "epithelial"), Channel("CD45", "leukocyte")), 8, 0.59)


def simple_events(counts: np.ndarray) -> SimpleNamespace:
    """Nuclei by a DAPI threshold and watershed."""
    smooth = ndimage.gaussian_filter(counts[0], 1.5)
    peaks = peak_local_max(smooth, min_distance=6, threshold_abs=10)
    seeds = np.zeros(smooth.shape, int)
    seeds[tuple(peaks.T)] = np.arange(1, len(peaks) + 1)
    regions = [region for region in regionprops(watershed(-smooth, seeds, mask=smooth > 8)) if region.area > 25]
    y, x = np.array([region.centroid for region in regions], np.float32).T
    background = np.median(counts, (1, 2)).astype(np.float32)
    noise = 1.4826 * np.median(np.abs(counts - background[:, None, None]), (1, 2))
    return SimpleNamespace(
        x_px=x,
        y_px=y,
        kind=np.zeros(len(x), np.uint8),
        diameter_um=np.full(len(x), 8.5, np.float32),
        parent=np.full(len(x), -1, np.int32),
        crowded=np.zeros(len(x), bool),
        background=background,
        noise=np.maximum(noise, 0.29).astype(np.float32),
    )


def test_leukocytes_have_the_sizes_and_levels_of_the_field_notes():
    if not SLIDE.is_dir():
        pytest.skip(f"the real slide is not at hand: {SLIDE}")
    counts = np.stack([np.asarray(Image.open(SLIDE / f"Tile{n:06}.jpg"), np.float32) for n in (5, 2309, 4613)])
    found = simple_events(counts)
    out = EventMeasurer(PANEL, 0.59).measure(torch.from_numpy(counts), found, found.noise)
    low, middle, high = np.percentile(out["nucleus_diameter_um"], [5, 50, 95])
    assert middle == pytest.approx(7.0, abs=0.4)
    assert low == pytest.approx(5.2, abs=0.6)
    assert high == pytest.approx(8.1, abs=0.4)
    cd45_um = 2 * np.sqrt(out["positive_area_um2_CD45"] / np.pi)
    assert np.median(cd45_um) == pytest.approx(8.5, abs=0.5)
    assert np.median(out["mean_CK"]) == pytest.approx(24, abs=5)
    assert np.median(out["background_CK"]) == pytest.approx(3, abs=1.5)
    assert (out["nucleus_count"] > 1).mean() < 0.03
