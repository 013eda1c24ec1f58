"""Torch checkpoints: safe reading, and the correspondence of tensor and layer names."""
