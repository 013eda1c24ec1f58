"""One tiling rule for every image that does not fit a single call: layout, windows and the receptive margin."""
