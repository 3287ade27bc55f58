"""Phenotype of tumour cells: where they stand between the epithelial and the mesenchymal state."""

from __future__ import annotations

import numpy as np

PHENOTYPES: tuple[str, ...] = ("epithelial", "hybrid", "mesenchymal", "negative")


def phenotype(applies: np.ndarray, epithelial: np.ndarray | None, mesenchymal: np.ndarray | None) -> np.ndarray:
    """State of each event, (N,) object array of one of `PHENOTYPES`, '' where none applies.

    Args:
        applies: (N,) bool, events that contain a CTC.
        epithelial, mesenchymal: (N,) bool, positive for a marker of that role; None where the panel has none. With
            markers of one role only, the answer is that state or 'negative'; with neither it is ''.
    """
    answer = np.full(len(applies), "", object)
    if epithelial is None and mesenchymal is None:
        return answer
    no = np.zeros(len(applies), bool)
    one, other = no if epithelial is None else epithelial, no if mesenchymal is None else mesenchymal
    for mask, name in zip((one & ~other, one & other, ~one & other, ~one & ~other), PHENOTYPES, strict=True):
        answer[applies & mask] = name
    return answer
