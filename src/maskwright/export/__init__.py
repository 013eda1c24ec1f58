"""Export runs to inference engines."""
