"""Switches of the effects that make real images hard; none is on unless asked for."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Self

from ctcnet.errors import SettingError


@dataclass(frozen=True)
class Effects:
    """Which effects a simulation has. Strengths are drawn per group and reach from nil to strong.

    Attributes:
        dense_specks: unbound stain all over the field and on the cells, up to 110,000 specks per mm2.
        clipped_background: camera offset so low that most background pixels are 0.
        jpeg: compression in blocks of 8 x 8 pixels.
        channel_shift: channels that lie up to 1.5 px apart.
        astigmatism: a point-spread function wider along one axis.
        motion: linear blur along one axis.
        hot_pixels: single bright pixels.
        saturation: gain that brings stain up to and beyond full scale.
        shading: vignetting, and stain that differs between places of a cartridge.
        cytoplasm: CTCs of any size, with crescent, speckled or faint cytoplasm, and faint or bright nuclei; small ones
            show CK or, where the panel has it, a mesenchymal stain; panels without CK stay as they are.
        leukocyte_variety: leukocytes of varied size, nucleus and ring; autofluorescent ones, and those that are CK+.
        vesicles: bodies without a nucleus, bubbles, long fibres, autofluorescent debris, dye aggregates.
        crowding: up to 3,000 leukocytes per mm2, which may overlap each other.
        frame_edge: events at the border of what was scanned, of which a part is not seen.
        floaters: cells far out of focus by themselves, as events and around them.
    """

    dense_specks: bool = False
    clipped_background: bool = False
    jpeg: bool = False
    channel_shift: bool = False
    astigmatism: bool = False
    motion: bool = False
    hot_pixels: bool = False
    saturation: bool = False
    shading: bool = False
    cytoplasm: bool = False
    leukocyte_variety: bool = False
    vesicles: bool = False
    crowding: bool = False
    frame_edge: bool = False
    floaters: bool = False

    @classmethod
    def none(cls) -> Self:
        """No effect: the crops of the first edition, bit by bit."""
        return cls()

    @classmethod
    def all(cls) -> Self:
        """Every effect."""
        return cls(**dict.fromkeys(cls.known(), True))

    @classmethod
    def known(cls) -> tuple[str, ...]:
        """Names of all effects."""
        return tuple(field.name for field in fields(cls))

    @classmethod
    def from_names(cls, names: str | Iterable[str]) -> Self:
        """Effects of 'none', 'all' or names, in a sequence or divided by commas.

        Raises:
            SettingError: a name is unknown, or 'none' or 'all' stands beside others.
        """
        given = tuple(part.strip() for part in (names.split(",") if isinstance(names, str) else names))
        if given in ((), ("none",)):
            return cls.none()
        if given == ("all",):
            return cls.all()
        unknown = [name for name in given if name not in cls.known()]
        if unknown:
            raise SettingError(
                "are unknown" if len(unknown) > 1 else "is unknown",
                where="effects",
                expected=f"none, all, or some of {', '.join(cls.known())}",
                found=", ".join(unknown),
            )
        return cls(**dict.fromkeys(given, True))

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the effects that are on."""
        return tuple(name for name in self.known() if getattr(self, name))
