"""Colours of the classes, the same in the report's figures and in QuPath."""

from __future__ import annotations

from ctcnet.labels import CONTAINS_CTC, LabelSchema

UNASSIGNED = "unassigned"

_CTC: tuple[str, ...] = ("#D55E00", "#CC79A7", "#E69F00", "#A6761D")
_OTHER: tuple[str, ...] = ("#0072B2", "#8a94a0", "#56B4E9", "#009E73")
_UNASSIGNED = "#4D4D4D"


def class_colours(schema: LabelSchema) -> dict[str, str]:
    """Hexadecimal colour of each class and of 'unassigned': warm where a class contains a CTC, cool elsewhere.

    They stay apart for colour-blind readers (Okabe and Ito 2008) and repeat after four of a kind.
    """
    ctc = schema.rollups.get(CONTAINS_CTC, ())
    other = [name for name in schema.classes if name not in ctc]
    colours = {name: _CTC[index % len(_CTC)] for index, name in enumerate(ctc)}
    colours |= {name: _OTHER[index % len(_OTHER)] for index, name in enumerate(other)}
    return {**{name: colours[name] for name in schema.classes}, UNASSIGNED: _UNASSIGNED}


def rgb(colour: str) -> list[int]:
    """Red, green and blue, 0 to 255, of a hexadecimal colour."""
    return [int(colour[start : start + 2], 16) for start in (1, 3, 5)]
