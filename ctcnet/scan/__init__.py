"""Scanning of cartridges and slides: frames in, counted events out."""
