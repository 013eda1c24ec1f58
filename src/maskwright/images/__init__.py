"""Read and write images and masks; neither Keras nor a network is required."""
