"""Windows of an image, whole or a part of a larger one."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ctcnet.scan.windows import cut_windows


@pytest.mark.parametrize("part", [np.s_[:], np.s_[:, 3:20, 5:30], np.s_[:, ::2, ::2], np.s_[1:, :, 4:]])
def test_windows_are_those_of_indexing(part: slice) -> None:
    image = torch.rand(3, 40, 50)[part]
    top = torch.tensor([0, 2, image.shape[1] - 6])
    left = torch.tensor([3, 0, image.shape[2] - 7])
    rows, columns = top[:, None] + torch.arange(6), left[:, None] + torch.arange(7)
    expected = image[:, rows[:, :, None], columns[:, None, :]]
    windows = cut_windows(image, top, left, 6, 7)
    assert torch.equal(windows, expected)
    assert windows.is_contiguous()


def test_no_windows() -> None:
    nothing = torch.zeros(0, dtype=torch.int64)
    assert cut_windows(torch.rand(3, 40, 50), nothing, nothing, 6, 7).shape == (3, 0, 6, 7)
