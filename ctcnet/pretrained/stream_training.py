"""One training of the universal network on a stream of simulated crops."""

from __future__ import annotations

import torch
from lightning.pytorch import Trainer, seed_everything
from torch import Tensor
from torch.utils.data import DataLoader

from ctcnet.pretrained.universal_module import UniversalModule, UniversalSettings
from ctcnet.simulate.crop_stream import CropStream, StreamSettings, Teacher
from ctcnet.simulate.effects import Effects

_PREFETCH = 24
"""Batches that a worker keeps ready: pieces take seconds to simulate, batches of them come at once."""


def train_on_stream(
    settings: UniversalSettings,
    stream: StreamSettings,
    seed: int,
    workers: int = 1,
    start: dict[str, Tensor] | None = None,
    teacher: Teacher | None = None,
) -> dict[str, Tensor]:
    """Train on crops with every effect, on a GPU if there is one, in bfloat16.

    Args:
        settings: of the training.
        stream: what is simulated.
        seed: of weights, crops and dropout.
        workers: processes that simulate; 0 where a GPU does it.
        start: weights to start from; random ones where None.
        teacher: whose answers the network learns as well, `settings.taught_share` of its targets.

    Returns:
        Weights of the moving average, on the CPU.
    """
    seed_everything(seed, verbose=False)
    device = "cuda" if torch.cuda.is_available() and not workers else "cpu"
    crops = CropStream(stream, seed, Effects.all(), device, teacher)
    loader = DataLoader(crops, batch_size=None, num_workers=workers, prefetch_factor=_PREFETCH if workers else None)
    module = UniversalModule(settings, start)
    trainer = Trainer(
        max_steps=settings.steps,
        accelerator="gpu" if torch.cuda.is_available() else "cpu",
        devices=1,
        precision="bf16-mixed",
        gradient_clip_val=5.0,
        logger=False,
        enable_checkpointing=False,
        log_every_n_steps=20,
    )
    trainer.fit(module, loader)
    return {name: value.detach().cpu().contiguous() for name, value in module.average.state_dict().items()}
