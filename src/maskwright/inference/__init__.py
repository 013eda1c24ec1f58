"""Prediction of masks with a trained network; imports no training framework until a Keras engine is opened."""
