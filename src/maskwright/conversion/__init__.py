"""Conversion of whole checkpoints from other libraries, and of runs to other libraries."""
