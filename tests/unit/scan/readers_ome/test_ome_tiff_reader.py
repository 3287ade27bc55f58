"""OME-TIFF cartridges."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import tifffile

from ctcnet.errors import CartridgeError, FrameError
from ctcnet.panel import Channel, Panel
from ctcnet.scan.cartridge import Cartridge
from ctcnet.scan.platform import Platform, load_platform
from ctcnet.scan.readers import ome_tiff
from ctcnet.scan.readers.opening import open_cartridge

pytestmark = pytest.mark.unit
ALL = '<TiffData IFD="0" PlaneCount="3"/>'
ORDER = [1, 2, 0]  # DAPI, CK, CD45 among the files' CD45, DAPI, CK


def _open(path: Path, panel: Panel | None, platform: Platform | None = None, size_um: float | None = None) -> Cartridge:
    return ome_tiff.open_cartridge(path, platform or load_platform("ome_tiff"), panel, size_um)


def _flags(cartridge: Cartridge) -> set[str]:
    return {note.flag for note in cartridge.notes}


@pytest.fixture
def frame_files(tmp_path: Path, ome, random_counts):
    """A folder of 2 x 3 frames of 30 x 40 px, 4 px overlap, each in a file of its own; and the whole field."""
    field = random_counts(3, 56, 112)
    for number in range(1, 7):
        row, column = divmod(number - 1, 3)
        pixels = field[:, row * 26 : row * 26 + 30, column * 36 : column * 36 + 40]
        image = ome.image(0, pixels.shape, ALL, position_um=(5000 + column * 18.0, 700 + row * 13.0))
        ome.write(tmp_path / f"slide7_f{number:03}.ome.tif", pixels, ome.document(image))
    return tmp_path, field


def test_recognises(tmp_path: Path) -> None:
    assert not ome_tiff.recognises(tmp_path)
    assert not ome_tiff.recognises(tmp_path / "absent.ome.tif")
    (tmp_path / "a.tif").touch()
    assert not ome_tiff.recognises(tmp_path)
    (tmp_path / "b.OME.TIFF").touch()
    assert ome_tiff.recognises(tmp_path)
    assert ome_tiff.recognises(tmp_path / "b.OME.TIFF")


def test_one_file_for_each_frame(frame_files, panel: Panel) -> None:
    folder, field = frame_files
    cartridge = _open(folder, panel)
    assert [frame.number for frame in cartridge.frames] == [1, 2, 3, 4, 5, 6]
    assert [(frame.row, frame.column) for frame in cartridge.frames] == [(r, c) for r in range(2) for c in range(3)]
    assert [frame.x_um for frame in cartridge.frames] == pytest.approx([0, 18, 36] * 2, abs=1e-6)
    assert [frame.y_um for frame in cartridge.frames] == pytest.approx([0] * 3 + [13] * 3, abs=1e-6)
    assert (cartridge.overlap_x_px, cartridge.overlap_y_px) == (4, 4)
    assert (cartridge.frame_height_px, cartridge.frame_width_px) == (30, 40)
    assert cartridge.panel.markers == ("DAPI", "CK", "CD45")
    assert (cartridge.panel.bit_depth, cartridge.pixel_size_um, cartridge.panel.pixel_size_um) == (12, 0.5, 0.5)
    assert cartridge.missing == ()
    assert cartridge.notes == ()
    json.dumps(cartridge.metadata)
    for index, frame in enumerate(cartridge.frames):
        top, left = frame.row * 26, frame.column * 36
        assert np.array_equal(cartridge.read(index), field[ORDER, top : top + 30, left : left + 40])


def test_a_lost_file_leaves_a_place_empty(frame_files, panel: Panel) -> None:
    folder, field = frame_files
    (folder / "slide7_f002.ome.tif").unlink()
    cartridge = _open(folder, panel)
    assert [frame.number for frame in cartridge.frames] == [1, 3, 4, 5, 6]
    (missing,) = cartridge.missing
    assert (missing.row, missing.column, missing.x_um) == (0, 1, pytest.approx(18))
    assert _flags(cartridge) == {"missing_frames"}
    assert np.array_equal(cartridge.read(1), field[ORDER, :30, 72:])


def test_an_empty_and_a_truncated_file(frame_files, panel: Panel) -> None:
    folder, field = frame_files
    (folder / "slide7_f001.ome.tif").write_bytes(b"")
    file = folder / "slide7_f005.ome.tif"
    file.write_bytes(file.read_bytes()[:-10])
    cartridge = _open(folder, panel)
    assert _flags(cartridge) == {"missing_frames", "unreadable_file"}
    assert any("f001" in note.message for note in cartridge.notes)
    faulty = next(index for index, frame in enumerate(cartridge.frames) if frame.number == 5)
    with pytest.raises(FrameError, match=r"f005.*(truncated|cannot be read)"):
        cartridge.read(faulty)
    assert np.array_equal(cartridge.read(0), field[ORDER, :30, 36:76])


def test_a_file_with_damaged_xml_leaves_the_others(frame_files, panel: Panel, ome, random_counts) -> None:
    folder, _ = frame_files
    ome.write(folder / "slide7_f006.ome.tif", random_counts(3, 30, 40), "<OME><Image>")
    cartridge = _open(folder, panel)
    assert len(cartridge.frames) == 5
    assert any("f006" in note.message and note.flag == "unreadable_file" for note in cartridge.notes)


def test_a_frame_of_another_size_channels_or_depth(frame_files, panel: Panel, ome, random_counts) -> None:
    folder, _ = frame_files
    changes = {2: {"shape": (3, 30, 44)}, 3: {"names": ("CD45", "DAPI", "Cy3")}, 4: {"pixels": 'Type="uint8"'}}
    for number, change in changes.items():
        row, column = divmod(number - 1, 3)
        shape = change.pop("shape", (3, 30, 40))
        dtype = np.uint8 if "pixels" in change else np.uint16
        position = (5000 + column * 18.0, 700 + row * 13.0)
        text = ome.document(ome.image(0, shape, ALL, position_um=position, **change))
        ome.write(folder / f"slide7_f{number:03}.ome.tif", random_counts(*shape).astype(dtype), text)
    cartridge = _open(folder, panel)
    for index, frame in enumerate(cartridge.frames):
        if frame.number in changes:
            with pytest.raises(FrameError, match="another image") as error:
                cartridge.read(index)
            assert f"f{frame.number:03}" in str(error.value)
        else:
            assert cartridge.read(index).shape == (3, 30, 40)


def test_counts_above_the_bit_depth(frame_files, panel: Panel, ome) -> None:
    folder, _ = frame_files
    pixels = np.full((3, 30, 40), 4096, np.uint16)
    text = ome.document(ome.image(0, pixels.shape, ALL, position_um=(5000, 700)))
    ome.write(folder / "slide7_f001.ome.tif", pixels, text)
    with pytest.raises(FrameError, match="above the camera's bit depth") as error:
        _open(folder, panel).read(0)
    assert "4095" in str(error.value)
    assert "4096" in str(error.value)


def test_several_images_in_one_file(tmp_path: Path, panel: Panel, ome, random_counts) -> None:
    pages = random_counts(6, 30, 40)
    images = [
        ome.image(n, (3, 30, 40), f'<TiffData IFD="{3 * n}" PlaneCount="3"/>', position_um=(20.0 * (1 - n), 0.0))
        for n in range(2)
    ]
    path = ome.write(tmp_path / "a.ome.tif", pages, ome.document(*images))
    cartridge = _open(path, panel)
    assert cartridge.name == "a"
    assert [(frame.number, frame.column, frame.x_um) for frame in cartridge.frames] == [(2, 0, 0), (1, 1, 20)]
    assert np.array_equal(cartridge.read(0), pages[3:][ORDER])
    assert np.array_equal(cartridge.read(1), pages[:3][ORDER])


def _set_of_files(folder: Path, ome, pages: np.ndarray) -> None:
    """Two images of 3 channels, one file for each channel of each; the XML of the whole set in every file."""
    images = []
    for n in range(2):
        data = "".join(
            f'<TiffData FirstC="{c}" IFD="0" PlaneCount="1"><UUID FileName="i{n}_c{c}.ome.tif">urn:uuid:{n}{c}</UUID>'
            "</TiffData>"
            for c in range(3)
        )
        images.append(ome.image(n, (3, 30, 40), data, position_um=(20.0 * n, 0.0)))
    for n in range(2):
        for c in range(3):
            text = ome.document(*images, uuid=f"urn:uuid:{n}{c}")
            ome.write(folder / f"i{n}_c{c}.ome.tif", pages[3 * n + c][None], text)


def test_a_set_of_files(tmp_path: Path, panel: Panel, ome, random_counts) -> None:
    pages = random_counts(6, 30, 40)
    _set_of_files(tmp_path, ome, pages)
    for path in (tmp_path, tmp_path / "i1_c2.ome.tif"):
        cartridge = _open(path, panel)
        assert [frame.number for frame in cartridge.frames] == [1, 2]
        assert np.array_equal(cartridge.read(0), pages[:3][ORDER])
        assert np.array_equal(cartridge.read(1), pages[3:][ORDER])


def test_a_set_with_an_empty_first_file_and_a_lost_frame(tmp_path: Path, panel: Panel, ome, random_counts) -> None:
    pages = random_counts(6, 30, 40)
    _set_of_files(tmp_path, ome, pages)
    (tmp_path / "i0_c0.ome.tif").write_bytes(b"")
    cartridge = _open(tmp_path, panel)
    assert [frame.number for frame in cartridge.frames] == [1, 2]
    assert cartridge.notes == ()
    with pytest.raises(FrameError, match=r"i0_c0.*zero bytes"):
        cartridge.read(0)
    assert np.array_equal(cartridge.read(1), pages[3:][ORDER])
    for c in range(3):
        (tmp_path / f"i1_c{c}.ome.tif").unlink()
    cartridge = _open(tmp_path, panel)
    assert [frame.number for frame in cartridge.frames] == [1]
    assert [frame.number for frame in cartridge.missing] == [2]
    assert [(note.flag, note.frame) for note in cartridge.notes] == [("missing_frames", 2)]


def test_a_set_must_lie_in_one_folder(tmp_path: Path, panel: Panel, ome, random_counts) -> None:
    data = '<TiffData IFD="0" PlaneCount="3"><UUID FileName="../secret.ome.tif">urn:uuid:9</UUID></TiffData>'
    path = ome.write(tmp_path / "a.ome.tif", random_counts(3, 8, 9), ome.document(ome.image(0, (3, 8, 9), data)))
    with pytest.raises(CartridgeError, match="does not lie beside it"):
        _open(path, panel)


def test_metadata_in_a_companion_file(tmp_path: Path, panel: Panel, ome, random_counts) -> None:
    pages = random_counts(3, 30, 40)
    data = '<TiffData IFD="0" PlaneCount="3"><UUID FileName="a.ome.tif">urn:uuid:7</UUID></TiffData>'
    (tmp_path / "a.companion.ome").write_text(ome.document(ome.image(0, pages.shape, data)), encoding="utf-8")
    binary = '<OME><BinaryOnly MetadataFile="a.companion.ome" UUID="urn:uuid:1"/></OME>'
    path = ome.write(tmp_path / "a.ome.tif", pages, binary)
    assert np.array_equal(_open(path, panel).read(0), pages[ORDER])
    (tmp_path / "a.companion.ome").unlink()
    with pytest.raises(CartridgeError, match="keeps its metadata in another file"):
        _open(path, panel)


@pytest.mark.parametrize("options", [{}, {"tile": (256, 256), "compression": "lzw"}])
def test_a_large_pyramid_is_cut_into_frames(tmp_path: Path, panel: Panel, ome, random_counts, options: dict) -> None:
    pages = random_counts(3, 70, 4500)
    path = tmp_path / "slide.ome.tif"
    with tifffile.TiffWriter(path) as tif:
        for place, page in enumerate(pages):
            text = ome.document(ome.image(0, pages.shape, ALL)).encode() if place == 0 else None
            common = dict(photometric="minisblack", metadata=None, **options)
            tif.write(page, description=text, subifds=1, **common)
            tif.write(page[::2, ::2].copy(), subfiletype=1, **common)
    cartridge = _open(path, panel)
    assert (cartridge.frame_height_px, cartridge.frame_width_px) == (70, 1500)
    assert [(f.number, f.row, f.column, f.x_um) for f in cartridge.frames] == [
        (1, 0, 0, 0.0),
        (2, 0, 1, 750.0),
        (3, 0, 2, 1500.0),
    ]
    joined = np.concatenate([cartridge.read(index) for index in range(3)], axis=2)
    assert np.array_equal(joined, pages[ORDER])
    with ThreadPoolExecutor(4) as pool:
        again = list(pool.map(cartridge.read, [0, 1, 2] * 4))
    assert np.array_equal(np.concatenate(again[-3:], axis=2), joined)


def test_a_slide_that_cannot_be_cut_evenly_is_padded_and_says_so(tmp_path: Path, panel: Panel, ome) -> None:
    pages = np.zeros((3, 5, 100_003), np.uint16)
    pages[:, :, -1] = 77
    path = ome.write(tmp_path / "slide.ome.tif", pages, ome.document(ome.image(0, pages.shape, ALL)))
    cartridge = _open(path, panel)
    columns = cartridge.columns
    right = columns * cartridge.frame_width_px - 100_003
    assert cartridge.metadata["virtual_frames"] == {"rows": 1, "columns": columns, "padding_px": [0, right]}
    assert (right > 0) == ("padded_border" in _flags(cartridge))
    last = cartridge.read(columns - 1)
    assert last.shape == (3, 5, cartridge.frame_width_px)
    assert (last[:, :, -1 - right :] == 77).all()
    assert (last[:, :, : -1 - right] == 0).all()


def test_pictures_beside_the_scan_are_left_out(tmp_path: Path, panel: Panel, ome, random_counts) -> None:
    pages = random_counts(4, 30, 40)
    label = ome.image(1, (1, 30, 40), '<TiffData IFD="3"/>', names=["x"], name="label image")
    text = ome.document(ome.image(0, (3, 30, 40), ALL), label)
    cartridge = _open(ome.write(tmp_path / "a.ome.tif", pages, text), panel)
    assert len(cartridge.frames) == 1
    assert _flags(cartridge) == {"pictures_left_out"}


def test_who_states_the_pixel_size(tmp_path: Path, panel: Panel, ome, random_counts) -> None:
    pages = random_counts(3, 30, 40)
    path = ome.write(tmp_path / "a.ome.tif", pages, ome.document(ome.image(0, pages.shape, ALL)))
    assert _open(path, panel, size_um=0.5).notes == ()
    cartridge = _open(path, panel, size_um=0.65)
    assert cartridge.pixel_size_um == 0.65
    assert _flags(cartridge) == {"pixel_size_differs"}
    bare = ome.image(0, pages.shape, ALL, pixels='Type="uint16"')
    path = ome.write(tmp_path / "b.ome.tif", pages, ome.document(bare))
    with pytest.raises(CartridgeError, match="--pixel-size-um"):
        _open(path, panel)
    assert _open(path, panel, size_um=0.65).pixel_size_um == 0.65


@pytest.mark.parametrize(
    ("pixels", "dtype", "bits", "noted"),
    [
        ('Type="uint16" PhysicalSizeX="0.5"', np.uint16, 12, False),
        ('Type="uint16" PhysicalSizeX="0.5" SignificantBits="12"', np.uint16, 12, False),
        ('Type="uint16" PhysicalSizeX="0.5" SignificantBits="11"', np.uint16, 12, False),
        ('Type="uint16" PhysicalSizeX="0.5" SignificantBits="16"', np.uint16, 16, True),
        ('Type="uint8" PhysicalSizeX="0.5"', np.uint8, 8, True),
    ],
)
def test_bit_depth(tmp_path: Path, panel: Panel, ome, pixels: str, dtype: type, bits: int, noted: bool) -> None:
    pages = np.zeros((3, 8, 9), dtype)
    path = ome.write(tmp_path / "a.ome.tif", pages, ome.document(ome.image(0, pages.shape, ALL, pixels=pixels)))
    cartridge = _open(path, panel)
    assert cartridge.panel.bit_depth == bits
    assert cartridge.read(0).dtype == dtype
    assert ("bit_depth_differs" in _flags(cartridge)) == noted


def test_what_cannot_be_opened(tmp_path: Path, panel: Panel, ome, random_counts) -> None:
    pages = random_counts(3, 30, 40)

    def written(image: str) -> Path:
        return ome.write(tmp_path / "a.ome.tif", pages, ome.document(image))

    plain = ome.image(0, pages.shape, ALL)
    with pytest.raises(CartridgeError, match="--panel") as error:
        _open(written(plain), None)
    assert "CD45, DAPI, CK" in str(error.value)
    with pytest.raises(CartridgeError, match="does not name its channels"):
        _open(written(ome.image(0, pages.shape, ALL, names=(None,) * 3)), panel)
    with pytest.raises(CartridgeError, match=r"missing: CK.*not known: Cy3"):
        _open(written(ome.image(0, pages.shape, ALL, names=("CD45", "DAPI", "Cy3"))), panel)
    for kind in ("float", "int16", "uint32", "nonsense"):
        with pytest.raises(CartridgeError, match="uint8 or uint16"):
            _open(written(ome.image(0, pages.shape, ALL, pixels=f'Type="{kind}" PhysicalSizeX="0.5"')), panel)
    eight = Panel("eight", panel.channels, 8)
    with pytest.raises(CartridgeError, match="says 8 bits"):
        _open(written(ome.image(0, pages.shape, ALL, pixels='Type="uint16" PhysicalSizeX="0.5"')), eight)
    colour = plain.replace('SamplesPerPixel="1"', 'SamplesPerPixel="3"')
    with pytest.raises(CartridgeError, match="colour pictures only"):
        _open(written(colour), panel)
    tifffile.imwrite(tmp_path / "a.ome.tif", pages[0], metadata=None, description="not OME")
    with pytest.raises(CartridgeError, match="has no OME-XML"):
        _open(tmp_path / "a.ome.tif", panel)
    (tmp_path / "a.ome.tif").write_bytes(b"")
    for path in (tmp_path, tmp_path / "a.ome.tif"):
        with pytest.raises(CartridgeError, match="zero bytes"):
            _open(path, panel)


def test_a_channel_without_a_plane_is_a_fault_of_the_frame(tmp_path: Path, panel: Panel, ome, random_counts) -> None:
    pages = random_counts(3, 30, 40)
    text = ome.document(ome.image(0, pages.shape, '<TiffData IFD="0" PlaneCount="2"/>'))
    with pytest.raises(FrameError, match="where channel CK is stored"):
        _open(ome.write(tmp_path / "a.ome.tif", pages, text), panel).read(0)


def test_frames_without_positions_or_at_one_place(tmp_path: Path, panel: Panel, ome, random_counts) -> None:
    pages = random_counts(3, 30, 40)
    for n in range(2):
        ome.write(tmp_path / f"{n}.ome.tif", pages, ome.document(ome.image(0, pages.shape, ALL)))
    with pytest.raises(CartridgeError, match="do not state where they lie") as error:
        _open(tmp_path, panel)
    assert "--pattern" in str(error.value)
    for n in range(2):
        text = ome.document(ome.image(0, pages.shape, ALL, position_um=(3, 4)))
        ome.write(tmp_path / f"{n}.ome.tif", pages, text)
    with pytest.raises(CartridgeError, match="two frames at one place"):
        _open(tmp_path, panel)


def test_several_slides_are_no_frames(tmp_path: Path, ome) -> None:
    pages = np.zeros((1, 2, 7000), np.uint16)
    for n in range(2):
        image = ome.image(0, pages.shape, '<TiffData IFD="0"/>', names=["DAPI"], position_um=(n * 3500, 0))
        ome.write(tmp_path / f"{n}.ome.tif", pages, ome.document(image))
    with pytest.raises(CartridgeError, match="too large for frames"):
        _open(tmp_path, Panel("one", (Channel("DAPI", "nucleus"),), 12))


def test_frames_that_do_not_touch(tmp_path: Path, panel: Panel, ome, random_counts) -> None:
    pages = random_counts(3, 30, 40)
    for n in range(3):
        text = ome.document(ome.image(0, pages.shape, ALL, position_um=(n * 50.0, 0)))
        ome.write(tmp_path / f"{n}.ome.tif", pages, text)
    cartridge = _open(tmp_path, panel)
    assert [frame.column for frame in cartridge.frames] == [0, 2, 4]
    assert [frame.x_um for frame in cartridge.frames] == pytest.approx([0, 50, 100], abs=1e-6)
    assert cartridge.missing == ()
    assert _flags(cartridge) == {"frames_apart"}


def test_frames_beside_the_grid_are_noted(tmp_path: Path, panel: Panel, ome, random_counts) -> None:
    pages = random_counts(3, 30, 100)
    for n, x in enumerate((0, 50, 97, 150)):
        text = ome.document(ome.image(0, pages.shape, ALL, position_um=(float(x), 0)))
        ome.write(tmp_path / f"{n}.ome.tif", pages, text)
    cartridge = _open(tmp_path, panel)
    assert _flags(cartridge) == {"irregular_positions"}
    assert [frame.column for frame in cartridge.frames] == [0, 1, 2, 3]


def test_the_panel_of_a_platform(tmp_path: Path, ome, random_counts) -> None:
    pages = random_counts(4, 30, 40)
    names = ("AF647", "DAPI", "AF488", "AF555")
    text = ome.document(ome.image(0, pages.shape, '<TiffData IFD="0" PlaneCount="4"/>', names=names))
    path = ome.write(tmp_path / "a.ome.tif", pages, text)
    cartridge = _open(path, None, Platform("ours", "ome_tiff", panel="axioscan"))
    assert cartridge.platform == "ours"
    assert cartridge.panel.markers == ("DAPI", "vimentin", "CK", "CD45")
    assert np.array_equal(cartridge.read(0), pages[[1, 2, 3, 0]])


def test_opened_by_what_is_in_the_folder(frame_files, panel: Panel) -> None:
    folder, _ = frame_files
    assert open_cartridge(folder, panel=panel).layout == "ome_tiff"
    by_pattern = open_cartridge(folder, panel=panel, pattern="slide7_f{frame}.ome.tif")
    assert by_pattern.layout == "folder"
    assert np.array_equal(by_pattern.read(3), open_cartridge(folder, panel=panel).read(3))


def test_the_rim_of_the_platform(frame_files, panel: Panel, tmp_path: Path, ome, random_counts) -> None:
    folder, _ = frame_files
    platform = Platform("ours", "ome_tiff", rim_um=3.0)
    assert _open(folder, panel, platform).rim_px == 6
    assert _open(folder, panel).rim_px == 0
    pages = random_counts(3, 30, 40)
    single = ome.write(tmp_path / "one.ome.tif", pages, ome.document(ome.image(0, pages.shape, ALL)))
    assert _open(single, panel, platform).rim_px == 6


def test_hidden_files_are_skipped(frame_files, panel: Panel) -> None:
    folder, _ = frame_files
    (folder / "._slide7_f001.ome.tif").write_bytes(b"resource fork")
    cartridge = _open(folder, panel)
    assert (len(cartridge.frames), cartridge.notes) == (6, ())
    for file in folder.glob("slide7*"):
        file.unlink()
    assert not ome_tiff.recognises(folder)
    with pytest.raises(CartridgeError, match="holds no OME-TIFF"):
        _open(folder, panel)


def test_an_unreadable_file_at_the_end_is_not_said_to_be_counted(frame_files, panel: Panel) -> None:
    folder, _ = frame_files
    for number in (3, 6):  # the last column
        (folder / f"slide7_f{number:03}.ome.tif").write_bytes(b"")
    cartridge = _open(folder, panel)
    assert cartridge.missing == ()
    notes = [note.message for note in cartridge.notes if note.flag == "unreadable_file"]
    assert len(notes) == 2
    assert all("could not be counted" in note for note in notes)


def test_the_name_of_a_relative_folder(frame_files, panel: Panel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(frame_files[0])
    assert _open(Path(), panel).name == frame_files[0].name
