"""Numbers from elsewhere into a network: published files, legacy checkpoints, torch tensors. May import networks."""
