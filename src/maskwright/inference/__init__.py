"""A run to masks: the bundle, engines, tiles; imports no training framework until a Keras engine is opened."""
