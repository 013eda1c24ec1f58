"""Predict images larger than memory, block by block; an interrupted job resumes."""
