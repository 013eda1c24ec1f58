"""Export of runs to inference engines."""
