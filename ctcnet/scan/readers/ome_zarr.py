"""OME-Zarr (NGFF 0.4 on Zarr 2, 0.5 on Zarr 3): one large image, or several that say where they lie."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from ctcnet.errors import CartridgeError, FrameError
from ctcnet.extras import import_extra
from ctcnet.panel import Panel
from ctcnet.scan.cartridge import Cartridge, Note
from ctcnet.scan.platform import Platform
from ctcnet.scan.readers.image_cartridge import ImageSet, cartridge_of_images, nothing_opened, unreadable_notes
from ctcnet.scan.readers.lazy_image import LazyImage, Region
from ctcnet.scan.readers.name_numbers import last_number
from ctcnet.scan.readers.zarr_metadata import ZarrImage, parse_multiscale

LAYOUT = "ome_zarr"
_METADATA_FILES = ("zarr.json", ".zattrs")
_MOST_CHUNKS = 10_000_000


def recognises(path: Path) -> bool:
    """Whether a folder is an OME-Zarr image, or holds some."""
    return path.is_dir() and bool(_image_folders(path))


def open_cartridge(path: Path, platform: Platform, panel: Panel | None, pixel_size_um: float | None) -> Cartridge:
    """Open an OME-Zarr image, or a folder of them, which are frames.

    The full resolution is read, and of it only the chunks that a frame touches. By the standard a chunk that is not
    stored holds the fill value throughout: an empty chunk cannot be told from a lost one, and a note says how many
    there are. A frame's number is the last one in its folder's name, else its place among the folders, from 1.

    Args:
        path: folder of an image, or of several; also what bioformats2raw writes.
        platform, panel, pixel_size_um: see `opening.open_cartridge`.

    Raises:
        CartridgeError: nothing can be opened, or see `cartridge_of_images`.
        MissingExtraError: zarr is not installed.
    """
    if not path.is_dir():
        raise CartridgeError(
            "is no folder",
            where=path,
            expected="the folder of an OME-Zarr image, or a folder of several",
            found="a file" if path.exists() else "nothing",
            fix="give the folder that holds zarr.json or .zattrs, unpacked where it is an archive",
        )
    folders = _image_folders(path)
    if not folders:
        raise CartridgeError(
            "holds no OME-Zarr image", where=path, expected="a folder whose zarr.json or .zattrs lists 'multiscales'"
        )
    numbers = [last_number(folder.name.partition(".")[0]) for folder in folders]
    if None in numbers or len(set(numbers)) < len(numbers) or len(folders) == 1:
        numbers = list(range(1, len(folders) + 1))
    images, notes, faults = [], [], []
    for folder, number in zip(folders, numbers, strict=True):
        try:
            image, lost = _open_image(folder, number or 0)
        except (FrameError, CartridgeError) as error:
            faults.append(error)
            continue
        images.append(image)
        notes += lost
    if not images:
        raise nothing_opened(faults)
    notes += unreadable_notes(faults)
    folder_name = path.resolve().name
    name = folder_name.removesuffix(".zarr").removesuffix(".ome")
    return cartridge_of_images(
        ImageSet(tuple(images), tuple(notes)),
        name=name or folder_name,
        path=path,
        layout=LAYOUT,
        platform=platform,
        panel=panel,
        pixel_size_um=pixel_size_um,
    )


def _image_folders(path: Path) -> list[Path]:
    """The folder itself where it is an image, else those in it that are, without hidden ones."""
    if _is_image(path):
        return [path]
    shown = (child for child in path.iterdir() if child.is_dir() and not child.name.startswith("."))
    return sorted((child for child in shown if _is_image(child)), key=_natural)


def _natural(folder: Path) -> tuple[int, str]:
    number = last_number(folder.name.partition(".")[0])
    return (-1 if number is None else number), folder.name


def _is_image(folder: Path) -> bool:
    if not any((folder / file).is_file() for file in _METADATA_FILES):
        return False
    try:
        return "multiscales" in _ome_attributes(folder)
    except FrameError:
        return folder.resolve().name.endswith(".zarr")  # damaged metadata are for `open_cartridge` to report


def _ome_attributes(folder: Path) -> Mapping[str, Any]:
    """Metadata of NGFF 0.5 (key 'ome' of the attributes in zarr.json), else of 0.4 (.zattrs).

    Raises:
        FrameError: the metadata are no JSON mapping.
    """
    for file in (folder / name for name in _METADATA_FILES):
        if not file.is_file():
            continue
        try:
            content = json.loads(file.read_text(encoding="utf-8"))
            attributes = content.get("attributes", {}) if file.name == "zarr.json" else content
            found = attributes.get("ome", attributes)
            if isinstance(found, Mapping) and found:
                return found
        except (OSError, UnicodeDecodeError, json.JSONDecodeError, AttributeError, RecursionError) as cause:
            raise FrameError(
                f"has metadata that are no JSON mapping ({cause})", where=file, fix="copy or export the image again"
            ) from cause
    return {}


def _open_image(folder: Path, number: int) -> tuple[LazyImage, list[Note]]:
    stated = parse_multiscale(_ome_attributes(folder), folder)
    zarr = import_extra("zarr", "scan")
    try:
        array = zarr.open_array(str(folder / stated.array_path), mode="r")
        _check_chunks(array, folder)
        lost = array.nchunks - array.nchunks_initialized
    except CartridgeError:
        raise
    except Exception as cause:  # zarr raises nearly every kind of exception on damaged metadata
        raise _damaged(folder, cause) from cause
    order = _axis_order(stated, array.shape, folder)
    image = LazyImage(
        where=folder,
        name=folder.resolve().name,
        number=number,
        channel_names=_names(stated, array.shape, folder),
        height_px=array.shape[stated.axes.index("y")],
        width_px=array.shape[stated.axes.index("x")],
        dtype=np.dtype(array.dtype).newbyteorder("="),
        significant_bits=None,
        pixel_size_um=stated.pixel_size_um,
        position_um=stated.position_um,
        read_region=partial(_read, array, stated.axes, order, folder / stated.array_path),
    )
    notes = []
    if lost > 0:
        message = f"{image.name} does not store {lost} of its chunks: they are empty, or were lost in copying"
        notes.append(Note("chunks_not_stored", message))
    return image, notes


def _check_chunks(array: Any, folder: Path) -> None:
    """Refuse metadata that claim more chunks than can be looked for one by one."""
    if array.nchunks > _MOST_CHUNKS:
        raise CartridgeError(
            "claims an impossible size",
            where=folder,
            expected=f"at most {_MOST_CHUNKS} chunks",
            found=f"shape {tuple(array.shape)}, chunks of {tuple(array.chunks)}",
            fix="its metadata are damaged: copy or export the image again, in larger chunks where it is as large",
        )


def _axis_order(stated: ZarrImage, shape: Sequence[int], folder: Path) -> tuple[int, ...]:
    """Axes of the array in the order c, y, x; without c where there is none."""
    if len(shape) != len(stated.axes):
        raise CartridgeError(
            "has metadata that contradict the array",
            where=folder,
            expected=f"{len(stated.axes)} axes: {', '.join(stated.axes)}",
            found=f"shape {tuple(shape)}",
        )
    long = [axis for axis, size in zip(stated.axes, shape, strict=True) if axis not in "cyx" and size != 1]
    if long:
        raise CartridgeError(
            "holds several sections or times",
            where=folder,
            expected="axes c, y, x; every other axis of length 1",
            found=", ".join(f"{axis} = {size}" for axis, size in zip(stated.axes, shape, strict=True)),
            fix="export one section, or a projection, of one time",
        )
    return tuple(stated.axes.index(axis) for axis in "cyx" if axis in stated.axes)


def _names(stated: ZarrImage, shape: Sequence[int], folder: Path) -> tuple[str, ...]:
    count = shape[stated.axes.index("c")] if "c" in stated.axes else 1
    if stated.channel_names and len(stated.channel_names) != count:
        raise CartridgeError(
            "names another number of channels than it has",
            where=folder,
            expected=f"{count} labels in omero.channels",
            found=", ".join(stated.channel_names),
            fix="mend the labels in its metadata",
        )
    return stated.channel_names


def _read(
    array: Any, axes: tuple[str, ...], order: tuple[int, ...], folder: Path, channels: tuple[int, ...], region: Region
) -> np.ndarray:
    """Pixels of some channels in a region, (C, h, w), channel by channel, so that few chunks are held at a time."""
    pixels = np.empty((len(channels), *region.shape), np.dtype(array.dtype).newbyteorder("="))
    spans = {"y": slice(region.top, region.bottom), "x": slice(region.left, region.right)}
    for place, channel in enumerate(channels):
        picked = tuple(spans.get(axis, slice(channel, channel + 1) if axis == "c" else slice(0, 1)) for axis in axes)
        try:
            _check_not_empty(array, picked, folder)
            part = np.asarray(array[picked])
        except FrameError:
            raise
        except Exception as cause:  # zarr and its codecs raise nearly every kind of exception on damaged chunks
            raise _damaged(folder, cause) from cause
        others = [axis for axis in range(len(axes)) if axis not in order[-2:]]
        pixels[place] = part.transpose((*others, *order[-2:])).reshape(region.shape)
    return pixels


def _check_not_empty(array: Any, picked: tuple[slice, ...], folder: Path) -> None:
    """Raise FrameError where a chunk's file has zero bytes: of a shard, zarr would take it for one never written."""
    stored = array.shards or array.chunks
    spans = [range(part.start // size, -(-part.stop // size)) for part, size in zip(picked, stored, strict=True)]
    for place in product(*spans):
        file = folder / array.metadata.encode_chunk_key(place)
        if file.is_file() and file.stat().st_size == 0:
            raise FrameError("is empty (zero bytes)", where=file, fix="copy or export the image again")


def _damaged(folder: Path, cause: Exception) -> FrameError:
    return FrameError(
        f"cannot be read as Zarr ({type(cause).__name__}: {str(cause)[:120]})",
        where=folder,
        fix="a chunk or its metadata are damaged: copy the image again",
    )
