"""Data layout, recipe preset and submission file of the TGS salt identification challenge."""
