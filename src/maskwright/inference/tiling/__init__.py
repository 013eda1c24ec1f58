"""Tiling of images that are too large for a single call: layout, windows and the receptive margin."""
