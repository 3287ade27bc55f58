"""Batch norm over all processes of a run on any device, and its folding into convolutions for deployment.

`torch.nn.SyncBatchNorm` refuses CPU tensors, so that two CPU processes could not give the gradients of one.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TypeVar

import torch
from torch import Tensor, distributed, nn
from torch.distributed.nn.functional import all_reduce
from torch.nn.utils.fusion import fuse_conv_bn_eval

_Module = TypeVar("_Module", bound=nn.Module)


def _world_size() -> int:
    return distributed.get_world_size() if distributed.is_available() and distributed.is_initialized() else 1


class _SyncedBatchNorm(nn.modules.batchnorm._BatchNorm):
    """Batch norm whose training statistics are those of the batches of all processes together.

    With one process, and in evaluation, it is torch's batch norm. Gradients flow through the exchanged statistics, so
    that a data-parallel run equals one process with the same global batch, whatever each process's share of it.
    """

    def forward(self, input: Tensor) -> Tensor:
        if not self.training or _world_size() == 1:
            return super().forward(input)
        self._check_input_dim(input)
        x = input if input.dtype == torch.float64 else input.float()
        axes = [axis for axis in range(x.dim()) if axis != 1]
        shape = [1, -1] + [1] * (x.dim() - 2)
        local_count = x.new_full((1,), x.numel() / x.shape[1])
        totals = all_reduce(torch.cat([x.sum(dim=axes), local_count]))
        count = totals[-1].detach()
        mean = totals[:-1] / count
        centred = x - mean.view(shape)
        variance = all_reduce(centred.square().sum(dim=axes)) / count
        self._update_running(mean.detach(), variance.detach() * count / (count - 1).clamp(min=1))
        out = centred * torch.rsqrt(variance + self.eps).view(shape)
        if self.affine:
            out = out * self.weight.view(shape) + self.bias.view(shape)
        return out.to(input.dtype)

    @torch.no_grad()
    def _update_running(self, mean: Tensor, unbiased_variance: Tensor) -> None:
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked.add_(1)
        momentum = 1.0 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), momentum)
        self.running_var.lerp_(unbiased_variance.to(self.running_var.dtype), momentum)


class BatchNorm2d(_SyncedBatchNorm, nn.BatchNorm2d):
    """`nn.BatchNorm2d`, synchronised over processes in training. Input (N, C, H, W)."""


class BatchNorm1d(_SyncedBatchNorm, nn.BatchNorm1d):
    """`nn.BatchNorm1d`, synchronised over processes in training. Input (N, C)."""


def synchronise_batch_norm(module: _Module) -> _Module:
    """Replace every plain batch norm in `module`, in place, by the synchronised one with the same parameters."""
    for name, child in module.named_children():
        if isinstance(child, nn.BatchNorm1d | nn.BatchNorm2d) and not isinstance(child, _SyncedBatchNorm):
            kind = BatchNorm2d if isinstance(child, nn.BatchNorm2d) else BatchNorm1d
            replacement = kind(
                child.num_features, child.eps, child.momentum, child.affine, child.track_running_stats
            ).train(child.training)
            replacement.load_state_dict(child.state_dict())
            setattr(module, name, replacement)
        else:
            synchronise_batch_norm(child)
    return module


def fold_batch_norm(module: _Module) -> _Module:
    """Fold, in place, each batch norm that is the next child after a convolution into that convolution.

    `module` must be in evaluation mode, and its children must be called in the order in which they stand, which holds
    for the torchvision backbones and for `ctcnet.networks.compact`.
    """
    children = list(module.named_children())
    for (name, conv), (next_name, norm) in pairwise(children):
        if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d) and conv.out_channels == norm.num_features:
            setattr(module, name, fuse_conv_bn_eval(conv, norm))
            setattr(module, next_name, nn.Identity())
    for _, child in module.named_children():
        fold_batch_norm(child)
    return module
