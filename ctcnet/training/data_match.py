"""Whether a finished model and the data at hand belong together: channels, classes, scale, levels and groups."""

from __future__ import annotations

import numpy as np

from ctcnet.data.crop_data_module import CropDataModule
from ctcnet.errors import ModelPanelError, SettingError, SplitError
from ctcnet.labels import LabelSchema
from ctcnet.model_card import ModelCard, hash_group
from ctcnet.panel import Panel

_EVALUATE = "use the model's own config.yaml and manifest, or judge it on other data with ctcnet evaluate"


def check_data_of_model(
    card: ModelCard, data: CropDataModule, *, testing: bool, who: str = "the model", fix: str = _EVALUATE
) -> None:
    """Check that data are read, normalised and divided as they were when the model was trained.

    Args:
        card: the model's card.
        data: data module after its setup.
        testing: whether the test part is to be judged; none of its groups may have been seen in training.
        who: what messages call the model.
        fix: what to do where the data are not read and divided as for the model.

    Raises:
        ModelPanelError: other channels, roles, bits or classes.
        SettingError: another scale, crop size or levels.
        SplitError: groups of the test part were seen in training or validation.
    """
    expected, found = (_channels_and_classes(*both) for both in ((card.panel, card.labels), (data.panel, data.schema)))
    if expected != found:
        raise ModelPanelError(
            f"{who} was trained for other channels, roles, bits or classes",
            expected=expected,
            found=found,
            fix=f"give the panel and the labels that {who} was trained with",
        )
    trained = (card.pixel_size_um, card.crop_size_px, card.normalization.mode)
    at_hand = (data.pixel_size_um, data.crop_size_px, data.levels.mode)
    if trained != at_hand:
        raise SettingError(
            f"the data are not read as {who} was trained",
            where=data.manifest,
            expected="{:g} um per pixel, {} px, levels '{}'".format(*trained),
            found="{:g} um per pixel, {} px, levels '{}'".format(*at_hand),
            fix=fix,
        )
    own = card.normalization
    if not (_equal(own.background, data.levels.background) and _equal(own.scale, data.levels.scale)):
        raise SettingError(
            f"the training part at hand gives other levels than {who}'s own",
            where=data.manifest,
            expected=f"background {own.background}, scale {own.scale}",
            found=f"background {data.levels.background}, scale {data.levels.scale}",
            fix=fix,
        )
    seen = set(card.training_data.group_hashes)
    leaked = sorted({str(name) for name in data.crops.group[data.rows_of("test")] if hash_group(str(name)) in seen})
    if testing and leaked:
        raise SplitError(
            f"{who} saw {len(leaked)} groups of the test part in training or validation",
            where=data.manifest,
            found=", ".join(leaked[:5]),
            fix=fix,
        )


def check_division(before: str | None, data: CropDataModule) -> None:
    """Refuse an unfinished run where its groups are divided otherwise than before.

    Args:
        before: hash of the division, see `CropDataModule.division_sha256`; None in checkpoints of older versions, which
            do not say.
        data: data module after its setup.

    Raises:
        SplitError: groups were added, taken away or put into another part: what was learnt from would be tested.
    """
    if before is not None and before != data.division_sha256:
        raise SplitError(
            "groups are not divided into training, validation and test as when the run began",
            where=data.manifest,
            fix="give the manifest, split and seed that the run began with (its splits.csv lists the parts), or train "
            "in another --run_dir with --model.start_from",
        )


def _channels_and_classes(panel: Panel, labels: LabelSchema) -> str:
    channels = ", ".join(f"{channel.marker} ({channel.role})" for channel in panel.channels)
    return f"{channels}, {panel.bit_depth} bit; {', '.join(labels.classes)}"


def _equal(stated: tuple[float, ...] | None, found: np.ndarray | None) -> bool:
    if stated is None or found is None:
        return stated is None and found is None
    return np.allclose(stated, found, rtol=1e-5)
