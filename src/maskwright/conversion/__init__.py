"""Conversion of whole checkpoints of other libraries, and of runs to other libraries."""
