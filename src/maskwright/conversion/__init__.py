"""Convert checkpoints of other libraries for use in this package, and runs for use in other libraries."""
