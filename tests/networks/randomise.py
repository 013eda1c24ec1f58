"""Random weights for tests: initial statistics (mean 0, variance 1, no bias) would hide many errors."""

import keras
import numpy as np


def randomise(network: keras.Model, *, seed: int = 0) -> keras.Model:
    """Give every weight of ``network`` seeded values, batch statistics included; the same on every backend."""
    rng = np.random.default_rng(seed)
    for weight in network.weights:
        shape = tuple(weight.shape)
        if weight.name in ("gamma", "moving_variance"):
            weight.assign(rng.uniform(0.5, 1.5, shape))
        elif weight.name in ("beta", "moving_mean", "bias"):
            weight.assign(rng.normal(0, 0.2, shape))
        else:
            weight.assign(rng.normal(0, 1 / np.sqrt(np.prod(shape[:-1])), shape))
    return network


def answer(network: keras.Model, images: np.ndarray) -> np.ndarray:
    """What ``network`` says of ``images`` when it predicts."""
    return np.asarray(keras.ops.convert_to_numpy(network(images, training=False)))


def difference(one: np.ndarray, other: np.ndarray) -> float:
    """The largest difference between two answers, in units of their spread."""
    if one.shape != other.shape:
        raise ValueError(f"answers of shapes {one.shape} and {other.shape}")
    return float(np.abs(one - other).max() / one.std())
