"""Decisions that change when a picture is turned or mirrored, of networks whose answers are known."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from view_consistency import changes

pytestmark = pytest.mark.unit


class _Corner(nn.Module):
    """Calls class 0 where the first pixel is bright, else class 1."""

    def forward(self, x: Tensor) -> SimpleNamespace:
        bright = x[:, 0, 0, 0]
        return SimpleNamespace(logits=torch.stack([bright, 1 - bright], dim=1))


class _Mean(nn.Module):
    """Looks at nothing but the mean."""

    def forward(self, x: Tensor) -> SimpleNamespace:
        mean = x.mean(dim=(1, 2, 3))
        return SimpleNamespace(logits=torch.stack([mean, 1 - mean], dim=1))


def _crops() -> Tensor:
    """One crop bright in all corners, one in none, and one in the last alone."""
    x = torch.zeros(3, 1, 4, 4)
    x[0, 0, ::3, ::3] = 1.0
    x[2, 0, 3, 3] = 1.0
    return x


def test_a_decision_that_hangs_on_one_corner_changes() -> None:
    assert changes(_Corner(), _crops(), np.eye(2)).tolist() == [False, False, True]


def test_what_does_not_hang_on_the_side_never_changes() -> None:
    assert not changes(_Mean(), _crops(), np.eye(2)).any()
