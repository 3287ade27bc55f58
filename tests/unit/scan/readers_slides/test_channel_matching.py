"""Channels are matched by name, and what does not match lists both sides."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctcnet.errors import CartridgeError
from ctcnet.panel import Channel, Panel, load_panel
from ctcnet.scan.platform import load_platform
from ctcnet.scan.readers.channel_matching import match_file_channels

pytestmark = pytest.mark.unit

_BZ = load_platform("bzscanner")
_PANEL = Panel(
    "p",
    (
        Channel("DAPI", "nucleus"),
        Channel("CK", "epithelial", fluorophore="TRITC"),
        Channel("CD45", "leukocyte", fluorophore="AF647"),
        Channel("extra", "none"),
    ),
    12,
)


def test_markers_dyes_and_the_platforms_names_match_whatever_their_case() -> None:
    match = match_file_channels(["extra", "cy5", "tritc", " dapi "], _PANEL, _BZ, "x")
    assert match.file_index == (3, 2, 1, 0)
    assert (match.panel, match.notes) == (_PANEL, ())


def test_the_panels_dye_wins_over_the_platforms_name() -> None:
    channels = (Channel("CK", "epithelial", "CY5"), Channel("CD45", "leukocyte", "TRITC"))
    assert match_file_channels(["TRITC", "CY5"], Panel("p", channels, 12), _BZ, "x").file_index == (1, 0)


def test_what_is_left_out_is_noted() -> None:
    match = match_file_channels(["DAPI", "BF", "CK", "CD45"], _PANEL, _BZ, "x")
    assert match.panel.markers == ("DAPI", "CK", "CD45")
    assert match.file_index == (0, 2, 3)
    assert match.panel.bit_depth == 12
    assert [note.flag for note in match.notes] == ["channel_absent", "channel_ignored"]
    assert ("extra" in match.notes[0].message, "BF" in match.notes[1].message) == (True, True)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["DAPI", "CK"], "missing: CD45"),
        (["DAPI", "CK", "CD45", "CD61"], "not known: CD61"),
        (["DAPI", "CK", "CD45", ""], "not known"),
        (["DAPI", "CK", "TRITC", "CD45"], "more than one channel for CK"),
        (["DAPI", "CK", "CK", "CD45"], "more than one channel for CK"),
        ([], "missing: DAPI, CK, CD45"),
    ],
)
def test_what_does_not_match_is_refused_with_both_sides(names: list[str], message: str) -> None:
    with pytest.raises(CartridgeError, match=message) as caught:
        match_file_channels(names, _PANEL, _BZ, "slide")
    assert caught.value.where == "slide"
    assert caught.value.expected == "DAPI, CK (TRITC), CD45 (AF647), extra [may be absent]"
    assert caught.value.found == (", ".join(names) or "no channels")


def test_a_dye_of_two_markers_is_no_name_for_either() -> None:
    channels = (Channel("CK", "epithelial", "PE"), Channel("EpCAM", "epithelial", "PE"), Channel("DAPI", "nucleus"))
    with pytest.raises(CartridgeError, match="any of several"):
        match_file_channels(["DAPI", "PE"], Panel("p", channels, 12), _BZ, "x")


def test_a_file_with_nothing_of_the_panel_is_refused() -> None:
    panel = Panel("p", (Channel("a", "none"), Channel("b", "none")), 12)
    with pytest.raises(CartridgeError, match="not those of the panel"):
        match_file_channels(["BF"], panel, _BZ, "x")


@given(st.permutations(range(6)))
def test_order_in_the_file_does_not_matter(order: list[int]) -> None:
    panel = load_panel("rarecyte6")
    names = [panel.markers[index] for index in order]
    match = match_file_channels(names, panel, replace(_BZ, channel_names={}), "x")
    assert [names[index] for index in match.file_index] == list(panel.markers)
