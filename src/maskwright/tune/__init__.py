"""Tune test-time augmentation, threshold, hole filling and minimum component sizes on held-out images."""
