"""Rows of clusters: the union of the members' pixels, from the members' own measurements."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def fill_cluster_rows(
    table: dict[str, np.ndarray], kind: np.ndarray, parent: np.ndarray, markers: Sequence[str], noise: np.ndarray
) -> None:
    """Write the rows of kind 2 of a table of measurements.

    Members share no pixels, so areas and counts of nuclei add up, means are weighted by area (backgrounds are not),
    maxima are the highest. The outline of a union is not known from its parts: circularity is NaN.

    Args:
        table: columns of `EventMeasurer.measure`, changed in place.
        kind: (N,), 2 where a row is a cluster.
        parent: (N,), row of the cluster that a row is a member of, else below 0.
        noise: (C,), standard deviation of the noise per channel.
    """
    clusters = np.flatnonzero(np.asarray(kind) == 2)
    if len(clusters) == 0:
        return
    members = np.flatnonzero(np.asarray(parent) >= 0)
    of = np.asarray(parent)[members]
    total = len(kind)

    def added(values: np.ndarray) -> np.ndarray:
        return np.bincount(of, weights=values, minlength=total)[clusters]

    count = np.maximum(added(np.ones(len(members))), 1)
    area, nucleus_area = table["area_um2"][members], table["nucleus_area_um2"][members]
    in_ck = table["nucleus_in_ck"][members]
    whole, whole_nucleus = added(area), added(nucleus_area)
    with np.errstate(invalid="ignore", divide="ignore"):
        share = added(np.where(nucleus_area > 0, in_ck * nucleus_area, 0)) / whole_nucleus
    table["area_um2"][clusters] = whole
    table["diameter_um"][clusters] = 2 * np.sqrt(whole / np.pi)
    table["nucleus_area_um2"][clusters] = whole_nucleus
    table["nucleus_diameter_um"][clusters] = 2 * np.sqrt(whole_nucleus / np.pi)
    table["nucleus_count"][clusters] = added(table["nucleus_count"][members])
    table["nucleus_in_ck"][clusters] = share
    table["circularity"][clusters] = np.nan
    table["saturated"][clusters] = added(table["saturated"][members]) > 0
    for channel, marker in enumerate(markers):
        mean = table[f"mean_{marker}"][members]
        weighted = added(mean * area) / np.where(whole > 0, whole, 1)
        table[f"mean_{marker}"][clusters] = np.where(whole > 0, weighted, added(mean) / count)
        table[f"background_{marker}"][clusters] = added(table[f"background_{marker}"][members]) / count
        table[f"snr_{marker}"][clusters] = table[f"mean_{marker}"][clusters] / noise[channel]
        table[f"positive_area_um2_{marker}"][clusters] = added(table[f"positive_area_um2_{marker}"][members])
        highest = np.full(total, -np.inf, np.float32)
        np.maximum.at(highest, of, table[f"max_{marker}"][members])
        table[f"max_{marker}"][clusters] = np.where(np.isfinite(highest[clusters]), highest[clusters], 0)
