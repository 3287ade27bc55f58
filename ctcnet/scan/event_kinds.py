"""Kinds of events, shared by detection, measurement and results."""

from __future__ import annotations

CELL, OBJECT, CLUSTER = 0, 1, 2
"""With a nucleus; without one; a group of touching cells."""

KIND_NAMES: tuple[str, ...] = ("cell", "object", "cluster")
"""Name of each kind, by its number."""
