"""Reading, checking and splitting of image and mask pairs, and sampling of batches of training patches."""
