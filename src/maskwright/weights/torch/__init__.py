"""Safe reading of PyTorch checkpoints, and the correspondence between their tensor names and layer names."""
