"""Checkpoints of segmentation_models_pytorch, read and written."""
