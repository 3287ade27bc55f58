"""Which levels each crop is normalised with, and the name under which that is recorded."""

from __future__ import annotations

import warnings

import numpy as np

from ctcnet.errors import ManifestError, SettingError

CHOICES: tuple[str, ...] = ("auto", "model", "per_crop")
"""What a user may ask for; see `choose_levels`."""


def choose_levels(mode: str, choice: str, background: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Name, for each crop, where its levels come from.

    - 'cartridge': the crop's row states them (model of mode 'cartridge', choice 'auto').
    - 'model': the model's own constants: asked for, or the mode is 'fixed', or the row states none (a warning says so).
    - 'per_crop': each crop by itself: the model's mode, or asked for.

    Args:
        mode: mode of the model, one of `ctcnet.normalization.MODES`.
        choice: 'auto', 'model' or 'per_crop'.
        background, scale: (N, C), counts, NaN where a row states none.

    Returns:
        object (N,) of the names above.

    Raises:
        SettingError: unknown choice.
        ManifestError: a row states levels for some of its channels only.
    """
    if choice not in CHOICES:
        raise SettingError(f"unknown choice of levels '{choice}'", expected=f"one of: {', '.join(CHOICES)}")
    own = "per_crop" if mode == "per_crop" or choice == "per_crop" else "model"
    names = np.full(len(background), own, dtype=object)
    if mode != "cartridge" or choice != "auto":
        return names
    stated = np.isfinite(np.concatenate([background, scale], axis=1))
    complete = stated.all(axis=1)
    partial = np.flatnonzero(np.logical_and(stated.any(axis=1), ~complete))
    if partial.size:
        raise ManifestError(
            f"{len(partial)} rows state background and scale for some channels only, the first is row {partial[0] + 1}",
            expected="background_<channel> and scale_<channel> for every channel of the model, or for none",
        )
    names[complete] = "cartridge"
    if not complete.all():
        warnings.warn(
            f"{int(np.sum(~complete))} of {len(names)} crops state no background and scale of their cartridge; "
            "the model's own were used, and absolute stain may be off",
            stacklevel=2,
        )
    return names
