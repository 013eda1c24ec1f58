"""Read, check and split pairs of images and masks, and sample batches of training patches."""
