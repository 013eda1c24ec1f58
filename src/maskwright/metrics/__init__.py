"""How good masks are: counts in NumPy for whole data sets, Keras objects for training."""
