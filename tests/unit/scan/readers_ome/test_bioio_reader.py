"""Images read through BioIO: a stand-in for the library always, the library itself where it is installed."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from ctcnet.errors import CartridgeError, FrameError, MissingExtraError
from ctcnet.panel import Panel
from ctcnet.scan.cartridge import Cartridge
from ctcnet.scan.platform import load_platform
from ctcnet.scan.readers import bioio as reader

pytestmark = pytest.mark.unit
ORDER = [1, 2, 0]


class _Lazy:
    """As much of a dask array as is used."""

    def __init__(self, pixels: np.ndarray) -> None:
        self._pixels = pixels

    def __getitem__(self, key: object) -> _Lazy:
        return _Lazy(self._pixels[key])  # type: ignore[index]

    def compute(self, scheduler: str) -> np.ndarray:
        return self._pixels


def _dims(**sizes: int) -> SimpleNamespace:
    """As much of `bioio.Dimensions` as is used."""
    return SimpleNamespace(order="".join(sizes), **sizes)


class _Image:
    """As much of `bioio.BioImage` as is used, over scenes (C, H, W)."""

    def __init__(self, scenes: np.ndarray, positions_um: list[float] | None, **changes) -> None:
        self._pixels, self._current = scenes, 0
        self.scenes = tuple(f"Image:{index}" for index in range(len(scenes)))
        self.channel_names = ["CD45", "DAPI", "CK"]
        self.physical_pixel_sizes = SimpleNamespace(X=0.5, Y=0.5, Z=None)
        self.reader = self
        self.dtype = scenes.dtype
        self.dims = _dims(T=1, C=3, Z=1, Y=scenes.shape[2], X=scenes.shape[3])
        self._positions_um, self.ome_fault = positions_um, None
        self.__dict__ |= changes

    def set_scene(self, index: int) -> None:
        self._current = index

    @property
    def ome_metadata(self) -> SimpleNamespace:
        if self.ome_fault is not None:
            raise self.ome_fault
        if self._positions_um is None:
            raise NotImplementedError
        unit = SimpleNamespace(value="µm")
        planes = [
            [SimpleNamespace(position_x=x, position_x_unit=unit, position_y=0.0, position_y_unit=unit)]
            for x in self._positions_um
        ]
        return SimpleNamespace(
            images=[SimpleNamespace(pixels=SimpleNamespace(planes=plane, significant_bits=12)) for plane in planes]
        )

    def get_image_dask_data(self, order: str) -> _Lazy:
        assert order == "CYX"
        return _Lazy(self._pixels[self._current])


@pytest.fixture
def open_with(tmp_path: Path, panel: Panel, monkeypatch: pytest.MonkeyPatch):
    """Opens a stand-in image."""

    def opened(image: object, size_um: float | None = None) -> Cartridge:
        def make(path: Path) -> object:
            if isinstance(image, Exception):
                raise image
            return image

        module = ModuleType("bioio")
        module.BioImage = make  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "bioio", module)
        file = tmp_path / "scan.nd2"
        file.touch()
        return reader.open_cartridge(file, load_platform("bioio"), panel, size_um)

    return opened


def test_scenes_with_positions_are_frames(open_with, random_counts) -> None:
    scenes = random_counts(2, 3, 20, 30)
    cartridge = open_with(_Image(scenes, [115.0, 100.0]))
    assert (cartridge.name, cartridge.layout, cartridge.pixel_size_um) == ("scan", "bioio", 0.5)
    assert [(f.number, f.column) for f in cartridge.frames] == [(2, 0), (1, 1)]
    assert np.array_equal(cartridge.read(0), scenes[1][ORDER])
    assert np.array_equal(cartridge.read(1), scenes[0][ORDER])


def test_one_scene_needs_no_position(open_with, random_counts) -> None:
    scenes = random_counts(1, 3, 20, 5000)
    cartridge = open_with(_Image(scenes, None))
    assert cartridge.columns == 3
    assert "unreadable_metadata" not in {note.flag for note in cartridge.notes}
    width = cartridge.frame_width_px
    assert np.array_equal(cartridge.read(1), scenes[0][ORDER, :, width : 2 * width])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"channel_names": ["Channel:0:0", "Channel:0:1", "Channel:0:2"]}, "does not name its channels"),
        ({"channel_names": None}, "does not name its channels"),
        ({"dims": _dims(T=2, C=3, Z=1, Y=20, X=30)}, "several sections or times"),
        ({"dims": _dims(T=1, C=1, Z=1, Y=20, X=30, S=3)}, "several sections or times, or colours"),
        ({"dims": _dims(M=4, T=1, C=3, Z=1, Y=20, X=30)}, "axis that is not understood\n(.|\n)*found: M = 4"),
        ({"reader": SimpleNamespace(dims=_dims(H=2, C=3, Y=20, X=30))}, "axis that is not understood\n(.|\n)*H = 2"),
        ({"physical_pixel_sizes": SimpleNamespace(X=None, Y=None)}, "--pixel-size-um"),
        ({"physical_pixel_sizes": SimpleNamespace(X=0.5, Y=0.7)}, "not square"),
        ({"physical_pixel_sizes": SimpleNamespace(X="a", Y=0.7)}, "cannot be read through BioIO"),
        ({"dtype": np.dtype("float32")}, "uint8 or uint16"),
    ],
)
def test_what_is_refused(open_with, random_counts, changes: dict, message: str) -> None:
    with pytest.raises(CartridgeError, match=message):
        open_with(_Image(random_counts(1, 3, 20, 30), None, **changes))


def test_no_scene(open_with, random_counts) -> None:
    image = _Image(random_counts(1, 3, 20, 30), None)
    image.scenes = ()
    with pytest.raises(CartridgeError, match="no scene"):
        open_with(image)


def test_several_scenes_without_positions(open_with, random_counts) -> None:
    with pytest.raises(CartridgeError, match="do not state where they lie"):
        open_with(_Image(random_counts(2, 3, 20, 30), None))


def test_what_the_library_raises(open_with, random_counts) -> None:
    with pytest.raises(CartridgeError, match="cannot be opened through BioIO") as error:
        open_with(ValueError("unsupported"))
    assert "bioio-nd2" in str(error.value)
    image = _Image(random_counts(1, 3, 20, 30), None)
    cartridge = open_with(image)
    image.get_image_dask_data = lambda order: 1 / 0  # type: ignore[method-assign]
    with pytest.raises(FrameError, match="ZeroDivisionError"):
        cartridge.read(0)


def test_metadata_that_break_the_rules_of_ome_are_said(open_with, random_counts) -> None:
    fault = ValueError("36 validation errors for OME")
    scenes = random_counts(1, 3, 20, 30)
    cartridge = open_with(_Image(scenes, [0.0], ome_fault=fault))
    (note,) = [note for note in cartridge.notes if note.flag == "unreadable_metadata"]
    assert "ValueError: 36 validation errors" in note.message
    assert np.array_equal(cartridge.read(0), scenes[0][ORDER])
    with pytest.raises(CartridgeError, match=r"metadata that cannot be read through BioIO .*36 validation errors"):
        open_with(_Image(random_counts(2, 3, 20, 30), [0.0, 15.0], ome_fault=fault))


def test_without_the_library(tmp_path: Path, panel: Panel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "bioio", None)
    with pytest.raises(MissingExtraError, match=r"ctcnet\[bioio\]"):
        reader.open_cartridge(tmp_path, load_platform("bioio"), panel, None)
    assert not reader.recognises(tmp_path)


def test_the_library_itself(tmp_path: Path, panel: Panel, ome, random_counts) -> None:
    pytest.importorskip("bioio", reason="BioIO is not installed")
    pytest.importorskip("bioio_ome_tiff", reason="BioIO's plugin for OME-TIFF is not installed")
    pages = random_counts(6, 30, 40)
    images = [
        ome.image(n, (3, 30, 40), f'<TiffData IFD="{3 * n}" PlaneCount="3"/>', position_um=(20.0 * n, 0.0))
        for n in range(2)
    ]
    path = ome.write(tmp_path / "a.ome.tif", pages, ome.document(*images))
    cartridge = reader.open_cartridge(path, load_platform("bioio"), panel, None)
    assert [(f.number, f.column, f.x_um) for f in cartridge.frames] == [(1, 0, 0.0), (2, 1, pytest.approx(20))]
    assert (cartridge.pixel_size_um, cartridge.panel.bit_depth) == (0.5, 12)
    assert cartridge.metadata["read_with"] == "bioio_ome_tiff"
    for index in range(2):
        assert np.array_equal(cartridge.read(index), pages[3 * index : 3 * index + 3][ORDER])
    (tmp_path / "broken.nd2").write_bytes(b"0" * 100)
    with pytest.raises(CartridgeError, match="cannot be opened through BioIO"):
        reader.open_cartridge(tmp_path / "broken.nd2", load_platform("bioio"), panel, None)


def test_other_axes_of_length_one_and_a_joined_mosaic_are_read(open_with, random_counts) -> None:
    scenes = random_counts(1, 3, 20, 30)
    tiles = SimpleNamespace(dims=_dims(M=4, C=3, Y=10, X=15))
    for changes in ({"dims": _dims(M=1, T=1, C=3, Z=1, Y=20, X=30)}, {"reader": tiles}):
        assert np.array_equal(open_with(_Image(scenes, None, **changes)).read(0), scenes[0][ORDER])


def test_the_name_of_a_relative_folder(
    tmp_path: Path, panel: Panel, monkeypatch: pytest.MonkeyPatch, random_counts
) -> None:
    module = ModuleType("bioio")
    module.BioImage = lambda path: _Image(random_counts(1, 3, 20, 30), None)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "bioio", module)
    monkeypatch.chdir(tmp_path)
    assert reader.open_cartridge(Path(), load_platform("bioio"), panel, None).name == tmp_path.name
