"""Prediction of masks with a trained network; a training framework is imported only when a Keras engine is opened."""
