"""Measurement of events: pixels to numbers in each frame, numbers to calls in each cartridge."""
