"""The model card of a training run."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

import ctcnet
from ctcnet.data.crop_data_module import CropDataModule
from ctcnet.model_card import ModelCard, NormalizationCard, TrainingDataCard, hash_group, panel_limits
from ctcnet.training.classifier_module import ClassifierModule
from ctcnet.training.temperature import Temperature
from ctcnet.training.uncertainty_fit import Uncertainty


def training_data_card(data: CropDataModule, seen_by_teacher: Collection[str] = ()) -> TrainingDataCard:
    """What the run trains on. Reads every training image once for its hash.

    Args:
        data: of the run, after its setup.
        seen_by_teacher: hashes of the groups that its teacher learnt from, which its model has learnt from as well.
    """
    train = data.crops.subset(data.rows_of("train"))
    counts = train.require_targets().sum(axis=0)
    seen = np.concatenate([train.group, data.crops.group[data.rows_of("val")]])
    return TrainingDataCard(
        sha256=train.sha256,
        simulated=data.crops.simulated,
        crops=len(train),
        groups=len(set(train.group)),
        crops_per_class={name: float(n) for name, n in zip(data.schema.classes, counts, strict=True)},
        group_hashes=tuple(sorted({hash_group(str(group)) for group in seen} | set(seen_by_teacher))),
    )


def normalization_card(data: CropDataModule) -> NormalizationCard:
    """The run's levels as they stand on the card."""
    levels = data.levels
    own = [None if values is None else tuple(float(v) for v in values) for values in (levels.background, levels.scale)]
    return NormalizationCard(levels.mode, own[0], own[1], levels.floor, levels.shared_scale)


def make_card(
    module: ClassifierModule,
    trained_on: TrainingDataCard,
    temperature: Temperature,
    validation: Mapping[str, Any],
    uncertainty: Uncertainty = Uncertainty(),  # noqa: B008  (a tuple)
) -> ModelCard:
    """Card of the module's model as it stands."""
    data = module.data
    notes = () if temperature.note is None else (temperature.note,)
    share = module.uncertainty.atypical_share
    return ModelCard(
        name=module.name,
        backbone=module.backbone,
        panel=data.panel,
        labels=data.schema,
        pixel_size_um=data.pixel_size_um,
        crop_size_px=data.crop_size_px,
        normalization=normalization_card(data),
        temperature=temperature.value,
        training_prior=tuple(float(p) for p in module.stated_prior),
        unassigned_below=module.unassigned_below,
        training_data=trained_on,
        software_version=ctcnet.__version__,
        training_settings=module.settings_on_card,
        validation=dict(validation),
        limits=panel_limits(data.panel, data.schema) + notes + uncertainty.notes,
        conformal=uncertainty.conformal,
        atypicality_quantile=None if uncertainty.atypicality is None or share is None else 1 - share,
    )
