"""Random weights for tests: initial statistics (mean 0, variance 1, no bias) would hide many errors."""

import keras
import numpy as np


def randomise(network: keras.Model, *, seed: int = 0) -> keras.Model:
    """Set every weight of ``network``, including statistics, to seeded values that are equal on every backend."""
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


def infer(network: keras.Model, images: np.ndarray) -> np.ndarray:
    """Return the output of ``network`` in inference mode."""
    return np.asarray(keras.ops.convert_to_numpy(network(images, training=False)))


def difference(first: np.ndarray, second: np.ndarray) -> float:
    """Return the largest difference of two outputs, in units of their standard deviation."""
    if first.shape != second.shape:
        raise ValueError(f"outputs of shapes {first.shape} and {second.shape}")
    return float(np.abs(first - second).max() / first.std())
