"""Reading and writing of checkpoints of segmentation_models_pytorch."""
