"""Graph rewriting: functional networks with fewer or cheaper layers and the same outputs, for training and export."""
