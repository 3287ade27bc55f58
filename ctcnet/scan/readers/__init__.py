"""Readers of scanned cartridges, one file for each layout."""
