"""Checks of the pixels of each crop: readable, finite, within full scale, not flat, not saturated, not twice."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import blake2b, sha256

import numpy as np

from ctcnet.crops.file_source import FileSource, mixed_dtypes, no_pixel_size
from ctcnet.crops.finding import Finding
from ctcnet.crops.image_file import check_finite, check_full_scale
from ctcnet.crops.labelled_crops import LabelledCrops
from ctcnet.crops.store import StoreSource
from ctcnet.errors import CtcnetError, ImageError, LabelError, ManifestError, PanelError, SplitError
from ctcnet.progress import track

SATURATED_FRACTION = 0.01
"""Share of a channel's pixels at full scale above which its intensities are no longer to be trusted."""


def check_pixels(crops: LabelledCrops) -> list[Finding]:
    """Look at every crop once.

    Returns:
        Findings with the codes unreadable_image, wrong_channels, nan_pixels, above_bit_depth, pixel_size_differs,
        missing_pixel_size, mixed_dtypes, constant_channel, saturated_channel, not_counts, duplicate_image,
        same_cell_in_two_groups, labels_differ, damaged_store.
    """
    findings: list[Finding] = []
    constant = np.zeros(len(crops.panel.channels), dtype=np.int64)
    first_of_content: dict[bytes, int] = {}
    largest_float, integers, readable = 0.0, False, 0
    first_dtype: np.dtype | None = None
    for row, where, pixels in track(_images(crops, findings), "checking crops", total=len(crops)):
        if pixels is None:
            continue
        readable += 1
        constant += _check_values(pixels, crops, where, findings)
        first_dtype = pixels.dtype if first_dtype is None else first_dtype
        if (pixels.dtype == np.float32) != (first_dtype == np.float32):
            findings.append(Finding("mixed_dtypes", mixed_dtypes(where, first_dtype, pixels.dtype), "warning"))
        if pixels.dtype == np.float32:
            largest_float = max(largest_float, float(np.nanmax(np.abs(pixels), initial=0)))
        else:
            integers = True
        content = blake2b(f"{pixels.shape}{pixels.dtype}".encode(), digest_size=16)
        content.update(np.ascontiguousarray(pixels).tobytes())
        first = first_of_content.setdefault(content.digest(), row)
        if first != row:
            findings.append(_duplicate(crops, first, row, where))
    if readable and not integers and largest_float <= 1:
        error = ImageError(
            "all images are float32 within 0 to 1", expected="camera counts", fix="undo the scaling, if there was one"
        )
        findings.append(Finding("not_counts", error, "warning"))
    for marker, count in zip(crops.panel.markers, constant, strict=True):
        if readable and count == readable:
            error = ImageError(f"channel '{marker}' is constant in every crop", fix="find the channel's images")
            findings.append(Finding("constant_channel", error))
    return findings


def _images(crops: LabelledCrops, findings: list[Finding]) -> Iterator[tuple[int, str, np.ndarray | None]]:
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
        yield row, str(source.file(row)), _read(source, row, findings)


def _read(source: FileSource, row: int, findings: list[Finding]) -> np.ndarray | None:
    try:
        image = source.image(row, check=False)
    except CtcnetError as error:
        findings.append(Finding("wrong_channels" if isinstance(error, PanelError) else "unreadable_image", error))
        return None
    try:
        if np.isnan(source.size_um(row, image)):
            findings.append(Finding("missing_pixel_size", no_pixel_size(source.file(row))))
    except ImageError as error:
        findings.append(Finding("pixel_size_differs", error))
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
