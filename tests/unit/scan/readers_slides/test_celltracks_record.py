"""Records of CellTracks cartridges: grid, names of the pages, events of the operator."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from celltracks_files import (
    PLATFORM,
    H,
    W,
    event_xml,
    flags_of,
    make_page,
    open_folder,
    record_xml,
    write_pages,
)

from ctcnet.errors import CartridgeError
from ctcnet.panel import load_panel
from ctcnet.scan.readers.celltracks import recognises

pytestmark = pytest.mark.unit


def test_grid_without_record_comes_from_the_number_of_frames(tmp_path: Path) -> None:
    first = tmp_path / "frame_1.tif"
    write_pages(first, [np.full((4, 5), 65535, np.uint16)] * 4)
    for number in range(2, 176):
        (tmp_path / f"frame_{number}.tif").write_bytes(first.read_bytes())
    (tmp_path / "frame_100.tif").unlink()
    cartridge = open_folder(tmp_path)
    assert (cartridge.rows, cartridge.columns) == (5, 35)
    assert cartridge.panel.markers == ("DAPI", "CK", "CD45", "marker1")
    assert [frame.number for frame in cartridge.missing] == [100]
    assert "no_record" in flags_of(cartridge)
    assert recognises(tmp_path)
    (tmp_path / "frame_175.tif").unlink()
    with pytest.raises(CartridgeError, match="grid that is not known"):
        open_folder(tmp_path)
    with_grid = replace(PLATFORM, grid_rows=5, grid_columns=35)
    assert [frame.number for frame in open_folder(tmp_path, with_grid).missing] == [100, 175]


def test_pages_without_record_stand_in_the_usual_order(folder: Path) -> None:
    (folder / "171651.xml").write_text(record_xml(filters=()))
    cartridge = open_folder(folder)
    assert flags_of(cartridge) == ["no_page_names"]
    np.testing.assert_allclose(cartridge.read(0)[0], 100 + make_page(1, 1) / 65535 * 1900, atol=0.5)  # DNA is page 2


def test_names_of_the_record_win_over_the_usual_order(folder: Path) -> None:
    (folder / "171651.xml").write_text(record_xml(filters=("DAPI", "CK-PE", "FITC", "CD45-APC")))
    counts = open_folder(folder).read(0)
    for image, page in zip(counts, (0, 1, 3, 2), strict=True):
        np.testing.assert_allclose(image, 100 + make_page(1, page) / 65535 * 1900, atol=0.5)


def test_five_pages_need_names(folder: Path) -> None:
    panel = load_panel("ctc5")
    for number in range(1, 13):
        write_pages(folder / f"171651_{number:03}.tif", [make_page(number, page) for page in range(5)])
    with pytest.raises(CartridgeError, match="4 pages"):
        open_folder(folder, panel=panel)
    (folder / "171651.xml").write_text(record_xml(filters=("CD45", "DAPI", "CK", "CD66b", "CD61")))
    assert open_folder(folder, panel=panel).read(0).shape == (5, H, W)
    (folder / "171651.xml").write_text(record_xml(filters=("CD45", "DAPI", "CK", "CD66b", "filter 7")))
    with pytest.raises(CartridgeError, match="missing: CD61; not known: filter 7"):
        open_folder(folder, panel=panel)


@pytest.mark.parametrize("root", ["archive", "export"])
def test_events_of_the_operator_are_kept(folder: Path, root: str) -> None:
    events = event_xml(1, "(10,4)(20,8)") + event_xml(7, f"({W + 3},{H + 5})({W + 5},{H + 9})", "false")
    (folder / "171651.xml").write_text(record_xml(events=events, root=root))
    cartridge = open_folder(folder)
    first, second = cartridge.prior
    assert (first.x_um, first.y_um) == (pytest.approx(15 * 0.64), pytest.approx(6 * 0.64))
    assert (first.frame, first.assigned) == (1, True)
    assert (second.frame, second.assigned) == (7, False)
    assert second.x_um == pytest.approx((W + 4) * 0.64)
    assert flags_of(cartridge) == []


def test_events_that_make_no_sense_are_noted(folder: Path) -> None:
    events = [
        event_xml(2, "(10,4)(20,8)"),
        event_xml(1, "(-99,4)(-90,8)"),
        event_xml(99, "(1,1)(2,2)"),
        event_xml(1, "here"),
    ]
    (folder / "171651.xml").write_text(record_xml(events="".join([*events, event_xml(1, "(1,1)(2,2)", "perhaps")])))
    cartridge = open_folder(folder)
    assert [event.frame for event in cartridge.prior] == [1]  # by its position, not by what is said
    notes = {note.flag: note.message for note in cartridge.notes}
    assert notes["prior_events_unread"].startswith("4 events")
    assert notes["prior_events_elsewhere"].startswith("1 of 1 events")


def test_swapped_camera_sizes_are_no_contradiction(folder: Path) -> None:
    (folder / "171651.xml").write_text(record_xml(x=H, y=W))
    assert open_folder(folder).frame_width_px == W


@pytest.mark.parametrize(
    ("xml", "message"),
    [
        (record_xml(x=1384, y=1036), "1384 x 1036 px"),
        (record_xml(rows=2), "2 rows of 4: 8 frames"),
        (record_xml(filters=("DAPI", "CK")), "2 pages: DAPI, CK"),
        (record_xml(rows="many"), "numrows cannot be used"),
        (record_xml(rows=0), "numrows cannot be used"),
        (record_xml()[:-40], "malformed XML"),
        ("", "malformed XML"),
        ('<!DOCTYPE a [<!ENTITY b "c">]>' + record_xml().partition("<!DOCTYPE archive>")[2], "declares entities"),
        (record_xml().replace("<runs>", "<runs><record/>"), "several runs"),
    ],
)
def test_record_that_is_wrong_is_refused(folder: Path, xml: str, message: str) -> None:
    (folder / "171651.xml").write_text(xml)
    with pytest.raises(CartridgeError, match=message):
        open_folder(folder)


def test_two_records_are_refused_and_foreign_xml_is_not_one(folder: Path) -> None:
    (folder / "notes.xml").write_text("<notes/>")
    assert flags_of(open_folder(folder)) == []
    (folder / "other.xml").write_text(record_xml())
    with pytest.raises(CartridgeError, match="several records"):
        open_folder(folder)


def test_older_tables_are_read_by_their_headers(folder: Path) -> None:
    (folder / "171651.xml").unlink()
    (folder / "a.dlm").write_text(f"rid\tnumrows\tnumcols\tcamxsize\tcamysize\n1\t3\t4\t{W}\t{H}\n")
    (folder / "b.dlm").write_text("rid\tfiltername\n1\tDAPI\n2\tCK\n3\tCD45\n4\tFITC\n")
    (folder / "c.dlm").write_text("rid\tframenum\tassigned\tlocation\n1\t1\ttrue\t(10,4)(20,8)\n2\t1\ttrue\tlost\n")
    (folder / "d.dlm").write_text("")
    (folder / "e.dlm").write_text("name\nx\n")
    cartridge = open_folder(folder)
    assert (cartridge.rows, cartridge.columns) == (3, 4)
    assert [event.assigned for event in cartridge.prior] == [True]
    assert flags_of(cartridge) == ["prior_events_unread"]
    np.testing.assert_allclose(cartridge.read(0)[0], 100 + make_page(1, 0) / 65535 * 1900, atol=0.5)
    (folder / "a.dlm").write_text(f"numrows|numcols|camxsize|camysize\n3|4|{W}|{H}\n3|4|{W}|{H}\n")
    with pytest.raises(CartridgeError, match="several runs"):
        open_folder(folder)
    (folder / "a.dlm").write_text("numrows;numcols;camxsize;camysize\n3;4\n")
    with pytest.raises(CartridgeError, match="camxsize cannot be used"):
        open_folder(folder)
    (folder / "a.dlm").write_text("something else\n")
    with pytest.raises(CartridgeError, match="grid that is not known"):
        open_folder(folder)


@pytest.mark.parametrize(
    ("highest", "alternatives"),
    [
        (140, ["4 x 36 with the last 4 frames missing"]),
        (144, []),
        (170, ["5 x 35 with the last 5 frames missing", "5 x 36 with the last 10 frames missing"]),
        (175, ["5 x 36 with the last 5 frames missing"]),
        (180, []),
        (210, []),
    ],
)
def test_a_number_of_frames_that_fits_two_grids_is_noted(tmp_path: Path, highest: int, alternatives: list[str]) -> None:
    write_pages(tmp_path / f"frame_{highest}.tif", [np.full((4, 5), 65535, np.uint16)] * 4)
    notes = [note.message for note in open_folder(tmp_path).notes if note.flag == "ambiguous_grid"]
    assert len(notes) == bool(alternatives)
    assert all(alternative in notes[0] for alternative in alternatives)
    stated = open_folder(tmp_path, replace(PLATFORM, grid_rows=6, grid_columns=36))
    assert "ambiguous_grid" not in flags_of(stated)
    (tmp_path / "a.xml").write_text(record_xml(rows=6, columns=36, x=5, y=4))
    assert "ambiguous_grid" not in flags_of(open_folder(tmp_path))


def test_an_xml_without_a_run_is_not_called_absent(tmp_path: Path) -> None:
    write_pages(tmp_path / "frame_180.tif", [np.full((4, 5), 65535, np.uint16)] * 4)
    message = next(note.message for note in open_folder(tmp_path).notes if note.flag == "no_record")
    assert "there is no XML file" in message
    (tmp_path / "other.xml").write_text("<archive/>")
    message = next(note.message for note in open_folder(tmp_path).notes if note.flag == "no_record")
    assert "no XML file" not in message
    assert "XML file (other.xml) hold" in message
