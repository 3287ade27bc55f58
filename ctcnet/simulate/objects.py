"""Tables of what lies in the crops: cell-like bodies and dots, one row per object."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Self

import torch
from torch import Tensor

MAX_LOBES = 5
COMPARTMENTS: tuple[str, ...] = ("nucleus", "cytoplasm", "membrane")


class _Table:
    """Row selection and concatenation for dataclasses of tensors that share their first dimension."""

    def rows(self, selection: Tensor) -> Self:
        """The rows that a boolean mask or an index selects."""
        return type(self)(**{f.name: getattr(self, f.name)[selection] for f in fields(self)})  # type: ignore[arg-type]

    @classmethod
    def concatenate(cls, tables: Sequence[Self]) -> Self:
        """One table of all rows, in order."""
        return cls(**{f.name: torch.cat([getattr(t, f.name) for t in tables]) for f in fields(cls)})  # type: ignore[arg-type]


@dataclass(frozen=True)
class Bodies(_Table):
    """Cells, fragments, nuclei and fibres. Lengths in um, angles in radians, all float32 unless said.

    Attributes:
        crop: (M,) int64, crop that the body lies in.
        present: (M,) bool; absent rows are not drawn.
        kind: (M,) int64, row of `cells.KINDS`.
        centre: (M, 2) x and y from the crop's centre.
        radius: (M,) radius of the circle of equal area.
        aspect: (M,) long to short axis.
        angle: (M,) direction of the long axis.
        ruffle: (M, 2) relative amplitude of the outline's second and third harmonic.
        phase: (M, 2) their phases.
        nucleus_radius: (M,) radius that the nucleus's thickness is relative to.
        lobes: (M, MAX_LOBES, 3) x, y from the body's centre and radius; radius 0 where there is no lobe.
        indent: (M, 3) x, y from the body's centre and radius of the disc cut out of the nucleus (kidney shape).
        chromatin: (M,) log-SD of the chromatin texture.
        grain: (M,) log-SD of the cytoplasm texture.
        exclusion: (M,) share of the cytoplasm's signal that the nucleus displaces, 0 to 1.
        gradient: (M, 2) slope of the cytoplasm's signal across one radius, as a vector.
        shell: (M,) inner to outer radius of the membrane shell.
        amplitude: (M, C, 3) peak electrons per px of each compartment in each channel.
    """

    crop: Tensor
    present: Tensor
    kind: Tensor
    centre: Tensor
    radius: Tensor
    aspect: Tensor
    angle: Tensor
    ruffle: Tensor
    phase: Tensor
    nucleus_radius: Tensor
    lobes: Tensor
    indent: Tensor
    chromatin: Tensor
    grain: Tensor
    exclusion: Tensor
    gradient: Tensor
    shell: Tensor
    amplitude: Tensor


@dataclass(frozen=True)
class Dots(_Table):
    """Platelets, specks and probe spots: Gaussian dots.

    Attributes:
        crop: (M,) int64.
        centre: (M, 2) um from the crop's centre.
        sigma: (M,) um, of the object itself, before optics.
        amplitude: (M, C) peak electrons per px before optics.
    """

    crop: Tensor
    centre: Tensor
    sigma: Tensor
    amplitude: Tensor
