"""Graph rewriting, which makes functional networks cheaper to train or run without changing their outputs."""
