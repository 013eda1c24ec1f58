"""Graph rewriting: the same function computed by a cheaper graph, for training and for export."""
