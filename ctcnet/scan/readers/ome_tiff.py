"""OME-TIFF: one file or a folder of them, tiled, pyramidal or a set of files; one large image or one for each frame."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import tifffile

from ctcnet.errors import CartridgeError, CtcnetError, FrameError
from ctcnet.panel import Panel
from ctcnet.scan.cartridge import Cartridge, Note
from ctcnet.scan.platform import Platform
from ctcnet.scan.readers.image_cartridge import ImageSet, cartridge_of_images, nothing_opened, unreadable_notes
from ctcnet.scan.readers.lazy_image import LazyImage, Region
from ctcnet.scan.readers.name_numbers import last_number
from ctcnet.scan.readers.ome_xml import OmeImage, OmePlane, parse_ome_xml
from ctcnet.scan.readers.tiff_region import damaged, open_pages, quiet_tifffile, read_page_region

LAYOUT = "ome_tiff"
_ENDING = re.compile(r"\.ome\.(tif|tiff|tf2|tf8|btf)$", re.IGNORECASE)
_OpenPages = Callable[[Path, tuple[int, ...]], tuple[tifffile.TiffPage, ...]]
_KEPT_FILES = 64
"""Files whose page directories are kept: a file of many frames is walked through once, and memory stays bounded."""


def recognises(path: Path) -> bool:
    """Whether a path is an OME-TIFF by its name, or a folder that holds one."""
    return bool(_ENDING.search(path.name)) if path.is_file() else path.is_dir() and bool(_files(path))


def open_cartridge(path: Path, platform: Platform, panel: Panel | None, pixel_size_um: float | None) -> Cartridge:
    """Open an OME-TIFF.

    The full resolution of a pyramid is read, and of it only the tiles that a frame touches. Files that the OME-XML of
    another one lists belong to that set; pictures of the slide's label and the like are left out. A frame's number is
    that in its file's name where each file holds one image, else the place of its image in the OME-XML, from 1.

    Args:
        path: file, or folder of files whose names end in `.ome.tif` or the like.
        platform, panel, pixel_size_um: see `opening.open_cartridge`.

    Raises:
        CartridgeError: nothing can be opened, or see `cartridge_of_images`.
    """
    files = [path] if path.is_file() else _files(path)
    if not files:
        raise CartridgeError("holds no OME-TIFF", where=path, expected="files ending in .ome.tif")
    name = _ENDING.sub("", path.name) if path.is_file() else path.resolve().name
    return cartridge_of_images(
        _image_set(files, path),
        name=name,
        path=path,
        layout=LAYOUT,
        platform=platform,
        panel=panel,
        pixel_size_um=pixel_size_um,
    )


def _files(folder: Path) -> list[Path]:
    """OME-TIFF files of a folder, without hidden ones such as macOS writes beside each file."""
    return sorted(file for file in folder.iterdir() if _ENDING.search(file.name) and not file.name.startswith("."))


def _image_set(files: Sequence[Path], path: Path) -> ImageSet:
    """Images of all sets of files; a file that another one's OME-XML lists is not opened for its own."""
    listed: set[Path] = set()
    companions: set[Path] = set()
    single: list[tuple[Path, tuple[OmeImage, ...]]] = []
    notes: list[Note] = []
    faults: list[CtcnetError] = []
    for file in files:
        if file in listed:
            continue
        try:
            text, companion = _ome_xml(file)
            images = parse_ome_xml(text, file)
            companions |= set() if companion is None else {companion}
            listed |= {_plane_file(file, plane) for image in images for plane in image.planes if plane is not None}
        except (FrameError, CartridgeError) as error:
            faults.append(error)
            continue
        single.append((file, images))
    # A set's first files may be damaged, and its XML then be read from a later one, which lists them.
    faults = [error for error in faults if error.where is None or Path(error.where) not in listed]
    if not single:
        raise nothing_opened(faults)
    notes += unreadable_notes(faults)
    pages = lru_cache(maxsize=_KEPT_FILES)(open_pages)
    named_by_file = len(single) > 1 and all(len(images) == 1 for _, images in single)
    numbers = [last_number(_ENDING.sub("", file.name)) for file, _ in single] if named_by_file else []
    if len(set(numbers)) < len(numbers) or None in numbers:
        numbers = []
    found: list[LazyImage] = []
    aside = [image for _, images in single for image in images if image.beside_scan]
    for place, (file, images) in enumerate(single):
        kept = [image for image in images if not image.beside_scan]
        for image in kept:
            number = numbers[place] if numbers else None
            found.append(_lazy(file, image, len(found) + 1 if number is None else number, len(single) > 1, pages))
    if not found:
        raise CartridgeError(
            "holds colour pictures only, not counts", where=path, fix="export one page per channel, without colours"
        )
    if aside:
        named = ", ".join(image.name or "without a name" for image in aside)
        notes.append(Note("pictures_left_out", f"pictures beside the scan are left out: {named}"))
    return ImageSet(tuple(found), tuple(notes), files=tuple(sorted(listed | companions)))


def _ome_xml(file: Path) -> tuple[str, Path | None]:
    """OME-XML of a file, or of the companion file that it refers to, and that file.

    Raises:
        FrameError: the file cannot be read.
        CartridgeError: it has no OME-XML.
    """
    try:
        if file.stat().st_size == 0:
            raise FrameError("is empty (zero bytes)", where=file, fix="copy or export the file again")
        with quiet_tifffile(), tifffile.TiffFile(file, _multifile=False) as tif:
            text = tif.pages[0].aspage().description
    except CtcnetError:
        raise
    except Exception as cause:  # tifffile raises nearly every kind of exception on damaged files
        raise damaged(file, cause) from cause
    if "<OME" not in text and ":OME" not in text:
        raise CartridgeError(
            "has no OME-XML",
            where=file,
            expected="OME-XML in the first page's ImageDescription",
            found=text[:60] or "nothing",
            fix="export it as OME-TIFF, or use --layout folder with a --pattern",
        )
    named = re.search(r"<(?:\w+:)?BinaryOnly\b[^>]*\bMetadataFile=[\"']([^\"']+)[\"']", text)
    if named is None:
        return text, None
    companion = _beside(file, named.group(1))
    return _companion(companion, file), companion


def _companion(path: Path, file: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as cause:
        raise CartridgeError(
            "keeps its metadata in another file, which cannot be read", where=file, expected=str(path), found=str(cause)
        ) from cause


def _beside(file: Path, name: str) -> Path:
    """A file that another one names; it must lie beside it."""
    if Path(name).name != name or name in ("", ".", ".."):
        raise CartridgeError(
            "names a file of its set that does not lie beside it", where=file, found=name, fix="export the set again"
        )
    return file.with_name(name)


def _plane_file(file: Path, plane: OmePlane) -> Path:
    return file if plane.file_name is None else _beside(file, plane.file_name)


def _lazy(file: Path, image: OmeImage, number: int, several_files: bool, pages: _OpenPages) -> LazyImage:
    places = [None if plane is None else (_plane_file(file, plane), plane.ifd) for plane in image.planes]
    own_files = {place[0] for place in places if place is not None}
    where = next(iter(own_files)) if len(own_files) == 1 else file

    def read_region(channels: tuple[int, ...], region: Region) -> np.ndarray:
        wanted: dict[Path, list[int]] = {}
        for channel in channels:
            place = places[channel]
            if place is None:
                raise FrameError(
                    f"has OME-XML that does not say where channel {image.channel_names[channel]} is stored", where=file
                )
            wanted.setdefault(place[0], []).append(place[1])
        opened = {
            (path, ifd): page
            for path, ifds in wanted.items()
            for ifd, page in zip(ifds, pages(path, tuple(ifds)), strict=True)
        }
        of_channels = [(place[0], opened[place]) for place in (places[channel] for channel in channels) if place]
        planes = [read_page_region(path, page, region) for path, page in of_channels]
        kinds = {plane.dtype for plane in planes}
        if len(kinds) > 1:
            raise FrameError("has channels of different dtypes", where=where, found=", ".join(map(str, kinds)))
        return np.stack(planes)

    label = f"{file.name}" if several_files else f"image {number}" + (f" ({image.name})" if image.name else "")
    return LazyImage(
        where=where,
        name=label,
        number=number,
        channel_names=image.channel_names,
        height_px=image.height_px,
        width_px=image.width_px,
        dtype=_dtype(image.pixel_type, file),
        significant_bits=image.significant_bits,
        pixel_size_um=image.pixel_size_um,
        position_um=image.position_um,
        read_region=read_region,
        absent=bool(own_files) and not any(own.exists() for own in own_files),
    )


def _dtype(pixel_type: str, where: Path) -> np.dtype:
    names = {"float": "float32", "double": "float64", "bit": "bool", "complex": "complex64"}
    try:
        return np.dtype(names.get(pixel_type, pixel_type or "?none"))
    except TypeError as cause:
        raise CartridgeError(
            "has OME-XML with an unknown type of pixels", where=where, expected="uint8 or uint16", found=pixel_type
        ) from cause
