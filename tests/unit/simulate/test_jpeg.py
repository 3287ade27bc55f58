"""JPEG without files: as Pillow's own, whatever the quality and the size; crops of quality 0 stay as they are."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image

from ctcnet.simulate.jpeg import LUMINANCE, compress, compress_counts, cosine_matrix, quantisation

pytestmark = pytest.mark.unit


def _picture(size: int) -> np.ndarray:
    rng = np.random.default_rng(size)
    row, column = np.indices((size, size)) - size / 2
    disc = 150 * np.exp(-(row**2 + column**2) / 60)
    return np.clip(disc + rng.normal(20, 8, (size, size)), 0, 255).astype(np.uint8)


def _by_pillow(picture: np.ndarray, quality: int) -> np.ndarray:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file)).astype(float)


@pytest.mark.parametrize("quality", [30, 60, 75, 95])
@pytest.mark.parametrize("size", [64, 45])
def test_pixels_are_those_of_pillow(quality: int, size: int) -> None:
    picture = _picture(size)
    grey = torch.from_numpy(picture.astype(np.float32))[None, None]
    own = compress(grey, torch.tensor([float(quality)]))[0, 0].numpy()
    difference = np.abs(own - _by_pillow(picture, quality))
    assert difference.mean() < 0.4
    assert np.percentile(difference, 99) <= (3 if quality >= 60 else 5)
    assert difference.mean() < 0.3 * np.abs(own - picture).mean() + 0.1


def test_steps_are_those_of_pillow() -> None:
    file = io.BytesIO()
    Image.fromarray(_picture(16)).save(file, "JPEG", quality=80)
    table = Image.open(file).quantization[0]  # type: ignore[attr-defined]
    assert sorted(table) == sorted(quantisation(torch.tensor([80.0])).flatten().long().tolist())
    assert quantisation(torch.tensor([50.0]))[0].long().tolist() == [list(row) for row in LUMINANCE]


def test_transform_is_orthonormal() -> None:
    matrix = cosine_matrix(torch.device("cpu"))
    torch.testing.assert_close(matrix @ matrix.T, torch.eye(8), atol=1e-6, rtol=0)


def test_blocks_begin_at_the_corner() -> None:
    grey = torch.from_numpy(_picture(40).astype(np.float32))[None, None]
    quality = torch.tensor([40.0])
    inner = compress(grey[..., 5:, 3:], quality, (5, 3))
    torch.testing.assert_close(inner[..., 3:, 5:], compress(grey, quality)[..., 8:, 8:])


def test_counts_of_other_depths_are_stretched_to_white() -> None:
    counts = torch.from_numpy(np.stack([_picture(32)] * 2)[:, None].astype(np.uint16) * 4)
    white = torch.full((2, 1), 1020.0)
    changed = compress_counts(counts, torch.tensor([0.0, 90.0]), white, (0, 0))
    assert changed.dtype == torch.uint16
    np.testing.assert_array_equal(changed[0].numpy(), counts[0].numpy())
    difference = np.abs(changed[1].numpy().astype(int) - counts[1].numpy())
    assert 0 < difference.mean() < 30
    assert compress_counts(counts, torch.zeros(2), white, (0, 0)) is counts
