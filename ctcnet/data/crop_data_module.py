"""The data module: a manifest or store, divided by group, as loaders for one process of a run."""

from __future__ import annotations

from functools import cached_property
from hashlib import sha256
from pathlib import Path

import numpy as np
import torch
from lightning.fabric.utilities.rank_zero import rank_zero_only
from lightning.pytorch import LightningDataModule
from rich.console import Console
from rich.table import Table

from ctcnet.crops import read_crops
from ctcnet.crops.labelled_crops import LabelledCrops
from ctcnet.data.augmentation import Augmentation
from ctcnet.data.crop_dataset import CropDataset
from ctcnet.data.partition import PARTS, SplitSettings, divide, part_table
from ctcnet.data.resumable_loader import ResumableLoader
from ctcnet.data.training_levels import NormalizationChoice, TrainingLevels, choose_mode, own_levels, spread_rows
from ctcnet.errors import SettingError, SplitError
from ctcnet.labels import LabelSchema, load_schema
from ctcnet.normalization import scale_floor
from ctcnet.panel import Panel, load_panel
from ctcnet.resampling import MOST_CROP_SIZE_PX


class CropDataModule(LightningDataModule):
    """Labelled crops for training, validation and testing.

    Args:
        manifest: CSV or Parquet manifest, folder of class folders, or packed store.
        panel: name of a shipped panel, or path of a YAML file.
        labels: name of a shipped label schema, path of a YAML file, or None to take the manifest's labels.
        pixel_size_um: micrometres per pixel of the model; None takes the panel's.
        crop_size_px: side of the model's square input, a multiple of 4.
        assumed_pixel_size_um: micrometres per pixel of images that do not state theirs.
        normalization: where levels come from; 'auto' is 'cartridge' where every training crop states its levels, else
            'per_crop' with a notice.
        batch_size: crops in a training batch over all processes together.
        least_steps_per_epoch: where the training crops fill fewer batches, an epoch is as many passes over them as it
            takes, each augmented anew; 1 is always one pass.
        num_workers: processes that read ahead; 0 reads in the training process.
        seed: seed of order and augmentation, 0 or greater.
        split: how groups are divided.
        augmentation: what is done to training crops.
    """

    def __init__(
        self,
        manifest: str,
        panel: str,
        labels: str | None = None,
        pixel_size_um: float | None = None,
        crop_size_px: int = 64,
        assumed_pixel_size_um: float | None = None,
        normalization: NormalizationChoice = "auto",
        batch_size: int = 128,
        least_steps_per_epoch: int = 1,
        num_workers: int = 0,
        seed: int = 0,
        split: SplitSettings = SplitSettings(),  # noqa: B008  (frozen)
        augmentation: Augmentation = Augmentation(),  # noqa: B008  (frozen)
    ) -> None:
        super().__init__()
        self.manifest = manifest
        self.source_panel = load_panel(panel)
        self.panel: Panel = self.source_panel.network_panel()
        self.labels = None if labels is None else load_schema(labels)
        self.pixel_size_um = _model_scale(pixel_size_um, self.source_panel)
        self.crop_size_px = crop_size_px
        self.assumed_pixel_size_um = assumed_pixel_size_um
        self.normalization = normalization
        self.batch_size, self.num_workers, self.seed = batch_size, num_workers, seed
        self.least_steps_per_epoch = least_steps_per_epoch
        self.split, self.augmentation = split, augmentation
        self._crops: LabelledCrops | None = None
        self._fed = np.array([role != "none" for role in self.source_panel.roles])
        if not 16 <= crop_size_px <= MOST_CROP_SIZE_PX or crop_size_px % 4:
            raise SettingError(
                "crop_size_px does not suit",
                expected=f"a multiple of 4, 16 to {MOST_CROP_SIZE_PX}",
                found=str(crop_size_px),
            )
        if batch_size < 1 or least_steps_per_epoch < 1 or num_workers < 0 or seed < 0:
            names = "batch_size, least_steps_per_epoch, num_workers or seed"
            raise SettingError(f"{names} is out of range", where="data")

    def setup(self, stage: str) -> None:
        """Read the manifest, divide it, fix the levels and print what there is. Once, whatever the stages."""
        if self._crops is not None:
            return
        crops = read_crops(
            self.manifest,
            self.source_panel,
            self.labels,
            assumed_pixel_size_um=self.assumed_pixel_size_um,
            labelled=True,
        )
        self.part = divide(crops, self.split, self.manifest)
        self._crops = crops
        self._print_parts()
        self.levels = self._make_levels()

    @property
    def crops(self) -> LabelledCrops:
        """All crops of the manifest, after `setup`."""
        assert self._crops is not None, "setup has not been called"
        return self._crops

    @property
    def schema(self) -> LabelSchema:
        """Classes in the order of the model's outputs, after `setup`."""
        assert self.crops.schema is not None
        return self.crops.schema

    def rows_of(self, part: str) -> np.ndarray:
        """Rows of the manifest that belong to 'train', 'val' or 'test', int64."""
        return np.flatnonzero(self.part == part)

    def reader(self, part: str) -> PartReader:
        """Reads crops (n, C, S, S) of rows counted within a part, channels as the network takes them."""
        return PartReader(self.crops, self.rows_of(part), self._fed, self.pixel_size_um, self.crop_size_px)

    def _stated_levels(self, part: str) -> tuple[np.ndarray, np.ndarray]:
        rows = self.rows_of(part)
        return self.crops.background[rows][:, self._fed], self.crops.scale[rows][:, self._fed]

    def _make_levels(self) -> TrainingLevels:
        rows = self.rows_of("train")
        mode = choose_mode(self.normalization, self.crops.has_levels[rows])
        if self.normalization == "auto" and mode == "per_crop":
            _say(
                "Notice: the manifest states no background and scale for every crop, so each crop is normalised by "
                "itself (mode 'per_crop') and absolute stain is lost. Choose 'fixed' to keep it."
            )
        sample = self.reader("train")(spread_rows(len(rows))) if mode == "fixed" else None
        floor, pictures = scale_floor(self.panel.full_scale), self.panel.rgb_order is not None
        return own_levels(mode, *self._stated_levels("train"), sample, floor, shared_scale=pictures)

    def dataset(self, part: str) -> CropDataset:
        """Crops of one part; only the training part is augmented."""
        rows = self.rows_of(part)
        return CropDataset(
            self.reader(part),
            self.crops.require_targets()[rows],
            self.crops.weight[rows],
            *self.levels.of_rows(*self._stated_levels(part)),
            seed=self.seed,
            augmentation=self.augmentation if part == "train" else None,
            full_scale=self.panel.full_scale,
            per_crop_floor=self.levels.floor if self.levels.mode == "per_crop" else None,
            shared_scale=self.levels.shared_scale,
        )

    def loader(self, part: str, *, all_processes: bool = True) -> ResumableLoader:
        """Loader of one part for this process, or with `all_processes` false for a process that reads it alone."""
        trainer = self.trainer if all_processes else None
        training = part == "train"
        return ResumableLoader(
            self.dataset(part),
            self.batch_size,
            shuffle=training,
            drop_last=training,
            seed=self.seed,
            least_batches=self.least_steps_per_epoch if training else 1,
            num_workers=self.num_workers if all_processes else 0,
            current_epoch=None if trainer is None or not training else lambda: trainer.current_epoch,
            rank=0 if trainer is None else trainer.global_rank,
            world_size=1 if trainer is None else trainer.world_size,
            pin_memory=torch.cuda.is_available(),
        )

    def train_dataloader(self) -> ResumableLoader:
        return self.loader("train")

    def val_dataloader(self) -> ResumableLoader | list:
        return self.loader("val") if len(self.rows_of("val")) else []

    def test_dataloader(self) -> ResumableLoader:
        if not len(self.rows_of("test")):
            raise SplitError(
                "there are no crops to test on",
                where=self.manifest,
                expected="groups in the split 'test', kept apart before training",
                fix="set --data.split.test_fraction, or the manifest's column 'split', when fitting",
            )
        return self.loader("test")

    @rank_zero_only
    def _print_parts(self) -> None:
        table = Table(title=f"Crops of {self.manifest}")
        for name in ("class", *PARTS):
            table.add_column(name, justify="left" if name == "class" else "right")
        counts = part_table(self.crops, self.part)
        for place, name in enumerate(self.schema.classes):
            table.add_row(name, *(f"{counts[part][place]:g}" for part in PARTS))
        table.add_section()
        table.add_row("crops", *(str(int((self.part == part).sum())) for part in PARTS))
        table.add_row("groups", *(str(len(set(self.crops.group[self.part == part]))) for part in PARTS))
        Console(stderr=True).print(table)
        for note in self.crops.notes:
            _say(f"Notice: {note}")
        if self.split.folds is not None and self.split.fold is None:
            _say("Notice: folds are set but no fold to leave out (--data.split.fold), so that the folds are not used.")

    @rank_zero_only
    def write_splits(self, path: Path) -> None:
        """Write the part of every group as CSV with the columns group and split."""
        path.write_text(self._division(), encoding="utf-8")

    @cached_property
    def division_sha256(self) -> str:
        """Hash of which group is in which part."""
        return sha256(self._division().encode()).hexdigest()

    def _division(self) -> str:
        pairs = sorted(set(zip(map(str, self.crops.group), map(str, self.part), strict=True)))
        lines = ["group,split", *(f"{_quoted(group)},{part}" for group, part in pairs)]
        return "\n".join(lines) + "\n"


class PartReader:
    """Reads rows of one part; plain data, so that loader workers can have it."""

    def __init__(
        self, crops: LabelledCrops, rows: np.ndarray, fed: np.ndarray, pixel_size_um: float, crop_size_px: int
    ) -> None:
        self._crops, self._rows, self._fed = crops, rows, fed
        self._pixel_size_um, self._crop_size_px = pixel_size_um, crop_size_px

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        crops = self._crops.read(self._rows[rows], self._pixel_size_um, self._crop_size_px)
        return crops if self._fed.all() else crops[:, self._fed]


def _model_scale(pixel_size_um: float | None, panel: Panel) -> float:
    size = panel.pixel_size_um if pixel_size_um is None else pixel_size_um
    if size is None or not size > 0:
        raise SettingError(
            "the model's scale is not known",
            where=f"panel '{panel.name}'",
            expected="um per pixel above 0",
            found=str(size),
            fix="give --data.pixel_size_um, or a panel that fixes it",
        )
    return float(size)


def _quoted(text: str) -> str:
    return f'"{text.replace(chr(34), chr(34) * 2)}"' if any(c in text for c in ',"\n') else text


@rank_zero_only
def _say(message: str) -> None:
    Console(stderr=True).print(message, style="yellow", highlight=False)
