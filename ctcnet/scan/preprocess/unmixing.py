"""Spectral spillover undone in the counts of a frame."""

from __future__ import annotations

import torch
from torch import Tensor

from ctcnet.scan.preprocess.quality import SATURATED_SHARE
from ctcnet.scan.typical_counts import typical_counts


def undo_spillover(counts: Tensor, unmixing: Tensor, full_scale: float) -> Tensor:
    """Counts with the spillover between channels undone; the twin of the frame graph's.

    U (y - b) + b, with U the unmixing matrix and b the typical counts of each channel in this frame: the background
    stays where it was, however high that of another channel is. Saturated pixels stay as they are, since nobody knows
    their counts and they are told by them.

    Args:
        counts: (C, H, W) float32 camera counts.
        unmixing: (C, C) float32, see `ctcnet.scan.preprocess.spillover.unmixing_matrix`.
        full_scale: largest count of the camera.

    Returns:
        (C, H, W) float32, none below 0.
    """
    typical = typical_counts(counts)
    own = torch.einsum("ij,jhw->ihw", unmixing, counts)
    own.add_(typical - torch.einsum("ij,jhw->ihw", unmixing, typical)).clamp_min_(0)
    return torch.where(counts >= SATURATED_SHARE * full_scale, counts, own)
