"""The TGS salt identification challenge: data layout, recipe preset and submission file."""
