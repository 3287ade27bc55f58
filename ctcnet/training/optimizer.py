"""AdamW without decay on norms and biases, and a schedule of warm-up and cosine."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR

from ctcnet.errors import SettingError


@dataclass(frozen=True)
class OptimizerSettings:
    """AdamW (Loshchilov and Hutter 2019) with linear warm-up and a cosine to zero.

    Attributes:
        learning_rate: at its highest, for any batch size.
        weight_decay: for weights of two dimensions or more.
        warmup_epochs: epochs until the highest rate is reached; at most half of the run is used for it.
        beta2: decay of the second moment.
        epsilon: added to the root of the second moment. Adam divides by it the noise of gradients that are zero
            in exact arithmetic (a bias before batch norm); with 1e-3 runs on one and on two processes agree to 1e-5.
    """

    learning_rate: float = 2e-3
    weight_decay: float = 0.02
    warmup_epochs: float = 2.0
    beta2: float = 0.999
    epsilon: float = 1e-6

    def __post_init__(self) -> None:
        if not self.learning_rate > 0 or self.weight_decay < 0 or self.warmup_epochs < 0 or not 0 < self.beta2 < 1:
            raise SettingError("optimizer settings are out of range", where="model.optimizer", found=str(self))


def make_optimizer(network: nn.Module, settings: OptimizerSettings) -> torch.optim.AdamW:
    """Optimizer over the parameters of `network` that take gradients."""
    parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": settings.weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(
        groups, lr=settings.learning_rate, betas=(0.9, settings.beta2), eps=settings.epsilon, foreach=True
    )


def schedule_factor(step: int, warmup_steps: int, total_steps: int) -> float:
    """Learning rate at optimizer step `step` (from 0) as a fraction of the highest."""
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    progress = min(1.0, (step - warmup_steps) / max(1, total_steps - warmup_steps))
    return 0.5 * (1 + math.cos(math.pi * progress))


def make_schedule(
    optimizer: torch.optim.Optimizer, settings: OptimizerSettings, steps_per_epoch: int, total_steps: int
) -> LambdaLR:
    """Schedule, stepped after each optimizer step."""
    warmup = min(round(settings.warmup_epochs * steps_per_epoch), total_steps // 2)
    return LambdaLR(optimizer, lambda step: schedule_factor(step, warmup, total_steps))
