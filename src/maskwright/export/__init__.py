"""Conversion of runs to inference engines."""
