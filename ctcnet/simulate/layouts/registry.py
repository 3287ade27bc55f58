"""The layouts that can be simulated, by name."""

from __future__ import annotations

from ctcnet.errors import SettingError
from ctcnet.simulate.layouts import axioscan, bzscanner, celltracks, ome_tiff, ome_zarr
from ctcnet.simulate.layouts.layout import Layout

LAYOUTS: dict[str, Layout] = {
    module.LAYOUT.name: module.LAYOUT for module in (celltracks, bzscanner, axioscan, ome_tiff, ome_zarr)
}


def find_layout(name: str) -> Layout:
    """The layout of a name.

    Raises:
        SettingError: there is none; lists those that there are.
    """
    if name not in LAYOUTS:
        raise SettingError("is unknown", where="layout", expected=", ".join(LAYOUTS), found=name)
    return LAYOUTS[name]
