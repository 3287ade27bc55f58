"""Micrometres per unit of length, by the names that image files use."""

from __future__ import annotations

UM_PER_UNIT: dict[str, float] = {
    "m": 1e6,
    "meter": 1e6,
    "metre": 1e6,
    "cm": 1e4,
    "centimeter": 1e4,
    "mm": 1e3,
    "millimeter": 1e3,
    "µm": 1.0,
    "μm": 1.0,
    "um": 1.0,
    "micrometer": 1.0,
    "micrometre": 1.0,
    "micron": 1.0,
    "nm": 1e-3,
    "nanometer": 1e-3,
    "Å": 1e-4,
    "angstrom": 1e-4,
    "pm": 1e-6,
    "picometer": 1e-6,
    "inch": 25_400.0,
    "in": 25_400.0,
}
"""Symbols of the OME schema 2016-06 and names of UDUNITS-2, which OME-Zarr 0.4 and 0.5 ask for; both letters for
micro (U+00B5 and U+03BC) occur in files."""
