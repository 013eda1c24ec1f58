"""Read and write images and masks. Needs neither Keras nor a network."""
