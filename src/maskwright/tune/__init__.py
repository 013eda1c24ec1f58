"""Tuning on held-out images: test-time augmentation, threshold, hole filling and minimum component sizes."""
