"""A trained network whose answers another learns from beside the labels (distillation; Hinton et al. 2015).

A small network learns more from what a large one says of each augmented crop, such as «a CTC, and half as likely with
platelets on it», than from the label alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import file_digest
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ctcnet.errors import ModelFileError, SettingError, SplitError
from ctcnet.model_card import ModelCard, hash_group
from ctcnet.training.checkpoint import load_classifier
from ctcnet.training.data_match import check_data_of_model
from ctcnet.training.temperature import UNFINISHED

if TYPE_CHECKING:
    from ctcnet.data.crop_data_module import CropDataModule

_SAME_SPLIT = "train the teacher with this run's manifest, data settings and split"


@dataclass(frozen=True)
class TeacherSettings:
    """Which network teaches, and how much it counts.

    Attributes:
        model: checkpoint (.ckpt) or run folder of a finished model of the same channels, classes, scale and levels,
            trained on the same split; None for no teacher.
        share: share of each crop's target that is the teacher's answer, above 0, at most 1; the rest is the label.
    """

    model: str | None = None
    share: float = 0.5

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:
            raise SettingError(
                "the teacher's share is out of range",
                where="model.teacher.share",
                expected="above 0, at most 1",
                found=str(self.share),
            )


def find_teacher(model: str, run_dir: Path | None = None) -> Path:
    """Checkpoint of a teacher, given as such or by its run folder.

    Args:
        model: its path.
        run_dir: folder of the run that it is to teach.

    Raises:
        ModelFileError: there is none.
        SettingError: it lies in `run_dir`, where the run would write over it.
    """
    path = Path(model) / "best.ckpt" if Path(model).is_dir() else Path(model)
    if not path.is_file():
        raise ModelFileError(
            "there is no such teacher",
            where=model,
            expected="a checkpoint (.ckpt) or a run folder with best.ckpt",
            fix="check --model.teacher.model; a run that is resumed needs its teacher as well",
        )
    if run_dir is not None and run_dir.resolve() in path.resolve().parents:
        raise SettingError("the run would write over its own teacher", where=path, fix="choose another --run_dir")
    return path


class Teacher:
    """A finished network on whose answers targets rest.

    It is no module, so that neither optimizer, checkpoint nor data-parallel wrapper takes it for a part of the network.

    Args:
        settings: with a model.
        data: of the run, after its setup.
        target_prior: float (K,), class frequencies that the run's targets refer to, see `ImbalanceLoss.target_prior`.

    Attributes:
        source: name and hash of the checkpoint, as plain data.
        group_hashes: of the groups that it learnt from, see `ctcnet.model_card.hash_group`.

    Raises:
        ModelFileError: there is no such checkpoint, its training was not finished, or it cannot be used.
        ModelPanelError, SettingError: it was trained for other channels, classes, scale or levels.
        SplitError: it saw groups of the run's test part, or may have learnt from those of its validation part.
    """

    def __init__(self, settings: TeacherSettings, data: CropDataModule, target_prior: Tensor) -> None:
        assert settings.model is not None
        path = find_teacher(settings.model)
        predictor = load_classifier(path)
        card = predictor.card
        if UNFINISHED.note in card.limits:
            raise ModelFileError(
                "the teacher's training was not finished", where=path, fix="resume it with --ckpt_path last"
            )
        check_data_of_model(card, data, testing=True, who="the teacher", fix=_SAME_SPLIT)
        _check_validation(card, data)
        with path.open("rb") as stream:
            self.source = {"model": Path(settings.model).name, "sha256": file_digest(stream, "sha256").hexdigest()}
        self.group_hashes = card.training_data.group_hashes
        self.share, self.temperature = settings.share, card.temperature
        self.network = predictor.network.requires_grad_(False)
        self.shift = (
            target_prior.double().log() - torch.tensor(card.training_prior, dtype=torch.float64).log()
        ).float()
        augmentation = card.training_settings.get("data", {}).get("augmentation") or {}
        self.knows_absence = augmentation.get("channel_drop", 0) > 0

    @torch.no_grad()
    def targets(self, x: Tensor, presence: Tensor | None, labels: Tensor) -> Tensor:
        """Targets that are labels by one share and the teacher's answers by the other.

        Args:
            x: (N, C, H, W) float, normalised and augmented, as the network that learns sees them.
            presence: (N, C) bool, channels that it sees; None means all. A teacher that was never trained without a
                channel sees them all.
            labels: (N, K) float, rows add up to 1.

        Returns:
            (N, K) float32, rows add up to 1.
        """
        if self.shift.device != x.device:
            self.network, self.shift = self.network.to(x.device), self.shift.to(x.device)
        logits = self.network(x, presence if self.knows_absence else None).logits.float()
        answers = torch.softmax(logits / self.temperature + self.shift, dim=1)
        return (1 - self.share) * labels + self.share * answers


def _check_validation(card: ModelCard, data: CropDataModule) -> None:
    """Raise SplitError where the teacher may have learnt from the run's validation groups.

    A card lists the groups of training and validation together; the same training crops mean the same division.
    """
    seen, groups = set(card.training_data.group_hashes), sorted({str(g) for g in data.crops.group[data.rows_of("val")]})
    shared = [group for group in groups if hash_group(group) in seen]
    if shared and data.crops.subset(data.rows_of("train")).sha256 != card.training_data.sha256:
        raise SplitError(
            f"the teacher saw {len(shared)} groups of the validation part and was trained on other crops than this run",
            where=data.manifest,
            found=", ".join(shared[:5]),
            fix=_SAME_SPLIT,
        )


def check_teacher(before: Mapping[str, Any] | None, now: Mapping[str, Any] | None) -> None:
    """Refuse to go on with a run whose teacher is another one than before, of which None stands for none.

    Raises:
        SettingError: their hashes differ.
    """
    hashes = [None if source is None else source["sha256"] for source in (before, now)]
    if hashes[0] != hashes[1]:
        raise SettingError(
            "the teacher is not the one that the run began with",
            where="model.teacher.model",
            expected="none" if before is None else f"{before['model']}, sha256 {before['sha256']}",
            found="none" if now is None else f"{now['model']}, sha256 {now['sha256']}",
            fix="resume with the same --model.teacher.model",
        )
