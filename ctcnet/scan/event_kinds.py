"""Kinds of events, shared by detection, measurement and results."""

from __future__ import annotations

CELL, OBJECT, CLUSTER = 0, 1, 2
"""With a nucleus; without one; a group of touching cells. Their names are `KIND_NAMES` of the frame graph's runtime."""
