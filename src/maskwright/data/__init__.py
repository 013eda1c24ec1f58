"""Read image and mask pairs, check and split them, and sample batches of training patches."""
