"""Read PyTorch checkpoints without running code, and map the names of their tensors to layer names."""
