"""Per-crop levels in torch, for graphs and for training on a device: the twin of `normalization.per_crop_levels`."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from ctcnet.errors import SettingError
from ctcnet.normalization import BLOCK_PX


class InputLevels(nn.Module):
    """Background and scale of each crop by itself: darkest block mean, and brightest block mean above it.

    Args:
        floor: least scale in counts, greater than 0; see `ctcnet.normalization.scale_floor`.
        shared_scale: whether the largest scale of a crop's channels stands for all of them.

    Raises:
        SettingError: `floor` is not greater than 0.
    """

    def __init__(self, floor: float, shared_scale: bool = False) -> None:
        super().__init__()
        if not floor > 0:
            raise SettingError("the least scale is out of range", expected="greater than 0 counts", found=str(floor))
        self.floor, self.shared_scale = float(floor), shared_scale

    def forward(self, counts: Tensor) -> tuple[Tensor, Tensor]:
        """Levels of raw counts.

        Args:
            counts: (N, C, H, W), any real dtype; H and W multiples of `BLOCK_PX`.

        Returns:
            background and scale, each float32 (N, C).

        Raises:
            SettingError: H or W is no multiple of the block.
        """
        height, width = counts.shape[2], counts.shape[3]
        if height % BLOCK_PX or width % BLOCK_PX:
            raise SettingError(
                "crop size is no multiple of the block",
                expected=f"multiple of {BLOCK_PX} px",
                found=f"{height} x {width}",
            )
        means = F.avg_pool2d(counts.float(), BLOCK_PX)
        background = means.amin((2, 3))
        scale = (means.amax((2, 3)) - background).clamp(min=self.floor)
        return background, scale.amax(1, keepdim=True).expand_as(scale) if self.shared_scale else scale
