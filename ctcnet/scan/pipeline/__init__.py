"""The scan itself: territories and canvases, units of work and their journal, cartridge by cartridge."""
