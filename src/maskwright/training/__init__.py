"""Batches to a run: recipe, loop, checkpoints."""
