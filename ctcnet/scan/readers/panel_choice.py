"""What the user, the files and the platform say of panel and pixel size, and who is believed."""

from __future__ import annotations

from pathlib import Path

from ctcnet.errors import CartridgeError
from ctcnet.panel import Panel, load_panel
from ctcnet.scan.cartridge import Note
from ctcnet.scan.platform import Platform

SMALLEST_PIXEL_UM, LARGEST_PIXEL_UM = 0.05, 5.0
"""Below it no microscope resolves anything, above it no cell can be told from another."""


def panel_or_default(panel: Panel | None, platform: Platform, where: Path) -> Panel:
    """The user's panel, else the platform's.

    Raises:
        CartridgeError: neither names one.
        PanelError, SettingError: the platform's panel cannot be loaded.
    """
    if panel is not None:
        return panel
    if platform.panel is None:
        raise CartridgeError(
            f"needs a panel: the platform '{platform.name}' has none of its own",
            where=where,
            fix="name the stain with --panel",
        )
    return load_panel(platform.panel)


def choose_pixel_size(
    user_um: float | None, file_um: float | None, platform_um: float | None, where: Path
) -> tuple[float, tuple[Note, ...]]:
    """Micrometres per pixel: the user's, else the file's, else the platform's; with a note where two of them differ.

    Raises:
        CartridgeError: nobody states one, or the one chosen is not between 0.05 and 5 um.
    """
    stated = file_um if file_um is not None else platform_um
    chosen = user_um if user_um is not None else stated
    if chosen is None:
        raise CartridgeError(
            "does not say how large its pixels are", where=where, fix="give micrometres per pixel: --pixel-size-um"
        )
    check_pixel_size(chosen, where)
    notes = []
    if user_um is not None and stated is not None and abs(user_um - stated) > 0.01 * stated:
        source = "the files" if file_um is not None else "the platform"
        message = f"the pixel size given, {user_um:g} um, is used; {source} state {stated:g} um"
        notes.append(Note("pixel_size_differs", message))
    if user_um is None and file_um is not None and platform_um and abs(file_um - platform_um) > 0.01 * platform_um:
        message = f"the pixel size of the files, {file_um:g} um, is used; usual for the platform is {platform_um:g} um"
        notes.append(Note("pixel_size_differs", message))
    return chosen, tuple(notes)


def check_pixel_size(pixel_size_um: float, where: Path) -> None:
    """Raise CartridgeError unless a pixel size can be one."""
    if not SMALLEST_PIXEL_UM < pixel_size_um < LARGEST_PIXEL_UM:
        raise CartridgeError(
            "has an impossible pixel size",
            where=where,
            expected=f"more than {SMALLEST_PIXEL_UM:g} and less than {LARGEST_PIXEL_UM:g} um",
            found=f"{pixel_size_um:g} um",
            fix="give micrometres per pixel: --pixel-size-um",
        )
