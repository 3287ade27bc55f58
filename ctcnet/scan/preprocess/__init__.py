"""Frames made ready and judged: registration, spectral spillover, levels, quality."""
