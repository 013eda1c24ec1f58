"""Read checkpoints of segmentation_models (Keras 2 .h5 files), identify their networks and load their weights."""
