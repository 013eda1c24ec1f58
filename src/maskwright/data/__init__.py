"""Pairs of files to batches: pairing, checks, splits, augmentation."""
