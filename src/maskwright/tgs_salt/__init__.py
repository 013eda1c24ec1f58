"""Data layout, recipe preset and submission file for the TGS salt identification challenge."""
