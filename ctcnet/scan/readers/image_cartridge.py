"""One cartridge of images that state their channels themselves: a large one cut into frames, or one for each frame."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ctcnet.errors import CartridgeError, CtcnetError, FrameError
from ctcnet.panel import Panel
from ctcnet.scan.cartridge import Cartridge, Frame, Note
from ctcnet.scan.platform import Platform
from ctcnet.scan.readers.channel_matching import match_file_channels
from ctcnet.scan.readers.frame_grid import check_grid_size
from ctcnet.scan.readers.image_facts import settle_bit_depth, settle_panel
from ctcnet.scan.readers.lazy_image import LazyImage, Region
from ctcnet.scan.readers.panel_choice import choose_pixel_size
from ctcnet.scan.readers.stage_positions import (
    TOUCHING_PX,
    AxisPlaces,
    check_places_unique,
    empty_places,
    place_along_axis,
)
from ctcnet.scan.readers.virtual_frames import cut_image

LARGEST_CAMERA_PX = 6000
"""Images longer than this are no camera frames; several of them are several slides."""


_LARGEST_STAGE_UM = 1e6


@dataclass(frozen=True)
class ImageSet:
    """Images of one cartridge, with what was seen on the way.

    Attributes:
        images: at least one.
        notes: what a user must know.
        metadata: for the record.
        files: files that the images are in, of sets of files.
    """

    images: tuple[LazyImage, ...]
    notes: tuple[Note, ...] = ()
    metadata: dict[str, object] | None = None
    files: tuple[Path, ...] = ()


@dataclass(frozen=True)
class _Facts:
    """What holds for every frame: see `Cartridge`."""

    file_index: tuple[int, ...]
    panel: Panel
    pixel_size_um: float
    notes: tuple[Note, ...]


def cartridge_of_images(
    found: ImageSet,
    *,
    name: str,
    path: Path,
    layout: str,
    platform: Platform,
    panel: Panel | None,
    pixel_size_um: float | None,
) -> Cartridge:
    """Make a cartridge of images that are opened.

    A single image larger than 2048 px is cut into equal frames that touch. Several images are frames; they are placed
    by their positions, x taken to run to the right and y downwards, as in the images themselves. An image whose size,
    channels or dtype are not those of most cannot be read, and the others can.

    Args:
        found: the images.
        name, path, layout: of the cartridge.
        platform, panel, pixel_size_um: as in `open_cartridge`.

    Raises:
        CartridgeError: the channels have no names or are not those of the panel, the pixel size is not known, pixels
            are no counts, or images have no positions or lie on no grid.
    """
    typical = _typical_image(found.images)
    facts = _settle(typical, path, platform, panel, pixel_size_um)
    metadata: dict[str, object] = {"images": len(found.images), "file_channels": list(typical.channel_names)}
    metadata |= found.metadata or {}
    common = Cartridge(
        name=name,
        path=path,
        layout=layout,
        platform=platform.name,
        panel=facts.panel,
        pixel_size_um=facts.pixel_size_um,
        frame_height_px=typical.height_px,
        frame_width_px=typical.width_px,
        frames=(),
        missing=(),
        read_pixels=lambda index: np.empty(0),
        rim_px=round(platform.rim_um / facts.pixel_size_um),
        notes=(*found.notes, *facts.notes),
        metadata=metadata,
        files=found.files,
    )
    if len(found.images) == 1:
        return _cut(found.images[0], facts, common)
    return _placed(found.images, typical, facts, common)


def nothing_opened(faults: Sequence[CtcnetError]) -> CartridgeError:
    """The error of a cartridge none of whose files can be opened: that of the first one."""
    first = faults[0]
    others = f" (and {len(faults) - 1} other files cannot be opened)" if len(faults) > 1 else ""
    return CartridgeError(
        first.what + others, where=first.where, expected=first.expected, found=first.found, fix=first.fix
    )


def unreadable_notes(faults: Sequence[CtcnetError]) -> list[Note]:
    """A note for each file of a cartridge that cannot be opened, so that it is not known which place it shows."""
    effect = (
        "its area counts as missing only where it leaves a hole between other frames, else it is left out and could "
        "not be counted"
    )
    return [
        Note("unreadable_file", f"{Path(str(error.where)).name} cannot be opened and its place is not known: {effect}")
        for error in faults
    ]


def _typical_image(images: Sequence[LazyImage]) -> LazyImage:
    """First of the images of the commonest size, channels and dtype."""
    kinds = Counter(_kind(image) for image in images if not image.absent)
    if not kinds:
        raise CartridgeError("none of its images is there", where=images[0].where, fix="copy the whole cartridge again")
    commonest = max(kinds.values())
    kind = next(kind for kind in kinds if kinds[kind] == commonest)
    return next(image for image in images if not image.absent and _kind(image) == kind)


def _kind(image: LazyImage) -> tuple[object, ...]:
    names = tuple(name.casefold() for name in image.channel_names)
    return image.height_px, image.width_px, str(image.dtype), names


def _settle(
    image: LazyImage, path: Path, platform: Platform, panel: Panel | None, pixel_size_um: float | None
) -> _Facts:
    if not image.channel_names:
        raise CartridgeError(
            "does not name its channels",
            where=image.where,
            expected="a name for each channel, such as DAPI, CK, CD45",
            fix="write the names into the file's metadata, or save one file per channel and use --layout folder "
            "with a --pattern that holds {channel}",
        )
    wanted = settle_panel(panel, platform, image.channel_names, path)
    size_um, size_notes = choose_pixel_size(pixel_size_um, image.pixel_size_um, platform.pixel_size_um, path)
    bits, bit_notes = settle_bit_depth(image.dtype, image.significant_bits, wanted, image.where)
    match = match_file_channels(image.channel_names, wanted, platform, path)
    kept = replace(match.panel, bit_depth=bits, pixel_size_um=size_um)
    return _Facts(match.file_index, kept, size_um, (*size_notes, *bit_notes, *match.notes))


def _cut(image: LazyImage, facts: _Facts, common: Cartridge) -> Cartridge:
    grid = cut_image(image.height_px, image.width_px)
    places = [(row, column) for row in range(grid.rows) for column in range(grid.columns)]
    size = facts.pixel_size_um
    frames = tuple(
        Frame(number, row, column, column * grid.width_px * size, row * grid.height_px * size)
        for number, (row, column) in enumerate(places, start=image.number if len(places) == 1 else 1)
    )
    notes, metadata = list(common.notes), dict(common.metadata)
    if len(places) > 1:
        metadata["virtual_frames"] = {"rows": grid.rows, "columns": grid.columns, "padding_px": list(grid.padding_px)}
        below, right = grid.padding_px
        if below or right:
            message = f"the last frames reach {right} columns and {below} rows beyond the image; its border is repeated"
            notes.append(Note("padded_border", message))

    def read(index: int) -> np.ndarray:
        return grid.pad(_checked(image, grid.region(*places[index]), facts))

    return replace(
        common,
        frame_height_px=grid.height_px,
        frame_width_px=grid.width_px,
        frames=frames,
        read_pixels=read,
        notes=tuple(notes),
        metadata=metadata,
    )


def _placed(images: Sequence[LazyImage], typical: LazyImage, facts: _Facts, common: Cartridge) -> Cartridge:
    _check_frames(images, typical, common.path)
    along_x, along_y = _grid(images, typical, facts.pixel_size_um, common.path)
    rows, columns = along_y.index.tolist(), along_x.index.tolist()
    check_places_unique(rows, columns, [image.name for image in images], common.path)
    check_grid_size((1 + max(rows)) * (1 + max(columns)), common.path)
    size = facts.pixel_size_um
    order = sorted(range(len(images)), key=lambda place: (rows[place], columns[place]))
    placed = [
        Frame(
            images[place].number,
            rows[place],
            columns[place],
            float(along_x.offset_px[place]) * size,
            float(along_y.offset_px[place]) * size,
        )
        for place in order
    ]
    there = [images[place] for place in order if not images[place].absent]
    frames = tuple(frame for frame, place in zip(placed, order, strict=True) if not images[place].absent)
    absent = [frame for frame, place in zip(placed, order, strict=True) if images[place].absent]
    empty = empty_places(rows, columns, (1 + along_y.apart, 1 + along_x.apart))
    number = max(image.number for image in images)
    unknown = [
        Frame(number + extra, row, column, column * along_x.step_px * size, row * along_y.step_px * size)
        for extra, (row, column) in enumerate(empty, start=1)
    ]
    return replace(
        common,
        frames=frames,
        missing=tuple(sorted([*absent, *unknown], key=lambda frame: (frame.row, frame.column))),
        read_pixels=_frame_reader(there, typical, facts.panel, facts.file_index),
        overlap_x_px=along_x.overlap_px,
        overlap_y_px=along_y.overlap_px,
        notes=(*common.notes, *_grid_notes(along_x, along_y, absent, unknown)),
    )


def _frame_reader(
    images: Sequence[LazyImage], typical: LazyImage, panel: Panel, file_index: tuple[int, ...]
) -> Callable[[int], np.ndarray]:
    """Function that reads the whole of an image by its index, for `Cartridge.read_pixels`."""
    whole = Region(0, typical.height_px, 0, typical.width_px)
    facts = _Facts(file_index, panel, panel.pixel_size_um or 0.0, ())

    def read(index: int) -> np.ndarray:
        image = images[index]
        if _kind(image) != _kind(typical):
            raise FrameError(
                "is another image than the others of its cartridge",
                where=image.where,
                expected=_described(typical),
                found=_described(image),
                fix="scan or export this frame again",
            )
        return _checked(image, whole, facts)

    return read


def _described(image: LazyImage) -> str:
    channels = ", ".join(image.channel_names) or "without names"
    return f"{image.width_px} x {image.height_px} px, {image.dtype}, channels {channels}"


def _checked(image: LazyImage, region: Region, facts: _Facts) -> np.ndarray:
    """Pixels of a region, in the panel's order, once they are within the bit depth."""
    pixels = image.read_region(facts.file_index, region)
    if pixels.shape != (len(facts.file_index), *region.shape) or pixels.dtype != image.dtype:
        raise FrameError(
            "has other pixels than its metadata say",
            where=image.where,
            expected=f"{(len(facts.file_index), *region.shape)} {image.dtype}",
            found=f"{pixels.shape} {pixels.dtype}",
        )
    full = facts.panel.full_scale
    if full < np.iinfo(pixels.dtype).max and pixels.max() > full:
        raise FrameError(
            "has values above the camera's bit depth",
            where=image.where,
            expected=f"at most {full} counts ({facts.panel.bit_depth} bits)",
            found=str(pixels.max()),
            fix="give a panel with the right bit_depth, or mend the file's SignificantBits",
        )
    return pixels


def _check_frames(images: Sequence[LazyImage], typical: LazyImage, path: Path) -> None:
    if max(typical.height_px, typical.width_px) > LARGEST_CAMERA_PX:
        raise CartridgeError(
            f"holds {len(images)} images that are too large for frames of one cartridge",
            where=path,
            expected=f"one large image, or frames of at most {LARGEST_CAMERA_PX} px",
            found=", ".join(f"{image.name} ({image.width_px} x {image.height_px} px)" for image in images[:6]),
            fix="give each image as a cartridge of its own",
        )
    without = [image.name for image in images if image.position_um is None or not _on_a_slide(image.position_um)]
    if without:
        raise CartridgeError(
            f"{len(without)} of its {len(images)} images do not state where they lie",
            where=path,
            expected="a position with a unit of length for each image",
            found=f"none for {', '.join(without[:6])}{' ...' if len(without) > 6 else ''}",
            fix="write the stage positions into the metadata, or save one file per frame and use --layout folder with "
            "a --pattern that holds {row} and {column}",
        )


def _on_a_slide(position_um: tuple[float, float]) -> bool:
    """Whether a position is one of a microscope's stage: not NaN, nor beyond a metre."""
    return all(abs(part) <= _LARGEST_STAGE_UM for part in position_um)


def _grid(
    images: Sequence[LazyImage], typical: LazyImage, pixel_size_um: float, path: Path
) -> tuple[AxisPlaces, AxisPlaces]:
    positions = np.array([image.position_um for image in images], dtype=np.float64) / pixel_size_um
    along_x = place_along_axis(positions[:, 0], typical.width_px, path, "x")
    return along_x, place_along_axis(positions[:, 1], typical.height_px, path, "y")


def _grid_notes(
    along_x: AxisPlaces, along_y: AxisPlaces, absent: Sequence[Frame], unknown: Sequence[Frame]
) -> list[Note]:
    notes = [
        Note("missing_frames", "its file is named by the other files and is not there", frame.number)
        for frame in absent
    ]
    if unknown:
        places = ", ".join(f"row {frame.row} column {frame.column}" for frame in unknown[:6])
        message = f"{len(unknown)} places of the grid hold no frame: {places}{' ...' if len(unknown) > 6 else ''}"
        notes.append(Note("missing_frames", message))
    if along_x.apart or along_y.apart:
        notes.append(Note("frames_apart", "the frames do not touch; cells at their borders cannot be seen whole"))
    jitter = max(along_x.jitter_px, along_y.jitter_px)
    if jitter > TOUCHING_PX:
        message = f"frames lie up to {jitter:.1f} px beside the grid; cells at borders may be missed or seen twice"
        notes.append(Note("irregular_positions", message))
    return notes
