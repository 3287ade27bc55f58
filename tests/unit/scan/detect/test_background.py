"""Background and noise of frames whose levels are known."""

from __future__ import annotations

import pytest
import torch

from ctcnet.scan.detect.background import measure_background

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(("pixel_size_um", "block_px"), [(4.0, 16), (2.5, 26), (2.0, 32), (1.6, 40), (1.2, 51)])
@pytest.mark.parametrize("with_mask", [False, True])
def test_images_of_whole_blocks_can_be_measured_at_coarse_pixels(pixel_size_um, block_px, with_mask):
    """Steps 1, 1, 2, 2 and 3 between the samples: the outermost pixels have no Laplacian, at step 3 none is needed."""
    side = 6 * block_px
    generator = torch.Generator().manual_seed(4)
    counts = 20 + 3 * torch.randn((2, 2, side, side), generator=generator)
    valid = torch.ones((2, side, side), dtype=torch.bool) if with_mask else None
    if valid is not None:
        valid[:, :, :7] = False
    found = measure_background(counts, valid, pixel_size_um, 0.3)
    assert found.block_px == block_px
    assert found.grid.shape == (2, 2, 6, 6)
    assert found.level.flatten().tolist() == pytest.approx([20] * 4, abs=0.3)
    assert found.noise.flatten().tolist() == pytest.approx([3] * 4, rel=0.06)
    assert not found.crowded.any()
