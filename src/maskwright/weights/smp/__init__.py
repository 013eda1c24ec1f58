"""Read and write checkpoints of segmentation_models_pytorch."""
