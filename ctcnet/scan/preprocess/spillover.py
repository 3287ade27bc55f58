"""Spectral spillover: the share of one channel's signal that shows in another, undone by a matrix."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ctcnet.errors import SettingError
from ctcnet.panel import Panel
from ctcnet.scan.platform import Platform

LARGEST_CONDITION = 20.0
"""Largest condition number of a mixing matrix that is undone: noise is amplified by up to as much."""


def unmixing_matrix(platform: Platform, panel: Panel) -> np.ndarray:
    """Matrix that undoes the spillover of a platform.

    Counts above background are y = M s, where M[j, i] is the share of channel i's own signal s_i that shows in channel
    j, with ones on the diagonal; the unmixing matrix is the inverse of M. `ctcnet.scan.preprocess.unmixing` applies it.

    Args:
        platform: its `spillover` maps channel -> channel -> share; empty gives the identity. Channels are named by
            their marker, their fluorophore, or as in `channel_names`; those in `ignorable` may be absent.
        panel: gives the order of the channels.

    Returns:
        (C, C) float64.

    Raises:
        SettingError: a channel is not in the panel, a share is no number from 0 to below 1, or the matrix cannot be
            undone without amplifying noise more than `LARGEST_CONDITION` times.
    """
    where = f"platform '{platform.name}', spillover"
    mixing = np.eye(len(panel.channels))
    for source, shares in _checked_mapping(platform.spillover, where).items():
        column = _channel_index(source, platform, panel, where)
        for target, share in _checked_mapping(shares, f"{where}, {source}").items():
            row = _channel_index(target, platform, panel, where)
            value = _checked_share(source, target, share, where)
            if row is None or column is None:
                continue
            if row == column or mixing[row, column] != 0:
                raise SettingError(f"gives the share from {source} to {target} twice, or to itself", where=where)
            mixing[row, column] = value
    condition = float(np.linalg.cond(mixing))
    if not condition <= LARGEST_CONDITION:
        raise SettingError(
            "cannot be undone: the channels are too alike",
            where=where,
            expected=f"a condition number of at most {LARGEST_CONDITION:g}",
            found=f"{condition:.3g}",
            fix="measure the shares again from single-stain images: ctcnet spillover",
        )
    return np.linalg.inv(mixing)


def _checked_mapping(value: object, where: str) -> Mapping[object, object]:
    if not isinstance(value, Mapping):
        raise SettingError("is no mapping", where=where, expected="channel: {channel: share}", found=str(value))
    return value


def _channel_index(name: object, platform: Platform, panel: Panel, where: str) -> int | None:
    """Place of a channel in the panel; None where it is one that may be absent."""
    folded = str(name).strip().casefold()
    markers = [marker.casefold() for marker in panel.markers]
    dyes = [(channel.fluorophore or "").casefold() for channel in panel.channels]
    named = {key.strip().casefold(): marker.casefold() for key, marker in platform.channel_names.items()}
    for candidates, wanted in ((markers, folded), (dyes, folded), (markers, named.get(folded))):
        if wanted and candidates.count(wanted) == 1:
            return candidates.index(wanted)
    if folded in {entry.strip().casefold() for entry in platform.ignorable}:
        return None
    raise SettingError(
        f"names the channel {name}, which the panel '{panel.name}' does not have",
        where=where,
        expected=", ".join(panel.markers),
        fix="name the markers of the panel, or list the channel under ignorable",
    )


def _checked_share(source: object, target: object, share: object, where: str) -> float:
    if isinstance(share, bool) or not isinstance(share, int | float) or not 0 <= share < 1:
        raise SettingError(
            f"has an impossible share from {source} to {target}",
            where=where,
            expected="a number from 0 to below 1",
            found=str(share),
        )
    return float(share)
