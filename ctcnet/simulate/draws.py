"""Random numbers from one seeded generator on one device."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ctcnet.errors import SettingError


@dataclass(frozen=True)
class Draws:
    """A generator and its device; every draw is float32 unless said."""

    generator: torch.Generator

    @classmethod
    def from_seed(cls, seed: int, device: torch.device) -> Draws:
        """Draws that depend on `seed` and the kind of device alone; 0 is a seed like any other."""
        if not 0 <= seed < 2**63:
            raise SettingError("is out of range", where="seed", expected="0 or more, below 2**63", found=str(seed))
        generator = torch.Generator(device)
        generator.manual_seed(seed)
        return cls(generator)

    @property
    def device(self) -> torch.device:
        """Where the numbers are made."""
        return self.generator.device

    def uniform(self, shape: tuple[int, ...], low: float | Tensor = 0.0, high: float | Tensor = 1.0) -> Tensor:
        """Uniform in [low, high)."""
        return low + (high - low) * torch.rand(shape, generator=self.generator, device=self.device)

    def normal(self, shape: tuple[int, ...], sd: float = 1.0) -> Tensor:
        """Normal with mean 0."""
        return torch.randn(shape, generator=self.generator, device=self.device).mul_(sd)

    def spread(self, shape: tuple[int, ...], log_sd: float) -> Tensor:
        """Log-normal factor with median 1."""
        return torch.exp(self.normal(shape, log_sd))

    def log_uniform(self, shape: tuple[int, ...], low: float, high: float) -> Tensor:
        """Uniform in the logarithm between low and high."""
        return torch.exp(self.uniform(shape, math.log(low), math.log(high)))

    def angle(self, shape: tuple[int, ...]) -> Tensor:
        """Uniform direction in radians."""
        return self.uniform(shape, 0.0, 2 * math.pi)

    def chance(self, shape: tuple[int, ...], probability: float | Tensor) -> Tensor:
        """Boolean, true with `probability`."""
        return self.uniform(shape) < probability

    def integers(self, shape: tuple[int, ...], low: int, high: int) -> Tensor:
        """Integers (int64) in [low, high]."""
        return torch.randint(low, high + 1, shape, generator=self.generator, device=self.device)

    def choose(self, probabilities: Tensor) -> Tensor:
        """Index (int64) per row of `probabilities` (N, K), whose rows sum to 1."""
        level = self.uniform((len(probabilities), 1))
        return (level > probabilities.cumsum(1)[:, :-1]).sum(1)

    def poisson(self, mean: Tensor) -> Tensor:
        """Poisson counts (int64) of small means."""
        return torch.poisson(mean.float(), generator=self.generator).long()
