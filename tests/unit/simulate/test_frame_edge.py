import numpy as np
import pytest
import torch

from ctcnet.simulate.draws import Draws
from ctcnet.simulate.frame_edge import cut_at_edge

pytestmark = pytest.mark.unit

PIXEL_UM, SIZE = 0.6, 64


def _cut(counts: torch.Tensor, share: float, seed: int = 0) -> torch.Tensor:
    count = len(counts)
    fill = torch.tensor([7.3, 70_000.0]).expand(count, 2)
    return cut_at_edge(
        counts, torch.full((count,), share), fill, 4095, PIXEL_UM, Draws.from_seed(seed, torch.device("cpu"))
    )


def test_nothing_is_cut_at_a_share_of_nil():
    counts = torch.randint(0, 4096, (9, 2, SIZE, SIZE)).to(torch.uint16)
    np.testing.assert_array_equal(_cut(counts, 0.0).numpy(), counts.numpy())


def test_one_side_holds_the_background_alone_and_the_centre_is_seen():
    counts = torch.full((200, 2, SIZE, SIZE), 900, dtype=torch.int32).to(torch.uint16)
    cut = _cut(counts, 1.0).numpy()
    filled = cut[:, 0] == 7
    assert set(np.unique(cut[:, 0])) == {7, 900}
    assert set(np.unique(cut[:, 1])) == {4095, 900}
    assert ((cut[:, 1] == 4095) == filled).all()
    lines = np.stack([filled.all(2).sum(1), filled.all(1).sum(1)], 1)  # whole rows and columns
    assert (filled.sum((1, 2)) == SIZE * lines.max(1)).all()
    assert (lines.min(1) == 0).all()
    beside = [filled[:, 0].all(1), filled[:, -1].all(1), filled[:, :, 0].all(1), filled[:, :, -1].all(1)]
    assert all(side.sum() > 20 for side in beside)
    assert not filled[:, SIZE // 2, SIZE // 2].any()


def test_what_is_left_of_a_nucleus_lies_at_the_centre():
    row, column = np.indices((SIZE, SIZE)) - (SIZE - 1) / 2
    nucleus = (np.hypot(row, column) * PIXEL_UM < 3.4) * 900
    counts = torch.from_numpy(np.broadcast_to(nucleus, (300, 2, SIZE, SIZE)).astype(np.int32).copy()).to(torch.uint16)
    cut = _cut(counts, 1.0)[:, 0].numpy()
    for crop in cut:
        y, x = np.nonzero(crop == 900)
        middle = np.array([(y.min() + y.max()) / 2, (x.min() + x.max()) / 2]) - (SIZE - 1) / 2
        assert np.abs(middle).max() <= 1.5
