"""Images that the BioIO library reads (ND2, LIF, ...), where the user has installed it and the plugin of the format."""

from __future__ import annotations

import re
import threading
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ctcnet.errors import CartridgeError, FrameError
from ctcnet.extras import import_extra
from ctcnet.panel import Panel
from ctcnet.scan.cartridge import Cartridge, Note
from ctcnet.scan.platform import Platform
from ctcnet.scan.readers.image_cartridge import ImageSet, cartridge_of_images
from ctcnet.scan.readers.lazy_image import LazyImage, Region
from ctcnet.scan.readers.length_units import UM_PER_UNIT
from ctcnet.scan.readers.ome_xml import square_pixel_um

LAYOUT = "bioio"
_AXES = "TZCYXS"
"""Axes that are understood."""
_MADE_UP_NAME = re.compile(r"Channel:\d+(:\d+)?")
"""Names that BioIO gives channels whose file has none."""


def recognises(path: Path) -> bool:
    """Never: BioIO may read nearly anything; --layout bioio asks for it."""
    return False


def open_cartridge(path: Path, platform: Platform, panel: Panel | None, pixel_size_um: float | None) -> Cartridge:
    """Open a file that BioIO reads; its scenes are frames where they state their positions.

    Scenes are read in tiles or planes as the format's plugin offers them, one thread at a time.

    Args:
        path: file, or folder of a format that is one.
        platform, panel, pixel_size_um: see `opening.open_cartridge`.

    A plugin may raise whatever the library of its format raises, so that every exception of one counts as a fault of
    the file.

    Raises:
        CartridgeError: BioIO or its plugin cannot read it, or see `cartridge_of_images`.
        MissingExtraError: BioIO is not installed.
    """
    image = _open_image(import_extra("bioio", "bioio"), path)
    lock = threading.Lock()
    try:
        pixels, notes = _ome_pixels(image, path)
        scenes = [_scene(image, index, path, lock, pixels[index]) for index in range(len(image.scenes))]
    except CartridgeError:
        raise
    except Exception as cause:
        raise _unreadable_metadata(path, cause) from cause
    if not scenes:
        raise CartridgeError("holds no scene", where=path)
    return cartridge_of_images(
        ImageSet(tuple(scenes), notes, metadata={"read_with": _plugin(image)}),
        name=path.stem if path.is_file() else path.resolve().name,
        path=path,
        layout=LAYOUT,
        platform=platform,
        panel=panel,
        pixel_size_um=pixel_size_um,
    )


def _open_image(bioio: Any, path: Path) -> Any:
    try:
        return bioio.BioImage(path)
    except Exception as cause:  # an unknown format, a plugin that is not installed, or a damaged file
        raise CartridgeError(
            f"cannot be opened through BioIO ({type(cause).__name__}: {str(cause)[:200]})",
            where=path,
            fix="install the plugin of its format (for instance bioio-nd2 or bioio-lif), or copy the file again",
        ) from cause


def _plugin(image: Any) -> str:
    return type(image.reader).__module__.partition(".")[0]


def _scene(image: Any, index: int, path: Path, lock: threading.Lock, pixels: Any) -> LazyImage:
    """One scene; `pixels` is its OME metadata or None."""
    image.set_scene(index)
    _check_axes(image, path)
    sizes = {axis: int(getattr(image.dims, axis, 1)) for axis in _AXES}
    if sizes["T"] != 1 or sizes["Z"] != 1 or sizes["S"] != 1:
        raise CartridgeError(
            "holds several sections or times, or colours",
            where=path,
            expected="T = 1, Z = 1, S = 1",
            found=", ".join(f"{axis} = {size}" for axis, size in sizes.items()),
            fix="export one section, or a projection, of one time",
        )
    scene_name, size_um = str(image.scenes[index]), _pixel_size_um(image, path)
    return LazyImage(
        where=path,
        name=f"scene {index + 1} ({scene_name})",
        number=index + 1,
        channel_names=_channel_names(image.channel_names, sizes["C"]),
        height_px=sizes["Y"],
        width_px=sizes["X"],
        dtype=np.dtype(image.dtype).newbyteorder("="),
        significant_bits=getattr(pixels, "significant_bits", None),
        pixel_size_um=size_um,
        position_um=_position_um(pixels),
        read_region=partial(_read, image, index, path, lock),
    )


def _check_axes(image: Any, path: Path) -> None:
    """Refuse axes that would silently be cut to their first place.

    BioIO brings every file to the axes T, C, Z, Y, X, with S and M where there are some, and cuts the others; so those
    of the plugin are looked at too. A mosaic (M) that BioIO joins to one image is no longer among its own axes.
    """
    own, plugin = _axis_sizes(image.dims), _axis_sizes(image.reader.dims)
    plugin.pop("M", None)
    cut = {axis: size for axis, size in (plugin | own).items() if axis not in _AXES and size > 1}
    if cut:
        raise CartridgeError(
            "has an axis that is not understood",
            where=path,
            expected="C, Y and X, and T = 1, Z = 1, S = 1; every other axis of length 1",
            found=", ".join(f"{axis} = {size}" for axis, size in cut.items()),
            fix="export the tiles of a mosaic as scenes with positions or joined to one image, and other series as "
            "images of their own",
        )


def _axis_sizes(dims: Any) -> dict[str, int]:
    return {axis: int(getattr(dims, axis)) for axis in dims.order}


def _channel_names(names: Sequence[Any] | None, count: int) -> tuple[str, ...]:
    stated = [str(name).strip() for name in names or ()]
    made_up = any(not name or _MADE_UP_NAME.fullmatch(name) for name in stated)
    return () if made_up or len(stated) != count else tuple(stated)


def _pixel_size_um(image: Any, path: Path) -> float | None:
    """BioIO gives micrometres."""
    stated = [getattr(image.physical_pixel_sizes, axis, None) for axis in "XY"]
    sizes = [float(size) for size in stated if size is not None]
    return square_pixel_um(sizes, path) if len(sizes) == 2 else None


def _ome_pixels(image: Any, path: Path) -> tuple[list[Any], tuple[Note, ...]]:
    """OME metadata of the pixels of each scene, None where the plugin offers none, and what a user must know.

    Files whose metadata break the rules of OME are common, and a single scene can be scanned without: its position and
    bit depth are then as good as not stated. Several scenes cannot be placed.

    Raises:
        CartridgeError: the metadata of several scenes cannot be read.
    """
    unknown = [None] * len(image.scenes)
    try:
        images = image.ome_metadata.images
    except NotImplementedError:  # the way of BioIO to say that a plugin offers none
        return unknown, ()
    except Exception as cause:
        if len(unknown) > 1:
            raise _unreadable_metadata(path, cause) from cause
        message = f"its OME metadata cannot be read ({_named(cause)}): bits per pixel that they state are not known"
        return unknown, (Note("unreadable_metadata", message),)
    return [entry.pixels for entry in images] if len(images) == len(unknown) else unknown, ()


def _unreadable_metadata(path: Path, cause: Exception) -> CartridgeError:
    return CartridgeError(f"has metadata that cannot be read through BioIO ({_named(cause)})", where=path)


def _named(cause: Exception) -> str:
    return f"{type(cause).__name__}: {str(cause)[:120]}"


def _position_um(pixels: Any) -> tuple[float, float] | None:
    for plane in getattr(pixels, "planes", None) or ():
        position = []
        for axis in "xy":
            value, unit = getattr(plane, f"position_{axis}", None), getattr(plane, f"position_{axis}_unit", None)
            scale = UM_PER_UNIT.get(str(getattr(unit, "value", unit)))
            if value is not None and scale is not None:
                position.append(float(value) * scale)
        if len(position) == 2:
            return position[0], position[1]
    return None


def _read(
    image: Any, index: int, path: Path, lock: threading.Lock, channels: tuple[int, ...], region: Region
) -> np.ndarray:
    """Pixels of some channels in a region, (C, h, w)."""
    try:
        with lock:  # the scene is a state of the image
            image.set_scene(index)
            lazy = image.get_image_dask_data("CYX")
            part = lazy[list(channels), region.top : region.bottom, region.left : region.right]
            pixels = np.asarray(part.compute(scheduler="synchronous"))
    except Exception as cause:
        raise FrameError(
            f"cannot be read through BioIO ({_named(cause)})",
            where=path,
            fix="the file is truncated or damaged: copy it again",
        ) from cause
    return pixels.astype(pixels.dtype.newbyteorder("="), copy=False)
