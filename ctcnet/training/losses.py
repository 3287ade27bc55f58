"""Losses for classes of very unequal frequency, and the prior that the logits they teach refer to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ctcnet.errors import SettingError

DecisionPrior = Literal["training", "balanced", "as_taught"]


@dataclass(frozen=True)
class LossSettings:
    """Cross entropy with choices against imbalance; they can be combined.

    Attributes:
        tau: strength of logit adjustment (Menon et al. 2021): the loss sees logits + tau * log(frequency). 0 is off.
        weighting: 'none'; 'inverse', class weights (1 / frequency)**weighting_power; or 'effective_number' (Cui et al.
            2019), (1 - beta) / (1 - beta**crops).
        weighting_power: exponent for 'inverse', 0 to 1.
        beta: for 'effective_number', 0 to below 1.
        focal_gamma: exponent of the focal loss (Lin et al. 2017); 0 is off.
        label_smoothing: share of each target spread evenly over the classes.
    """

    tau: float = 1.0
    weighting: Literal["none", "inverse", "effective_number"] = "none"
    weighting_power: float = 0.5
    beta: float = 0.999
    focal_gamma: float = 0.0
    label_smoothing: float = 0.0

    def __post_init__(self) -> None:
        checks = (
            ("tau", self.tau >= 0, "0 or more"),
            ("weighting_power", 0 <= self.weighting_power <= 1, "0 to 1"),
            ("beta", 0 <= self.beta < 1, "0 to below 1"),
            ("focal_gamma", self.focal_gamma >= 0, "0 or more"),
            ("label_smoothing", 0 <= self.label_smoothing < 1, "0 to below 1"),
        )
        for name, holds, expected in checks:
            if not holds:
                raise SettingError(
                    f"loss setting '{name}' is out of range", expected=expected, found=str(getattr(self, name))
                )


class ImbalanceLoss(nn.Module):
    """Weighted cross entropy on soft targets.

    Args:
        settings: see `LossSettings`.
        class_crops: (K,) float, training crops of each class times their weights, each above 0.

    Raises:
        SettingError: a class has none, or only crops of weight 0.
    """

    adjustment: Tensor
    class_weight: Tensor

    def __init__(self, settings: LossSettings, class_crops: Tensor) -> None:
        super().__init__()
        self.settings = settings
        if not (class_crops > 0).all():
            raise SettingError(
                "a class has no training crop of a weight above 0",
                where="column 'weight'",
                found=f"weights of the classes: {', '.join(f'{value:g}' for value in class_crops.tolist())}",
                fix="give crops of each class a weight above 0",
            )
        prior = class_crops.double() / class_crops.double().sum()
        if settings.weighting == "inverse":
            weight = prior ** (-settings.weighting_power)
        elif settings.weighting == "effective_number":
            weight = (1 - settings.beta) / (1 - settings.beta ** class_crops.double())
        else:
            weight = torch.ones_like(prior)
        weight = weight / (weight * prior).sum()
        self._log_prior = prior.log()
        self.register_buffer("adjustment", (settings.tau * prior.log()).float(), persistent=False)
        self.register_buffer("class_weight", weight.float(), persistent=False)
        self._log_taught = prior.log() + weight.log() - settings.tau * prior.log()

    def forward(
        self, logits: Tensor, target: Tensor, weight: Tensor, labels: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Loss of a batch.

        Args:
            logits: (N, K) float.
            target: (N, K) float, rows add up to 1.
            weight: (N,) float, 0 or more.
            labels: as `target`: what class weights go by where targets hold more than labels; None means targets.

        Returns:
            Sum of the crops' losses times their weights, and the sum of the weights; the loss is their quotient, taken
            over all processes together.
        """
        own = self.settings
        log_p = F.log_softmax(logits.float() + self.adjustment, dim=1)
        smooth = target * (1 - own.label_smoothing) + own.label_smoothing / target.shape[1]
        terms = -smooth * log_p
        if own.focal_gamma > 0:
            terms = terms * (1 - log_p.exp()).clamp(min=0) ** own.focal_gamma
        crop_weight = weight * ((target if labels is None else labels) @ self.class_weight)
        return (terms.sum(dim=1) * crop_weight).sum(), weight.sum()

    def target_prior(self) -> Tensor:
        """Class frequencies that targets and softmax(logits + adjustment) refer to, float64 (K,), summing to 1.

        They are those in training times the class weights.
        """
        return torch.softmax(self._log_taught + self.settings.tau * self._log_prior, dim=0)

    def stated_prior(self, decision_prior: DecisionPrior) -> Tensor:
        """Class frequencies that probabilities refer to after `logit_bias` was added, float64 (K,), summing to 1."""
        if decision_prior == "training":
            return self._log_prior.exp()
        if decision_prior == "balanced":
            return torch.full_like(self._log_prior, 1 / len(self._log_prior))
        return torch.softmax(self._log_taught, dim=0)

    def logit_bias(self, decision_prior: DecisionPrior) -> Tensor:
        """What to add to the network's logits so that their softmax refers to `stated_prior`, float32 (K,).

        The loss teaches logits z so that softmax(z + adjustment) is the posterior where class k has the frequency
        prior_k * weight_k; z itself therefore refers to prior_k * weight_k / exp(adjustment_k). Bayes' rule does the
        rest: the bias is log(stated prior) - log(that).
        """
        bias = self.stated_prior(decision_prior).log() - torch.log_softmax(self._log_taught, dim=0)
        return (bias - bias.mean()).float()
