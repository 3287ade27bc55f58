"""Composition of clusters: which members are tumour cells, and what touches them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ctcnet.scan.measure.event_columns import joined

PARTNERS: tuple[str, ...] = ("neutrophil", "other_leukocyte", "platelet")


@dataclass(frozen=True)
class Composition:
    """What events are made of.

    Attributes:
        tumour_nuclei: (N,) int16, nuclei of tumour cells; 0 for events that hold none.
        partners: (N,) object array of `PARTNERS` joined by '+'; '' for none.
    """

    tumour_nuclei: np.ndarray
    partners: np.ndarray


def tumour_cells(
    called: np.ndarray,
    cell: np.ndarray,
    cluster_of: np.ndarray,
    epithelial: np.ndarray | None,
    mesenchymal: np.ndarray | None,
    leukocyte: np.ndarray | None,
    neutrophil: np.ndarray | None,
) -> np.ndarray:
    """Cells taken for tumour cells, (N,) bool.

    A single cell is one where it is called a class that contains a CTC. In a cluster the network sees the members
    together, and calls a neutrophil by the CTC that it touches: a called member is a tumour cell unless it is
    positive for a leukocyte or neutrophil marker and for no epithelial or mesenchymal one. Members that are positive
    for an epithelial or mesenchymal marker and negative for leukocyte markers are tumour cells whatever they are
    called. Where no member of a cluster is one by these rules, those that are called are.

    Args:
        called, cell: (N,) bool: called a class that contains a CTC; of kind 'cell'.
        cluster_of: (N,), row of each event's cluster, below 0 for none.
        epithelial, mesenchymal, leukocyte, neutrophil: (N,) bool, positive; None where the panel has no such channel.
    """
    no = np.zeros(len(called), bool)
    epithelial, mesenchymal, leukocyte, neutrophil = (
        no if positive is None else positive for positive in (epithelial, mesenchymal, leukocyte, neutrophil)
    )
    tumour_stain = epithelial | mesenchymal
    white_by_stain = (leukocyte | neutrophil) & ~tumour_stain
    member = cell & (cluster_of >= 0)
    sure = member & ((called & ~white_by_stain) | (tumour_stain & ~leukocyte))
    has_sure = np.zeros(len(called), bool)
    has_sure[cluster_of[sure]] = True
    fallback = member & called & ~has_sure[cluster_of]
    return sure | fallback | (cell & ~member & called)


def composition(
    cluster_of: np.ndarray,
    tumour: np.ndarray,
    nucleus_count: np.ndarray,
    leukocyte: np.ndarray,
    neutrophil: np.ndarray | None,
    platelet: np.ndarray | None,
) -> Composition:
    """Tumour nuclei and partners of each event.

    Partners of a cluster are its members that are no tumour cells, and platelets on its tumour cells; a single tumour
    cell can have platelets only. A leukocyte that is not shown to be a neutrophil, for want of a channel too, is an
    'other_leukocyte'. Events without a tumour cell have no partners.

    Args:
        cluster_of: (N,), row of each event's cluster, below 0 for none.
        tumour: (N,) bool, see `tumour_cells`.
        nucleus_count: (N,) integers.
        leukocyte: (N,) bool, positive for a leukocyte marker or called a leukocyte.
        neutrophil, platelet: (N,) bool, positive; None where the panel has no such channel.
    """
    count = len(tumour)
    no = np.zeros(count, bool)
    granular = no if neutrophil is None else neutrophil
    covered = no if platelet is None else platelet
    member = cluster_of >= 0

    def in_cluster(mask: np.ndarray) -> np.ndarray:
        return np.bincount(cluster_of[member & mask], minlength=count)[:count] > 0

    nuclei = np.where(tumour, np.maximum(nucleus_count, 1), 0).astype(np.int64)
    of_cluster = np.bincount(cluster_of[member], weights=nuclei[member], minlength=count)[:count]
    nuclei = nuclei + of_cluster.astype(np.int64)
    holds = nuclei > 0
    partners = [
        (holds & in_cluster(~tumour & granular), PARTNERS[0]),
        (holds & in_cluster(~tumour & leukocyte & ~granular), PARTNERS[1]),
        (holds & ((tumour & covered) | in_cluster(tumour & covered)), PARTNERS[2]),
    ]
    return Composition(np.minimum(nuclei, np.iinfo(np.int16).max).astype(np.int16), joined(partners, count, "+"))
