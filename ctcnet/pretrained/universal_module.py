"""Training of the universal network on a stream of simulated crops."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn
from torch.nn import functional as F

from ctcnet.networks.bounded_relu import LIMIT, set_limit
from ctcnet.networks.reparam import weight_range_excess
from ctcnet.pretrained.universal_network import build_universal, logits_of_parts
from ctcnet.simulate.composition import CLASSES
from ctcnet.simulate.crop_stream import Part
from ctcnet.training.averaging import averaged_copy, update_average
from ctcnet.training.optimizer import OptimizerSettings, make_optimizer, make_schedule


@dataclass(frozen=True)
class UniversalSettings:
    """How the universal network is trained.

    Attributes:
        steps: optimizer steps.
        warmup_steps: until the highest learning rate.
        dropout: probability of dropping a feature of the embedding.
        label_smoothing: share of each target spread evenly over the classes.
        ema_decay: of the moving average that becomes the model.
        activation_limit: bound of the activations, see `ctcnet.networks.bounded_relu`.
        weight_range: size of merged weights beyond which they cost, see `reparam.weight_range_excess`; None for any.
        range_cost: what that excess is multiplied with before it is added to the loss.
        taught_share: share of the targets that is the teacher's answer where the crops come with one.
        optimizer: see `OptimizerSettings`; its warm-up is that of `warmup_steps`.
    """

    steps: int
    warmup_steps: int = 300
    dropout: float = 0.1
    label_smoothing: float = 0.01
    ema_decay: float = 0.999
    activation_limit: float = LIMIT
    weight_range: float | None = None
    range_cost: float = 0.3
    taught_share: float = 0.5
    optimizer: OptimizerSettings = OptimizerSettings(warmup_epochs=1.0)  # noqa: RUF009  (frozen)


class UniversalModule(LightningModule):
    """Cross entropy on batches that mix panels; the moving average of the weights is the model.

    Args:
        settings: see `UniversalSettings`.
        start: weights to start from; random ones where None.
    """

    def __init__(self, settings: UniversalSettings, start: dict[str, Tensor] | None = None) -> None:
        super().__init__()
        self.settings = settings
        network = build_universal(len(CLASSES), settings.dropout)
        if start is not None:
            network.load_state_dict(start)
        set_limit(network, settings.activation_limit)
        self.network = network.to(memory_format=torch.channels_last)  # pyright: ignore
        self.average: nn.Module = averaged_copy(self.network)

    def training_step(self, batch: list[Part], batch_idx: int) -> Tensor:
        dtype = next(self.network.parameters()).dtype
        parts = [part._replace(x=part.x.to(dtype).contiguous(memory_format=torch.channels_last)) for part in batch]
        target = torch.cat([part.labels for part in parts])
        seeds = torch.arange(len(target), device=target.device) + batch_idx * len(target)
        logits = logits_of_parts(self.network, parts, seeds).float()
        loss = F.cross_entropy(logits, target, label_smoothing=self.settings.label_smoothing)
        taught = [part.taught for part in parts if part.taught is not None]
        if taught:  # all parts of a stream are, or none
            loss = torch.lerp(loss, F.cross_entropy(logits, torch.cat(taught)), self.settings.taught_share)
        self.log("loss", loss, prog_bar=True)
        if self.settings.weight_range is not None:
            with torch.autocast(loss.device.type, enabled=False):
                loss = loss + self.settings.range_cost * weight_range_excess(self.network, self.settings.weight_range)
        self.log("accuracy", (logits.argmax(1) == target).float().mean(), prog_bar=True)
        return loss

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        step = self.trainer.global_step
        super().optimizer_step(*args, **kwargs)
        update_average(self.average, self.network, self.settings.ema_decay, step)

    def configure_optimizers(self) -> Any:
        settings = self.settings
        optimizer = make_optimizer(self.network, settings.optimizer)
        schedule = make_schedule(optimizer, settings.optimizer, settings.warmup_steps, settings.steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}
