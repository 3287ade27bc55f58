"""The stretch of CellTracks pages: stored pixels back to camera counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tifffile

from ctcnet.errors import FrameError
from ctcnet.scan.cartridge import Note
from ctcnet.scan.readers.tiff_pages import opened_tiff

LOWER_TAG, UPPER_TAG = 755, 756
"""Private TIFF tags: lower and upper limit, in counts, that the stored range of a page stands for."""
FULL_SCALES = (255, 4095, 65535)
"""Largest stored values that the scanner's software stretches to."""
_OFFSET = 32768
"""Added by the scanner's software to what it stores as signed numbers; values above 32767 carry it."""

_ROWS = 128
"""Rows restored at once: what is reckoned of them stays in the processor's cache, which halves the time."""


@dataclass(frozen=True)
class StoredPage:
    """What was seen of one page in the sample.

    Attributes:
        smallest, largest: of the stored pixels.
        limits: of the stretch, in counts; None where the tags are absent.
    """

    smallest: int
    largest: int
    limits: tuple[int, int] | None


@dataclass(frozen=True)
class Stretch:
    """How the pages of a cartridge are stored.

    Attributes:
        full_scale: stored value that stands for the upper limit; None where the pages are not stretched.
        offset: what is taken off the stored pixels first: 0 or 32768.
    """

    full_scale: int | None
    offset: int

    def restore(self, stored: np.ndarray, limits: tuple[int, int] | None, out: np.ndarray, path: Path) -> None:
        """Write the counts of a page: lower + stored / full scale * (upper - lower), rounded; where pages are not
        stretched, the stored pixels.

        Args:
            stored: (H, W) uint8 or uint16; may be `out` itself.
            limits: the page's, see `stretch_limits`.
            out: (H, W), uint16 where pages are stretched, else of the dtype of `stored`.
            path: the page's file, for messages.

        Raises:
            FrameError: the page is not stored like those of the sample.
        """
        if self.offset and int(stored.min()) < self.offset:
            raise _unlike(path, f"stored values of {self.offset} and more", f"{int(stored.min())}")
        if self.full_scale is None:
            if limits is not None:
                raise _unlike(path, "no limits of a stretch", f"limits {limits[0]} and {limits[1]}")
            np.subtract(stored, self.offset, out=out)
            return
        if limits is None:
            raise _unlike(path, f"limits of the stretch in tags {LOWER_TAG} and {UPPER_TAG}", "none")
        largest = int(stored.max()) - self.offset
        if largest > self.full_scale:
            raise _unlike(path, f"stored values up to {self.full_scale}", f"{largest}")
        _unstretch(stored, self.offset, self.full_scale, limits, out)


def _unstretch(stored: np.ndarray, offset: int, full_scale: int, limits: tuple[int, int], out: np.ndarray) -> None:
    """Write the counts of stored pixels of at least `offset` and at most `full_scale` above it.

    In whole numbers: full scales are odd, so that no count lies midway between two whole ones, and half of the full
    scale, rounded down, makes of the division a rounding. Products stay below 2**32.
    """
    lower, upper = (np.uint32(limit) for limit in limits)
    room = np.empty((_ROWS, stored.shape[1]), dtype=np.uint32)
    for top in range(0, len(stored), _ROWS):
        rows = stored[top : top + _ROWS]
        counts = room[: len(rows)]
        np.subtract(rows, np.uint32(offset), out=counts, dtype=np.uint32)
        counts *= upper - lower
        counts += np.uint32(full_scale // 2)
        counts //= np.uint32(full_scale)
        np.add(counts, lower, out=out[top : top + _ROWS], casting="unsafe")


def _unlike(path: Path, expected: str, found: str) -> FrameError:
    return FrameError(
        "is not stored like the other frames of the cartridge",
        where=path,
        expected=expected,
        found=found,
        fix="the frame is left out; look whether it belongs to another scan",
    )


def stretch_limits(page: tifffile.TiffPage, path: Path) -> tuple[int, int] | None:
    """Limits of a page's stretch in counts, by the numbers of their tags; None where both are absent.

    Raises:
        FrameError: one is absent, or they are no limits.
    """
    tags = [page.tags.get(code) for code in (LOWER_TAG, UPPER_TAG)]
    if tags == [None, None]:
        return None
    limits = [_limit(None if tag is None else tag.value) for tag in tags]
    lower, upper = limits
    if lower is None or upper is None or upper < lower:
        raise FrameError(
            "has a page whose stretch cannot be undone",
            where=path,
            expected=f"a lower and an upper limit in tags {LOWER_TAG} and {UPPER_TAG}",
            found=f"{lower} and {upper}",
            fix="copy or export the frame again",
        )
    return lower, upper


def _limit(value: object) -> int | None:
    first = value[0] if isinstance(value, tuple) and len(value) == 1 else value
    if not isinstance(first, int | float) or not 0 <= first <= 65535 or first != int(first):
        return None
    return int(first) - (_OFFSET if first >= _OFFSET else 0)


def sample_page(path: Path, page_index: int) -> StoredPage:
    """Look at one page of a file, which has it, in full.

    Raises:
        FrameError: the file cannot be read.
    """
    with opened_tiff(path) as pages:
        pixels = pages[page_index].asarray(maxworkers=1)
        return StoredPage(int(pixels.min()), int(pixels.max()), stretch_limits(pages[page_index], path))


def judge_stretch(sample: Sequence[StoredPage], bits: int) -> tuple[Stretch, list[Note]]:
    """Decide how a cartridge's pages are stored, and say how that was decided.

    The full scale is certain only where a page's brightest pixel equals it: the scanner stretches each page to it.
    Otherwise the least full scale that none exceeds is taken, and flagged.

    Args:
        sample: pages spread over the frames; at least one.
        bits: 8 or 16 bits stored for each pixel.
    """
    offset = _OFFSET if bits == 16 and all(page.smallest >= _OFFSET for page in sample) else 0
    if all(page.limits is None for page in sample):
        message = (
            f"none of {len(sample)} pages looked at has the limits of its stretch (tags {LOWER_TAG}, {UPPER_TAG}); the "
            "stored values are taken as counts, so that brightness may differ from page to page"
        )
        return Stretch(None, offset), [Note("no_stretch_limits", message)]
    largest = max(page.largest for page in sample) - offset
    full_scale = min(scale for scale in FULL_SCALES if scale >= largest and (bits == 16 or scale == 255))
    reached = sum(page.largest - offset == full_scale for page in sample)
    if reached:
        return Stretch(full_scale, offset), []
    message = (
        f"the full scale of the stored pixels is uncertain: {full_scale} is taken as the least of "
        f"{', '.join(map(str, FULL_SCALES))} that none of {len(sample)} pages looked at exceeds (largest value "
        f"{largest}), but none reaches it; all intensities may be wrong by one factor"
    )
    return Stretch(full_scale, offset), [Note("uncertain_scale", message)]
