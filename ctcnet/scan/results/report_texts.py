"""Figures and notes of a report as people read them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ctcnet.scan.cartridge import Note


@dataclass(frozen=True)
class NoteGroup:
    """Notes of one kind: the first one's message, and the frames that it is about (empty: the cartridge)."""

    message: str
    more: int
    frames: str


def group_notes(notes: Sequence[Note], most_frames: int = 12) -> list[NoteGroup]:
    """Notes of one flag as one, in the order in which flags first appear."""
    by_flag: dict[str, list[Note]] = {}
    for note in notes:
        key = note.flag if note.frame is not None else f"{note.flag}: {note.message}"
        by_flag.setdefault(key, []).append(note)
    groups = []
    for members in by_flag.values():
        frames = sorted({note.frame for note in members if note.frame is not None})
        listed = ", ".join(map(str, frames[:most_frames])) + (", ..." if len(frames) > most_frames else "")
        first = members[0].message
        groups.append(NoteGroup(first[:1].upper() + first[1:], len(members) - 1, listed if len(frames) > 1 else ""))
    return groups


def class_text(name: str) -> str:
    """A class as people write it: 'ctc_neutrophil_cluster' is 'CTC neutrophil cluster'."""
    return " ".join("CTC" if word == "ctc" else word for word in name.split("_"))


def format_level(value: float) -> str:
    """A signal to noise ratio: one decimal below 10, none above."""
    return f"{value:.1f}" if abs(value) < 10 else f"{value:.0f}"


def format_count(value: float | None) -> str:
    """A number of events: one decimal below 10 where it is not whole, thousands apart; a dash where there is none."""
    if value is None:
        return "–"
    return f"{value:,.0f}" if value >= 10 or value == int(value) else f"{value:.1f}"


def format_interval(interval: Sequence[float] | None) -> str:
    """Both bounds; two decimals below 10 and one below 100, so that a cut-off is not rounded across."""
    if interval is None:
        return ""
    return " to ".join(
        "0" if b == 0 else f"{b:.2f}" if b < 10 else f"{b:.1f}" if b < 100 else f"{b:,.0f}" for b in interval
    )


def format_probability(value: float | None) -> str:
    """Two decimals, never rounded to 0 or 1, which no model can know; a dash where there is none."""
    if value is None or value != value:
        return "–"
    if value < 0.005:
        return "< 0.01"
    return "> 0.99" if value >= 0.995 else f"{value:.2f}"
