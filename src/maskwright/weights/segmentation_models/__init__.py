"""Checkpoints of segmentation_models (Keras 2 .h5 files): reading, identification and transfer of weights."""
