"""Training of a network: recipe, plan, training loop, checkpoints and the files of a run."""
