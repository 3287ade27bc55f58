"""Contacts of a cartridge's tumour cells with its leukocytes, counted beside those expected by chance."""

from __future__ import annotations

import numpy as np

from ctcnet.labels import LabelSchema
from ctcnet.panel import Panel
from ctcnet.scan.measure.event_columns import Columns, in_classes, is_kind, leukocyte_classes
from ctcnet.scan.measure.local_chance import expected_chance_contacts
from ctcnet.scan.measure.marker_calls import any_positive
from ctcnet.scan.measure.references import LeukocyteReference

LARGEST_RADIUS_UM = 20.0
"""Bound of the radius of a tumour cell where it tells the contact distance; fibres and crowds measure larger."""


def contact_counts(
    columns: Columns,
    labels: LabelSchema,
    panel: Panel,
    contact_gap_um: float,
    reference: LeukocyteReference | None = None,
) -> dict[str, dict[str, float]]:
    """Number of tumour cells that touch a leukocyte, observed and expected by chance at the local density.

    A leukocyte is a cell without tumour nuclei that is called one or, as among the partners of a cluster, positive for
    a leukocyte or neutrophil marker: the network calls a neutrophil by the CTC that it touches. Two cells touch where
    their centres are nearer than the tumour cell's radius, the median radius of leukocytes and the contact gap
    together.

    Args:
        columns: all events of a cartridge: label, unassigned, kind, tumour_nuclei, x_um, y_um, diameter_um; with a
            `reference` also the measurements of the leukocyte and neutrophil markers that it holds.
        contact_gap_um: the gap between outlines below which the detector joins cells to clusters, see
            `DetectionSettings.member_distance_um`.
        reference: tells leukocytes by their markers, and neutrophils where the panel has a channel for them.

    Returns:
        'leukocyte' -> observed, expected, and tumour_cells that were looked at; with a reference and a neutrophil
        channel also 'neutrophil' and 'other_leukocyte'. Empty for a schema without leukocytes.
    """
    classes = leukocyte_classes(labels)
    if not classes:
        return {}
    cell = is_kind(columns, "cell")
    tumour = cell & (np.asarray(columns["tumour_nuclei"]) > 0)
    white = in_classes(columns, classes)
    neutrophil = None
    if reference is not None:
        neutrophil = any_positive(columns, reference, panel, "neutrophil")
        for stained in (neutrophil, any_positive(columns, reference, panel, "leukocyte")):
            white = white if stained is None else white | stained
    leukocyte = cell & ~tumour & white
    kinds = {"leukocyte": leukocyte}
    if neutrophil is not None:
        kinds |= {"neutrophil": leukocyte & neutrophil, "other_leukocyte": leukocyte & ~neutrophil}
    x_um, y_um = (np.asarray(columns[name], np.float64)[cell] for name in ("x_um", "y_um"))
    radius_um = np.minimum(np.asarray(columns["diameter_um"], np.float64)[cell] / 2, LARGEST_RADIUS_UM)
    typical_um = float(np.median(radius_um[leukocyte[cell]])) if leukocyte.any() else 0.0
    reach_um = radius_um + typical_um + contact_gap_um
    result = {}
    for name, mask in kinds.items():
        found = expected_chance_contacts(x_um, y_um, tumour[cell], mask[cell], reach_um)
        result[name] = {
            "observed": found.observed,
            "expected": round(found.expected, 3),
            "tumour_cells": int(tumour.sum()),
        }
    return result
