"""Checks of the pixels of each crop: readable, finite, within full scale, not flat, not saturated, not twice."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from hashlib import blake2b, sha256

import numpy as np

from ctcnet.crops.file_source import FileSource, mixed_dtypes, no_pixel_size, refuse_frame
from ctcnet.crops.finding import Finding
from ctcnet.crops.image_file import check_finite, check_full_scale
from ctcnet.crops.labelled_crops import LabelledCrops
from ctcnet.crops.store import StoreSource
from ctcnet.errors import CtcnetError, ImageError, LabelError, ManifestError, PanelError, SplitError
from ctcnet.panel import Panel
from ctcnet.progress import track

SATURATED_FRACTION = 0.01
"""Share of a channel's pixels at full scale above which its intensities are no longer to be trusted."""


def check_pixels(crops: LabelledCrops, pixel_size_um: float | None, crop_size_px: int) -> list[Finding]:
    """Look at every crop once.

    Args:
        crops: from files or a store.
        pixel_size_um, crop_size_px: scale and side of what a model sees of a crop; None takes each image's own scale.

    Returns:
        Findings with the codes unreadable_image, wrong_channels, nan_pixels, above_bit_depth, pixel_size_differs,
        missing_pixel_size, frame, mixed_dtypes, constant_channel, saturated_channel, not_counts, eight_bit_images,
        duplicate_image, same_cell_in_two_groups, labels_differ, damaged_store.
    """
    findings: list[Finding] = []
    constant = np.zeros(len(crops.panel.channels), dtype=np.int64)
    first_of_content: dict[bytes, int] = {}
    largest_float, readable = 0.0, 0
    dtypes: list[np.dtype] = []
    images = _images(crops, pixel_size_um, crop_size_px, findings)
    for row, where, pixels in track(images, "checking crops", total=len(crops)):
        if pixels is None:
            continue
        readable += 1
        constant += _check_values(pixels, crops, where, findings)
        if pixels.dtype not in dtypes:
            dtypes.append(pixels.dtype)
        if (pixels.dtype == np.float32) != (dtypes[0] == np.float32):
            findings.append(Finding("mixed_dtypes", mixed_dtypes(where, dtypes[0], pixels.dtype), "warning"))
        if pixels.dtype == np.float32:
            largest_float = max(largest_float, float(np.nanmax(np.abs(pixels), initial=0)))
        content = blake2b(f"{pixels.shape}{pixels.dtype}".encode(), digest_size=16)
        content.update(np.ascontiguousarray(pixels).tobytes())
        first = first_of_content.setdefault(content.digest(), row)
        if first != row:
            findings.append(_duplicate(crops, first, row, where))
    findings += _check_kind(dtypes, largest_float, crops.panel)
    for marker, count in zip(crops.panel.markers, constant, strict=True):
        if readable and count == readable:
            error = ImageError(f"channel '{marker}' is constant in every crop", fix="find the channel's images")
            findings.append(Finding("constant_channel", error))
    return findings


def _check_kind(dtypes: Sequence[np.dtype], largest_float: float, panel: Panel) -> list[Finding]:
    """Doubts that all images together raise: whether they hold the camera's counts.

    Args:
        dtypes: those found among the images, each once.
        largest_float: largest value of the float images, whatever its sign.
        panel: states the camera's bit depth.
    """
    if dtypes == [np.float32] and largest_float <= 1:
        error = ImageError(
            "all images are float32 within 0 to 1", expected="camera counts", fix="undo the scaling, if there was one"
        )
        return [Finding("not_counts", error, "warning")]
    if dtypes == [np.uint8] and panel.bit_depth > 8:
        error = ImageError(
            f"all images are of 8 bits, the panel '{panel.name}' of {panel.bit_depth}",
            expected="camera counts, as other images of the panel hold them",
            fix="export the images again without conversion to 8 bits, or give a panel with their bit depth",
        )
        return [Finding("eight_bit_images", error, "warning")]
    return []


def _images(
    crops: LabelledCrops, pixel_size_um: float | None, crop_size_px: int, findings: list[Finding]
) -> Iterator[tuple[int, str, np.ndarray | None]]:
    """Row, place and pixels (C, H, W) of each crop, None where they cannot be read."""
    source = crops.source
    if isinstance(source, StoreSource):
        total = sha256()
        for row in range(len(crops)):
            stored = source.pixels[crops.source_rows[row]]
            total.update(np.ascontiguousarray(stored).tobytes())
            yield row, f"{source.folder}, row {row + 1}", stored if source.channels is None else stored[source.channels]
        if total.hexdigest() != source.header.pixels_sha256:
            error = ManifestError(
                "its pixels are not those that were packed", where=source.folder, fix="pack the images again"
            )
            findings.append(Finding("damaged_store", error))
        return
    assert isinstance(source, FileSource)
    for row in range(len(crops)):
        yield row, str(source.file(row)), _read(source, row, pixel_size_um, crop_size_px, findings)


def _read(
    source: FileSource, row: int, pixel_size_um: float | None, crop_size_px: int, findings: list[Finding]
) -> np.ndarray | None:
    try:
        image = source.image(row, check=False)
    except CtcnetError as error:
        findings.append(Finding("wrong_channels" if isinstance(error, PanelError) else "unreadable_image", error))
        return None
    try:
        size_um = source.size_um(row, image)
    except ImageError as error:
        findings.append(Finding("pixel_size_differs", error))
        return image.pixels
    if np.isnan(size_um):
        findings.append(Finding("missing_pixel_size", no_pixel_size(source.file(row))))
        return image.pixels
    field_um = crop_size_px * (size_um if pixel_size_um is None else pixel_size_um)
    try:
        refuse_frame(image.pixels.shape, size_um, field_um, source.file(row))
    except ImageError as error:
        fix = f"{error.fix}, or say what the model sees: --model-pixel-size-um, --crop-size-px"
        again = ImageError(error.what, where=error.where, expected=error.expected, found=error.found, fix=fix)
        findings.append(Finding("frame", again))
    return image.pixels


def _check_values(pixels: np.ndarray, crops: LabelledCrops, where: str, findings: list[Finding]) -> np.ndarray:
    """Add findings on the values of one crop; bool (C,), which channels are constant."""
    for code, check in (("nan_pixels", check_finite), ("above_bit_depth", check_full_scale)):
        try:
            check(pixels, crops.panel, where)
        except ImageError as error:
            findings.append(Finding(code, error))
    flat = pixels.reshape(len(pixels), -1)
    constant = flat.min(axis=1) == flat.max(axis=1)
    saturated = (flat >= crops.panel.full_scale).mean(axis=1)
    for marker, is_constant, share in zip(crops.panel.markers, constant, saturated, strict=True):
        if is_constant:
            error = ImageError(f"channel '{marker}' is constant", where=where, fix="see whether it was imaged")
            findings.append(Finding("constant_channel", error, "warning"))
        if share > SATURATED_FRACTION:
            error = ImageError(
                f"channel '{marker}' is saturated",
                where=where,
                expected=f"at most {SATURATED_FRACTION:.0%} of the pixels at {crops.panel.full_scale} counts",
                found=f"{share:.1%}",
                fix="expose for a shorter time, or leave the crop out",
            )
            findings.append(Finding("saturated_channel", error, "warning"))
    return constant


def _duplicate(crops: LabelledCrops, first: int, row: int, where: str) -> Finding:
    """The finding for a crop whose pixels are those of an earlier one."""
    other, fix = f"the same pixels as {crops.path[first]}", "keep one of the two"
    if crops.group[first] != crops.group[row]:
        groups = f"groups '{crops.group[first]}' and '{crops.group[row]}'"
        error = SplitError("is the same cell as one of another group", where=where, found=f"{other}; {groups}", fix=fix)
        return Finding("same_cell_in_two_groups", error)
    if crops.targets is not None and not np.array_equal(crops.targets[first], crops.targets[row]):
        error = LabelError("is the same cell as one with another label", where=where, found=other, fix=fix)
        return Finding("labels_differ", error)
    return Finding("duplicate_image", ImageError("stands twice", where=where, found=other, fix=fix), "warning")
