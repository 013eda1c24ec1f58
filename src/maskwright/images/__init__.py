"""Reading and writing of images and masks, which requires neither Keras nor a network."""
