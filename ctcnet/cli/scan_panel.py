"""The panel that a shipped model is specialised to where a scan names none: that of the cartridges' platforms."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ctcnet.errors import CartridgeError, CtcnetError, ModelPanelError
from ctcnet.panel import Panel
from ctcnet.scan.platform import Platform, load_platform
from ctcnet.scan.readers.opening import recognised_layout
from ctcnet.scan.readers.panel_choice import panel_or_default


def panel_of_cartridges(paths: Sequence[Path], platform: Platform | None, layout: str | None) -> Panel:
    """Panel of the cartridges of one run: their platform's.

    Cartridges whose layout is not known are passed over: the scan will say what is wrong with each.

    Args:
        paths: the cartridges.
        platform: the platform asked for; None where each layout has its own.
        layout: the layout asked for; None where it is recognised.

    Raises:
        CartridgeError: no cartridge's layout is known, or a platform has no panel of its own.
        ModelPanelError: the cartridges have different channels.
    """
    if platform is not None:
        return panel_or_default(None, platform, paths[0])
    if layout is not None:
        return panel_or_default(None, load_platform(layout), paths[0])
    panels = {}
    errors: list[CtcnetError] = []
    for path in paths:
        try:
            panels[path] = panel_or_default(None, load_platform(_layout(path)), path)
        except CtcnetError as error:
            errors.append(error)
    if not panels:
        raise errors[0]
    _check_same(panels)
    return next(iter(panels.values()))


def _layout(path: Path) -> str:
    try:
        return recognised_layout(path)
    except OSError as cause:
        raise CartridgeError(
            f"cannot be looked at ({cause.strerror})", where=path, fix="check the path, and that its disk is connected"
        ) from cause


def _check_same(panels: dict[Path, Panel]) -> None:
    """Refuse cartridges whose channels are not the same for a network."""
    first, *others = panels
    wanted = _channels(panels[first])
    for other in others:
        if _channels(panels[other]) != wanted:
            raise ModelPanelError(
                "cartridges of one run must have the same channels for a shipped model",
                where=other,
                expected=f"{_named(panels[first])}, as {first}",
                found=_named(panels[other]),
                fix="scan them apart, or name the panel that was stained with --panel",
            )


def _channels(panel: Panel) -> set[tuple[str, str]]:
    return {(channel.marker.casefold(), channel.role) for channel in panel.network_panel().channels}


def _named(panel: Panel) -> str:
    return ", ".join(f"{channel.marker} ({channel.role})" for channel in panel.network_panel().channels)
