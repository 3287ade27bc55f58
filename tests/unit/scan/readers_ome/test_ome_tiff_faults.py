"""OME-TIFF cartridges that are damaged, incomplete or contradict themselves."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from ome_tiff_files import ALL, ORDER, flags_of, open_ome_tiff, write_set_of_files

from ctcnet.errors import CartridgeError, FrameError
from ctcnet.panel import Channel, Panel

pytestmark = pytest.mark.unit


def test_a_lost_file_leaves_a_place_empty(frame_files, panel: Panel) -> None:
    folder, field = frame_files
    (folder / "slide7_f002.ome.tif").unlink()
    cartridge = open_ome_tiff(folder, panel)
    assert [frame.number for frame in cartridge.frames] == [1, 3, 4, 5, 6]
    (missing,) = cartridge.missing
    assert (missing.row, missing.column, missing.x_um) == (0, 1, pytest.approx(18))
    assert flags_of(cartridge) == {"missing_frames"}
    assert np.array_equal(cartridge.read(1), field[ORDER, :30, 72:])


def test_an_empty_and_a_truncated_file(frame_files, panel: Panel) -> None:
    folder, field = frame_files
    (folder / "slide7_f001.ome.tif").write_bytes(b"")
    file = folder / "slide7_f005.ome.tif"
    file.write_bytes(file.read_bytes()[:-10])
    cartridge = open_ome_tiff(folder, panel)
    assert flags_of(cartridge) == {"missing_frames", "unreadable_file"}
    assert any("f001" in note.message for note in cartridge.notes)
    faulty = next(index for index, frame in enumerate(cartridge.frames) if frame.number == 5)
    with pytest.raises(FrameError, match=r"f005.*(truncated|cannot be read)"):
        cartridge.read(faulty)
    assert np.array_equal(cartridge.read(0), field[ORDER, :30, 36:76])


def test_a_file_with_damaged_xml_leaves_the_others(frame_files, panel: Panel, ome, random_counts) -> None:
    folder, _ = frame_files
    ome.write(folder / "slide7_f006.ome.tif", random_counts(3, 30, 40), "<OME><Image>")
    cartridge = open_ome_tiff(folder, panel)
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
    cartridge = open_ome_tiff(folder, panel)
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
        open_ome_tiff(folder, panel).read(0)
    assert "4095" in str(error.value)
    assert "4096" in str(error.value)


def test_a_set_with_an_empty_first_file_and_a_lost_frame(tmp_path: Path, panel: Panel, ome, random_counts) -> None:
    pages = random_counts(6, 30, 40)
    write_set_of_files(tmp_path, ome, pages)
    (tmp_path / "i0_c0.ome.tif").write_bytes(b"")
    cartridge = open_ome_tiff(tmp_path, panel)
    assert [frame.number for frame in cartridge.frames] == [1, 2]
    assert cartridge.notes == ()
    with pytest.raises(FrameError, match=r"i0_c0.*zero bytes"):
        cartridge.read(0)
    assert np.array_equal(cartridge.read(1), pages[3:][ORDER])
    for c in range(3):
        (tmp_path / f"i1_c{c}.ome.tif").unlink()
    cartridge = open_ome_tiff(tmp_path, panel)
    assert [frame.number for frame in cartridge.frames] == [1]
    assert [frame.number for frame in cartridge.missing] == [2]
    assert [(note.flag, note.frame) for note in cartridge.notes] == [("missing_frames", 2)]


def test_a_set_must_lie_in_one_folder(tmp_path: Path, panel: Panel, ome, random_counts) -> None:
    data = '<TiffData IFD="0" PlaneCount="3"><UUID FileName="../secret.ome.tif">urn:uuid:9</UUID></TiffData>'
    path = ome.write(tmp_path / "a.ome.tif", random_counts(3, 8, 9), ome.document(ome.image(0, (3, 8, 9), data)))
    with pytest.raises(CartridgeError, match="does not lie beside it"):
        open_ome_tiff(path, panel)


def test_what_cannot_be_opened(tmp_path: Path, panel: Panel, ome, random_counts) -> None:
    pages = random_counts(3, 30, 40)

    def written(image: str) -> Path:
        return ome.write(tmp_path / "a.ome.tif", pages, ome.document(image))

    plain = ome.image(0, pages.shape, ALL)
    with pytest.raises(CartridgeError, match="--panel") as error:
        open_ome_tiff(written(plain), None)
    assert "CD45, DAPI, CK" in str(error.value)
    with pytest.raises(CartridgeError, match="does not name its channels"):
        open_ome_tiff(written(ome.image(0, pages.shape, ALL, names=(None,) * 3)), panel)
    with pytest.raises(CartridgeError, match=r"missing: CK.*not known: Cy3"):
        open_ome_tiff(written(ome.image(0, pages.shape, ALL, names=("CD45", "DAPI", "Cy3"))), panel)
    for kind in ("float", "int16", "uint32", "nonsense"):
        with pytest.raises(CartridgeError, match="uint8 or uint16"):
            open_ome_tiff(written(ome.image(0, pages.shape, ALL, pixels=f'Type="{kind}" PhysicalSizeX="0.5"')), panel)
    eight = Panel("eight", panel.channels, 8)
    with pytest.raises(CartridgeError, match="says 8 bits"):
        open_ome_tiff(written(ome.image(0, pages.shape, ALL, pixels='Type="uint16" PhysicalSizeX="0.5"')), eight)
    colour = plain.replace('SamplesPerPixel="1"', 'SamplesPerPixel="3"')
    with pytest.raises(CartridgeError, match="colour pictures only"):
        open_ome_tiff(written(colour), panel)
    tifffile.imwrite(tmp_path / "a.ome.tif", pages[0], metadata=None, description="not OME")
    with pytest.raises(CartridgeError, match="has no OME-XML"):
        open_ome_tiff(tmp_path / "a.ome.tif", panel)
    (tmp_path / "a.ome.tif").write_bytes(b"")
    for path in (tmp_path, tmp_path / "a.ome.tif"):
        with pytest.raises(CartridgeError, match="zero bytes"):
            open_ome_tiff(path, panel)


def test_a_channel_without_a_plane_is_a_fault_of_the_frame(tmp_path: Path, panel: Panel, ome, random_counts) -> None:
    pages = random_counts(3, 30, 40)
    text = ome.document(ome.image(0, pages.shape, '<TiffData IFD="0" PlaneCount="2"/>'))
    with pytest.raises(FrameError, match="where channel CK is stored"):
        open_ome_tiff(ome.write(tmp_path / "a.ome.tif", pages, text), panel).read(0)


def test_frames_without_positions_or_at_one_place(tmp_path: Path, panel: Panel, ome, random_counts) -> None:
    pages = random_counts(3, 30, 40)
    for n in range(2):
        ome.write(tmp_path / f"{n}.ome.tif", pages, ome.document(ome.image(0, pages.shape, ALL)))
    with pytest.raises(CartridgeError, match="do not state where they lie") as error:
        open_ome_tiff(tmp_path, panel)
    assert "--pattern" in str(error.value)
    for n in range(2):
        text = ome.document(ome.image(0, pages.shape, ALL, position_um=(3, 4)))
        ome.write(tmp_path / f"{n}.ome.tif", pages, text)
    with pytest.raises(CartridgeError, match="two frames at one place"):
        open_ome_tiff(tmp_path, panel)


def test_several_slides_are_no_frames(tmp_path: Path, ome) -> None:
    pages = np.zeros((1, 2, 7000), np.uint16)
    for n in range(2):
        image = ome.image(0, pages.shape, '<TiffData IFD="0"/>', names=["DAPI"], position_um=(n * 3500, 0))
        ome.write(tmp_path / f"{n}.ome.tif", pages, ome.document(image))
    with pytest.raises(CartridgeError, match="too large for frames"):
        open_ome_tiff(tmp_path, Panel("one", (Channel("DAPI", "nucleus"),), 12))


def test_frames_that_do_not_touch(tmp_path: Path, panel: Panel, ome, random_counts) -> None:
    pages = random_counts(3, 30, 40)
    for n in range(3):
        text = ome.document(ome.image(0, pages.shape, ALL, position_um=(n * 50.0, 0)))
        ome.write(tmp_path / f"{n}.ome.tif", pages, text)
    cartridge = open_ome_tiff(tmp_path, panel)
    assert [frame.column for frame in cartridge.frames] == [0, 2, 4]
    assert [frame.x_um for frame in cartridge.frames] == pytest.approx([0, 50, 100], abs=1e-6)
    assert cartridge.missing == ()
    assert flags_of(cartridge) == {"frames_apart"}


def test_frames_beside_the_grid_are_noted(tmp_path: Path, panel: Panel, ome, random_counts) -> None:
    pages = random_counts(3, 30, 100)
    for n, x in enumerate((0, 50, 97, 150)):
        text = ome.document(ome.image(0, pages.shape, ALL, position_um=(float(x), 0)))
        ome.write(tmp_path / f"{n}.ome.tif", pages, text)
    cartridge = open_ome_tiff(tmp_path, panel)
    assert flags_of(cartridge) == {"irregular_positions"}
    assert [frame.column for frame in cartridge.frames] == [0, 1, 2, 3]


def test_an_unreadable_file_at_the_end_is_not_said_to_be_counted(frame_files, panel: Panel) -> None:
    folder, _ = frame_files
    for number in (3, 6):  # the last column
        (folder / f"slide7_f{number:03}.ome.tif").write_bytes(b"")
    cartridge = open_ome_tiff(folder, panel)
    assert cartridge.missing == ()
    notes = [note.message for note in cartridge.notes if note.flag == "unreadable_file"]
    assert len(notes) == 2
    assert all("could not be counted" in note for note in notes)
