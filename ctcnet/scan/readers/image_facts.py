"""Panel and bit depth of images that state their channels: who is believed, and what is said where two disagree."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ctcnet.errors import CartridgeError
from ctcnet.panel import BIT_DEPTHS, Panel, load_panel
from ctcnet.scan.cartridge import Note
from ctcnet.scan.platform import Platform


def settle_panel(panel: Panel | None, platform: Platform, file_channels: Sequence[str], where: Path) -> Panel:
    """The user's panel, else the platform's.

    Raises:
        CartridgeError: neither names one; lists the channels of the files.
    """
    if panel is not None:
        return panel
    if platform.panel is not None:
        return load_panel(platform.panel)
    raise CartridgeError(
        "does not say which role each channel plays",
        where=where,
        expected="a panel that names these channels",
        found=", ".join(file_channels) or "channels without names",
        fix="give the panel of the stain with --panel",
    )


def settle_bit_depth(
    dtype: np.dtype, significant_bits: int | None, panel: Panel, where: Path
) -> tuple[int, tuple[Note, ...]]:
    """Bits of the counts: 8 for uint8; for uint16 what the file states, else what the panel does.

    Returns:
        one of `BIT_DEPTHS`, and a note where the file overrules the panel.

    Raises:
        CartridgeError: the pixels are neither uint8 nor uint16, or nobody says how many bits of 16 are used.
    """
    if dtype not in (np.uint8, np.uint16):
        raise CartridgeError(
            "has pixels that are no camera counts",
            where=where,
            expected="uint8 or uint16",
            found=str(dtype),
            fix="export the image with the camera's own counts, neither rescaled nor as floating point",
        )
    if dtype == np.uint8:
        bits = 8
    elif significant_bits is not None and 1 <= significant_bits <= 16:
        bits = min(depth for depth in BIT_DEPTHS if depth >= significant_bits)
    elif panel.bit_depth == 8:
        raise CartridgeError(
            f"has 16-bit pixels, and the panel '{panel.name}' says 8 bits",
            where=where,
            fix="give a panel with the camera's bit depth (10, 12, 14 or 16)",
        )
    else:
        bits = panel.bit_depth
    if bits == panel.bit_depth:
        return bits, ()
    message = f"the files hold {bits}-bit counts, the panel '{panel.name}' says {panel.bit_depth}; the files are taken"
    return bits, (Note("bit_depth_differs", message),)
