"""Predict masks for images larger than memory, block by block; an interrupted job can be resumed."""
