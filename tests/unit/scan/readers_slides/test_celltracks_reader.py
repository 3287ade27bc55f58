"""The CellTracks reader, on files made by hand from what is known of the format."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile

from ctcnet.errors import CartridgeError, FrameError
from ctcnet.panel import load_panel
from ctcnet.scan.platform import load_platform
from ctcnet.scan.readers.celltracks import open_cartridge, recognises

pytestmark = pytest.mark.unit

_H, _W = 24, 32
_PLATFORM = load_platform("celltracks")
_LIMITS = (100, 2000)


def _page(number: int, page: int, full_scale: int = 65535) -> np.ndarray:
    """Noise that reaches the full scale, other in every page."""
    pixels = np.random.default_rng((number, page)).integers(0, full_scale, (_H, _W), endpoint=True)
    pixels[0, 0], pixels[0, 1] = 0, full_scale
    return pixels.astype(np.uint8 if full_scale == 255 else np.uint16)


def _write_pages(path: Path, pages: list[np.ndarray], limits: tuple[int, int] | None = _LIMITS, **options) -> None:
    tags = [] if limits is None else [(755, "H", 1, limits[0], True), (756, "H", 1, limits[1], True)]
    with tifffile.TiffWriter(path) as tif:
        for page in pages:
            tif.write(page, photometric="minisblack", metadata=None, contiguous=False, extratags=tags, **options)


def _write_frames(folder: Path, numbers=range(1, 13), full_scale: int = 65535, limits=_LIMITS) -> None:
    for number in numbers:
        pages = [_page(number, page, full_scale) for page in range(4)]
        _write_pages(folder / f"171651_{number:03}.tif", pages, limits)


def _xml(rows=3, columns=4, x=_W, y=_H, filters=("CD45-APC", "DNA", "CK-PE", "FITC"), events="", root="archive") -> str:
    names = "".join(f"<record><filtername>{name}</filtername></record>" for name in filters)
    return (
        f'<?xml version="1.0"?>\n<!DOCTYPE {root}>\n<{root}><runs><record><numrows>{rows}</numrows>'
        f"<numcols>{columns}</numcols><camxsize>{x}</camxsize><camysize>{y}</camysize></record></runs>"
        f"<test_filters>{names}</test_filters><events>{events}</events></{root}>"
    )


def _event(frame: int, location: str, assigned: str = "true") -> str:
    return (
        f"<record><rid>1</rid><framenum>{frame}</framenum><numselected>1</numselected>"
        f"<assigned>{assigned}</assigned><location>{location}</location></record>"
    )


def _open(folder: Path, platform=_PLATFORM, panel=None, pixel_size_um=None):
    return open_cartridge(folder, platform, panel, pixel_size_um)


def _flags(cartridge) -> list[str]:
    return [note.flag for note in cartridge.notes]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A cartridge of 3 rows of 4 frames, with its XML."""
    folder = tmp_path / "171651.1.2"
    folder.mkdir()
    _write_frames(folder)
    (folder / "171651.xml").write_text(_xml())
    return folder


def test_channels_stand_in_panel_order_and_in_counts(folder: Path) -> None:
    cartridge = _open(folder)
    assert cartridge.panel.markers == ("DAPI", "CK", "CD45", "marker1")
    assert (cartridge.panel.bit_depth, cartridge.pixel_size_um, cartridge.name) == (12, 0.64, "171651.1.2")
    counts = cartridge.read(2)
    assert counts.dtype == np.uint16
    assert counts.shape == (4, _H, _W)
    for image, page in zip(counts, (1, 2, 0, 3), strict=True):  # DNA, CK, CD45, FITC among the pages
        expected = 100 + _page(3, page).astype(float) / 65535 * 1900
        np.testing.assert_allclose(image, expected, atol=0.5)
    assert _flags(cartridge) == []


def test_frames_stand_in_a_serpentine(folder: Path) -> None:
    cartridge = _open(folder)
    assert [frame.number for frame in cartridge.frames] == [1, 2, 3, 4, 8, 7, 6, 5, 9, 10, 11, 12]
    frame = cartridge.frames[5]
    assert (frame.number, frame.row, frame.column) == (7, 1, 1)
    assert frame.x_um == pytest.approx(_W * 0.64)
    assert frame.y_um == pytest.approx(_H * 0.64)
    expected = 100 + _page(7, 1).astype(float) / 65535 * 1900
    np.testing.assert_allclose(cartridge.read(5)[0], expected, atol=0.5)


def test_rim_is_the_platforms(folder: Path) -> None:
    assert _open(folder).rim_px == round(60 / 0.64)


@pytest.mark.parametrize("full_scale", [255, 4095, 65535])
def test_full_scale_that_a_page_reaches_is_certain(tmp_path: Path, full_scale: int) -> None:
    _write_frames(tmp_path, full_scale=full_scale)
    (tmp_path / "a.xml").write_text(_xml())
    cartridge = _open(tmp_path)
    assert _flags(cartridge) == []
    counts = cartridge.read(0)
    assert (counts.min(), counts.max(), counts.dtype) == (100, 2000, np.uint16)


def test_full_scale_that_no_page_reaches_is_flagged(tmp_path: Path) -> None:
    _write_frames(tmp_path, full_scale=3000)
    (tmp_path / "a.xml").write_text(_xml())
    cartridge = _open(tmp_path)
    assert _flags(cartridge) == ["uncertain_scale"]
    assert "4095" in cartridge.notes[0].message
    assert cartridge.read(0).max() == round(100 + 3000 / 4095 * 1900)


def test_tags_are_found_by_number_not_by_place(tmp_path: Path) -> None:
    tags = [(754, "H", 1, 7, True), (755, "H", 1, 10, True), (756, "H", 1, 20, True), (757, "H", 1, 9000, True)]
    for number in range(1, 13):
        with tifffile.TiffWriter(tmp_path / f"{number}.tif") as tif:
            for page in range(4):
                tif.write(_page(number, page), photometric="minisblack", metadata=None, extratags=tags)
    (tmp_path / "a.xml").write_text(_xml())
    counts = _open(tmp_path).read(0)
    assert (counts.min(), counts.max()) == (10, 20)


def test_limits_above_32767_carry_an_offset(tmp_path: Path) -> None:
    _write_frames(tmp_path, limits=(32768 + 100, 32768 + 2000))
    (tmp_path / "a.xml").write_text(_xml())
    counts = _open(tmp_path).read(0)
    assert (counts.min(), counts.max()) == (100, 2000)


def test_stored_values_that_all_carry_the_offset_lose_it(tmp_path: Path) -> None:
    for number in range(1, 13):
        _write_pages(tmp_path / f"{number}.tif", [_page(number, page, 4095) + np.uint16(32768) for page in range(4)])
    (tmp_path / "a.xml").write_text(_xml())
    cartridge = _open(tmp_path)
    counts = cartridge.read(0)
    assert _flags(cartridge) == []
    assert (counts.min(), counts.max()) == (100, 2000)
    _write_pages(tmp_path / "1.tif", [_page(1, page, 4095) for page in range(4)])
    with pytest.raises(FrameError, match="not stored like the other frames"):
        cartridge.read(0)


def test_an_even_page_is_its_lower_limit(folder: Path) -> None:
    cartridge = _open(folder)
    _write_pages(folder / "171651_001.tif", [np.zeros((_H, _W), np.uint16)] * 4, limits=(7, 7))
    assert (cartridge.read(0) == 7).all()


def test_absent_tags_are_noted_and_values_are_counts(tmp_path: Path) -> None:
    _write_frames(tmp_path, full_scale=4000, limits=None)
    (tmp_path / "a.xml").write_text(_xml())
    cartridge = _open(tmp_path)
    assert _flags(cartridge) == ["no_stretch_limits"]
    assert cartridge.panel.bit_depth == 12
    np.testing.assert_array_equal(cartridge.read(0)[0], _page(1, 1, 4000))


@pytest.mark.parametrize(("full_scale", "bits"), [(255, 8), (4095, 12), (60000, 16)])
def test_depth_of_pixels_without_tags_is_seen(tmp_path: Path, full_scale: int, bits: int) -> None:
    _write_frames(tmp_path, full_scale=full_scale, limits=None)
    (tmp_path / "a.xml").write_text(_xml())
    assert _open(tmp_path).panel.bit_depth == bits


def test_a_frame_stored_in_another_way_is_refused(folder: Path) -> None:
    cartridge = _open(folder)
    _write_pages(folder / "171651_001.tif", [_page(1, page) for page in range(4)], limits=None)
    with pytest.raises(FrameError, match="tags 755 and 756"):
        cartridge.read(0)
    _write_pages(folder / "171651_001.tif", [_page(1, page) for page in range(4)], limits=(2000, 100))
    with pytest.raises(FrameError, match="stretch cannot be undone"):
        cartridge.read(0)
    _write_pages(folder / "171651_001.tif", [_page(1, page) for page in range(4)], limits=(0, 5000))
    with pytest.raises(FrameError, match="counts that the camera cannot give"):
        cartridge.read(0)
    assert cartridge.read(1).max() == 2000


def test_stored_values_beyond_the_full_scale_are_refused(tmp_path: Path) -> None:
    _write_frames(tmp_path, full_scale=4095)
    (tmp_path / "a.xml").write_text(_xml())
    cartridge = _open(tmp_path)
    _write_pages(tmp_path / "171651_001.tif", [_page(1, page, 5000) for page in range(4)])
    with pytest.raises(FrameError, match="stored values up to 4095"):
        cartridge.read(0)


def test_limits_appear_in_only_some_frames(tmp_path: Path) -> None:
    _write_frames(tmp_path, full_scale=4000, limits=None)
    (tmp_path / "a.xml").write_text(_xml())
    cartridge = _open(tmp_path)
    _write_pages(tmp_path / "171651_001.tif", [_page(1, page, 4000) for page in range(4)])
    with pytest.raises(FrameError, match="no limits of a stretch"):
        cartridge.read(0)


@pytest.mark.parametrize("compression", ["lzw", "deflate"])
def test_compressed_pages_are_read(folder: Path, compression: str) -> None:
    uncompressed = _open(folder).read(0)
    _write_pages(folder / "171651_001.tif", [_page(1, page) for page in range(4)], compression=compression)
    np.testing.assert_array_equal(_open(folder).read(0), uncompressed)


def test_frames_are_read_in_threads(folder: Path) -> None:
    cartridge = _open(folder)
    alone = [cartridge.read(index) for index in range(12)]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(cartridge.read, [*range(12)] * 3))
    for index, counts in enumerate(together):
        np.testing.assert_array_equal(counts, alone[index % 12])


def test_missing_frames_are_named(folder: Path) -> None:
    for number in (7, 12):
        (folder / f"171651_{number:03}.tif").unlink()
    cartridge = _open(folder)
    assert [frame.number for frame in cartridge.missing] == [7, 12]
    assert (cartridge.missing[0].row, cartridge.missing[0].column) == (1, 1)
    assert len(cartridge.frames) == 10
    assert "2 frames are missing (7, 12)" in cartridge.notes[0].message
    assert (cartridge.rows, cartridge.columns) == (3, 4)


def test_grid_without_record_comes_from_the_number_of_frames(tmp_path: Path) -> None:
    first = tmp_path / "frame_1.tif"
    _write_pages(first, [np.full((4, 5), 65535, np.uint16)] * 4)
    for number in range(2, 176):
        (tmp_path / f"frame_{number}.tif").write_bytes(first.read_bytes())
    (tmp_path / "frame_100.tif").unlink()
    cartridge = _open(tmp_path)
    assert (cartridge.rows, cartridge.columns) == (5, 35)
    assert cartridge.panel.markers == ("DAPI", "CK", "CD45", "marker1")
    assert [frame.number for frame in cartridge.missing] == [100]
    assert "no_record" in _flags(cartridge)
    assert recognises(tmp_path)
    (tmp_path / "frame_175.tif").unlink()
    with pytest.raises(CartridgeError, match="grid that is not known"):
        _open(tmp_path)
    with_grid = replace(_PLATFORM, grid_rows=5, grid_columns=35)
    assert [frame.number for frame in _open(tmp_path, with_grid).missing] == [100, 175]


def test_pages_without_record_stand_in_the_usual_order(folder: Path) -> None:
    (folder / "171651.xml").write_text(_xml(filters=()))
    cartridge = _open(folder)
    assert _flags(cartridge) == ["no_page_names"]
    np.testing.assert_allclose(cartridge.read(0)[0], 100 + _page(1, 1) / 65535 * 1900, atol=0.5)  # DNA is page 2


def test_names_of_the_record_win_over_the_usual_order(folder: Path) -> None:
    (folder / "171651.xml").write_text(_xml(filters=("DAPI", "CK-PE", "FITC", "CD45-APC")))
    counts = _open(folder).read(0)
    for image, page in zip(counts, (0, 1, 3, 2), strict=True):
        np.testing.assert_allclose(image, 100 + _page(1, page) / 65535 * 1900, atol=0.5)


def test_five_pages_need_names(folder: Path) -> None:
    panel = load_panel("ctc5")
    for number in range(1, 13):
        _write_pages(folder / f"171651_{number:03}.tif", [_page(number, page) for page in range(5)])
    with pytest.raises(CartridgeError, match="4 pages"):
        _open(folder, panel=panel)
    (folder / "171651.xml").write_text(_xml(filters=("CD45", "DAPI", "CK", "CD66b", "CD61")))
    assert _open(folder, panel=panel).read(0).shape == (5, _H, _W)
    (folder / "171651.xml").write_text(_xml(filters=("CD45", "DAPI", "CK", "CD66b", "filter 7")))
    with pytest.raises(CartridgeError, match="missing: CD61; not known: filter 7"):
        _open(folder, panel=panel)


@pytest.mark.parametrize("root", ["archive", "export"])
def test_events_of_the_operator_are_kept(folder: Path, root: str) -> None:
    events = _event(1, "(10,4)(20,8)") + _event(7, f"({_W + 3},{_H + 5})({_W + 5},{_H + 9})", "false")
    (folder / "171651.xml").write_text(_xml(events=events, root=root))
    cartridge = _open(folder)
    first, second = cartridge.prior
    assert (first.x_um, first.y_um) == (pytest.approx(15 * 0.64), pytest.approx(6 * 0.64))
    assert (first.frame, first.assigned) == (1, True)
    assert (second.frame, second.assigned) == (7, False)
    assert second.x_um == pytest.approx((_W + 4) * 0.64)
    assert _flags(cartridge) == []


def test_events_that_make_no_sense_are_noted(folder: Path) -> None:
    events = [_event(2, "(10,4)(20,8)"), _event(1, "(-99,4)(-90,8)"), _event(99, "(1,1)(2,2)"), _event(1, "here")]
    (folder / "171651.xml").write_text(_xml(events="".join([*events, _event(1, "(1,1)(2,2)", "perhaps")])))
    cartridge = _open(folder)
    assert [event.frame for event in cartridge.prior] == [1]  # by its position, not by what is said
    notes = {note.flag: note.message for note in cartridge.notes}
    assert notes["prior_events_unread"].startswith("4 events")
    assert notes["prior_events_elsewhere"].startswith("1 of 1 events")


def test_swapped_camera_sizes_are_no_contradiction(folder: Path) -> None:
    (folder / "171651.xml").write_text(_xml(x=_H, y=_W))
    assert _open(folder).frame_width_px == _W


@pytest.mark.parametrize(
    ("xml", "message"),
    [
        (_xml(x=1384, y=1036), "1384 x 1036 px"),
        (_xml(rows=2), "2 rows of 4: 8 frames"),
        (_xml(filters=("DAPI", "CK")), "2 pages: DAPI, CK"),
        (_xml(rows="many"), "numrows cannot be used"),
        (_xml(rows=0), "numrows cannot be used"),
        (_xml()[:-40], "malformed XML"),
        ("", "malformed XML"),
        ('<!DOCTYPE a [<!ENTITY b "c">]>' + _xml().partition("<!DOCTYPE archive>")[2], "declares entities"),
        (_xml().replace("<runs>", "<runs><record/>"), "several runs"),
    ],
)
def test_record_that_is_wrong_is_refused(folder: Path, xml: str, message: str) -> None:
    (folder / "171651.xml").write_text(xml)
    with pytest.raises(CartridgeError, match=message):
        _open(folder)


def test_two_records_are_refused_and_foreign_xml_is_not_one(folder: Path) -> None:
    (folder / "notes.xml").write_text("<notes/>")
    assert _flags(_open(folder)) == []
    (folder / "other.xml").write_text(_xml())
    with pytest.raises(CartridgeError, match="several records"):
        _open(folder)


def test_older_tables_are_read_by_their_headers(folder: Path) -> None:
    (folder / "171651.xml").unlink()
    (folder / "a.dlm").write_text(f"rid\tnumrows\tnumcols\tcamxsize\tcamysize\n1\t3\t4\t{_W}\t{_H}\n")
    (folder / "b.dlm").write_text("rid\tfiltername\n1\tDAPI\n2\tCK\n3\tCD45\n4\tFITC\n")
    (folder / "c.dlm").write_text("rid\tframenum\tassigned\tlocation\n1\t1\ttrue\t(10,4)(20,8)\n2\t1\ttrue\tlost\n")
    (folder / "d.dlm").write_text("")
    (folder / "e.dlm").write_text("name\nx\n")
    cartridge = _open(folder)
    assert (cartridge.rows, cartridge.columns) == (3, 4)
    assert [event.assigned for event in cartridge.prior] == [True]
    assert _flags(cartridge) == ["prior_events_unread"]
    np.testing.assert_allclose(cartridge.read(0)[0], 100 + _page(1, 0) / 65535 * 1900, atol=0.5)
    (folder / "a.dlm").write_text(f"numrows|numcols|camxsize|camysize\n3|4|{_W}|{_H}\n3|4|{_W}|{_H}\n")
    with pytest.raises(CartridgeError, match="several runs"):
        _open(folder)
    (folder / "a.dlm").write_text("numrows;numcols;camxsize;camysize\n3;4\n")
    with pytest.raises(CartridgeError, match="camxsize cannot be used"):
        _open(folder)
    (folder / "a.dlm").write_text("something else\n")
    with pytest.raises(CartridgeError, match="grid that is not known"):
        _open(folder)


@pytest.mark.parametrize("share", [0, 0.01, 0.5, 0.99])
def test_a_truncated_frame_is_an_error_of_that_frame_only(folder: Path, share: float) -> None:
    for number in (1, 6, 12):
        file = folder / f"171651_{number:03}.tif"
        content = file.read_bytes()
        file.write_bytes(content[: int(share * len(content))])
    cartridge = _open(folder)
    assert (cartridge.frame_height_px, cartridge.frame_width_px) == (_H, _W)
    failed = {}
    for index, frame in enumerate(cartridge.frames):
        try:
            cartridge.read(index)
        except FrameError as error:
            failed[frame.number] = Path(error.where or "").name
    assert failed == {number: f"171651_{number:03}.tif" for number in (1, 6, 12)}


def test_a_frame_that_lacks_its_last_bytes_is_called_truncated(folder: Path) -> None:
    file = folder / "171651_001.tif"
    cartridge, content = _open(folder), file.read_bytes()
    with tifffile.TiffFile(file) as tif:
        end = max(
            offset + count
            for page in tif.pages
            for offset, count in zip(page.dataoffsets, page.databytecounts, strict=True)
        )
    file.write_bytes(content[: end - 10])
    with pytest.raises(FrameError, match="is truncated"):
        cartridge.read(0)


@pytest.mark.parametrize(
    "pages",
    [
        [np.zeros((_H, _W + 2), np.uint16)] * 4,
        [np.zeros((_H, _W), np.uint16)] * 3,
        [np.zeros((_H, _W), np.uint8)] * 4,
        [np.zeros((_H, _W), np.uint16)] * 3 + [np.zeros((_H, 8), np.uint16)],
        [np.zeros((_H, _W), np.float32)] * 4,
    ],
    ids=["size", "pages", "depth", "mixed", "float"],
)
@pytest.mark.parametrize("number", [1, 5])
def test_a_frame_unlike_the_others_is_refused(folder: Path, pages: list[np.ndarray], number: int) -> None:
    _write_pages(folder / f"171651_{number:03}.tif", pages)
    cartridge = _open(folder)
    index = next(i for i, frame in enumerate(cartridge.frames) if frame.number == number)
    with pytest.raises(FrameError):
        cartridge.read(index)
    assert sum(cartridge.read(i).shape == (4, _H, _W) for i in range(12) if i != index) == 11


def test_frames_of_another_kind_have_no_say_in_how_pixels_are_stored(tmp_path: Path) -> None:
    _write_frames(tmp_path, full_scale=4095)
    (tmp_path / "a.xml").write_text(_xml())
    _write_pages(tmp_path / "171651_001.tif", [np.full((_H + 1, _W), 65535, np.uint16)] * 4)
    cartridge = _open(tmp_path)
    assert (_flags(cartridge), cartridge.metadata["stored_full_scale"]) == ([], 4095)
    assert cartridge.read(1).max() == 2000


def test_all_channels_have_a_say_in_how_pixels_are_stored(tmp_path: Path) -> None:
    for number in range(1, 13):
        dim = [_page(number, page, 3000) for page in range(3)]
        _write_pages(tmp_path / f"171651_{number:03}.tif", [*dim, _page(number, 3, 4095)])
    (tmp_path / "a.xml").write_text(_xml())
    assert _flags(_open(tmp_path)) == []


def test_pixels_that_cannot_be_read_anywhere_are_refused(folder: Path) -> None:
    for number in range(1, 13):
        _write_pages(folder / f"171651_{number:03}.tif", [_page(number, page) for page in range(4)], compression="lzw")
        content = bytearray((folder / f"171651_{number:03}.tif").read_bytes())
        with tifffile.TiffFile(folder / f"171651_{number:03}.tif") as tif:
            places = [
                (offset, tif.pages[page].databytecounts[0])
                for page in range(4)
                for offset in tif.pages[page].dataoffsets
            ]
        for offset, count in places:
            content[offset : offset + count] = bytes(count)
        (folder / f"171651_{number:03}.tif").write_bytes(content)
    with pytest.raises(CartridgeError, match="whose pixels can be read"):
        _open(folder)


def test_a_cartridge_without_a_frame_that_can_be_read_is_refused(folder: Path) -> None:
    for file in folder.glob("*.tif"):
        file.write_bytes(b"")
    assert recognises(folder)
    with pytest.raises(CartridgeError, match="no frame that can be read"):
        _open(folder)


@pytest.mark.parametrize(
    ("name", "message"), [("other_001.tif", "frame 1 twice"), ("171651_000.tif", "number 0"), ("x13.tif", "13")]
)
def test_numbers_that_cannot_be_are_refused(folder: Path, name: str, message: str) -> None:
    _write_pages(folder / name, [_page(1, page) for page in range(4)])
    with pytest.raises(CartridgeError, match=message):
        _open(folder)


def test_a_folder_without_frames_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CartridgeError, match="holds no frame"):
        _open(tmp_path)


def test_frames_may_stand_in_a_folder_inside(folder: Path) -> None:
    inner = folder / "processed"
    inner.mkdir()
    for file in folder.glob("*.tif"):
        file.rename(inner / file.name)
    assert recognises(folder)
    assert len(_open(folder).frames) == 12
    assert _open(folder).name == "171651.1.2"


def test_recognition(folder: Path, tmp_path: Path) -> None:
    assert recognises(folder)
    assert not recognises(folder / "171651.xml")
    other = tmp_path / "other"
    other.mkdir()
    _write_pages(other / "Tile000001.tif", [_page(1, 0)])
    _write_pages(other / "DAPI-X000-Y000.tif", [_page(1, 0)] * 4)
    _write_pages(other / "slide1.ome.tif", [_page(1, 0)] * 4)
    assert not recognises(other)
    _write_pages(other / "picture_1.tif", [_page(1, 0)])
    assert not recognises(other)  # one page
    _write_pages(other / "picture_1.tif", [_page(1, 0)] * 4, limits=None)
    assert not recognises(other)  # no tags, no record, another camera
    _write_pages(other / "picture_1.tif", [_page(1, 0)] * 4)
    assert recognises(other)


def test_users_pixel_size_wins_with_a_note(folder: Path) -> None:
    cartridge = _open(folder, pixel_size_um=0.645)
    assert (cartridge.pixel_size_um, _flags(cartridge)) == (0.645, [])
    cartridge = _open(folder, pixel_size_um=0.5)
    assert cartridge.panel.pixel_size_um == 0.5
    assert _flags(cartridge) == ["pixel_size_differs"]
    assert cartridge.frames[1].x_um == _W * 0.5


def test_no_pixel_size_at_all_is_refused(folder: Path) -> None:
    with pytest.raises(CartridgeError, match="--pixel-size-um"):
        _open(folder, platform=replace(_PLATFORM, pixel_size_um=None))


def test_opening_twice_gives_the_same(folder: Path) -> None:
    first, second = _open(folder), _open(folder)
    assert replace(first, read_pixels=second.read_pixels) == second


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
    _write_pages(tmp_path / f"frame_{highest}.tif", [np.full((4, 5), 65535, np.uint16)] * 4)
    notes = [note.message for note in _open(tmp_path).notes if note.flag == "ambiguous_grid"]
    assert len(notes) == bool(alternatives)
    assert all(alternative in notes[0] for alternative in alternatives)
    stated = _open(tmp_path, replace(_PLATFORM, grid_rows=6, grid_columns=36))
    assert "ambiguous_grid" not in _flags(stated)
    (tmp_path / "a.xml").write_text(_xml(rows=6, columns=36, x=5, y=4))
    assert "ambiguous_grid" not in _flags(_open(tmp_path))


def test_an_xml_without_a_run_is_not_called_absent(tmp_path: Path) -> None:
    _write_pages(tmp_path / "frame_180.tif", [np.full((4, 5), 65535, np.uint16)] * 4)
    message = next(note.message for note in _open(tmp_path).notes if note.flag == "no_record")
    assert "there is no XML file" in message
    (tmp_path / "other.xml").write_text("<archive/>")
    message = next(note.message for note in _open(tmp_path).notes if note.flag == "no_record")
    assert "no XML file" not in message
    assert "XML file (other.xml) hold" in message


def test_pages_whose_0_is_white_are_refused(folder: Path) -> None:
    cartridge = _open(folder)
    with tifffile.TiffWriter(folder / "171651_001.tif") as tif:
        for page in range(4):
            tif.write(_page(1, page), photometric="miniswhite", metadata=None, contiguous=False)
    with pytest.raises(FrameError, match="MINISWHITE"):
        cartridge.read(0)
