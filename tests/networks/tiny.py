"""A small encoder for tests, with its forward pass in NumPy."""

from collections.abc import Mapping

import keras
import numpy as np
from keras import layers

WIDTHS = {"half": 6, "quarter": 10, "eighth": 12, "sixteenth": 14, "end": 20}
SKIPS = ("sixteenth", "eighth", "quarter", "half")  # from deep to shallow


def tiny_encoder(*size: int | None) -> keras.Model:
    """Images (n, *size, 3) to features (n, h / 32, w / 32, 20), by five convolutions."""
    x = images = keras.Input((*size, 3))
    for name, width in WIDTHS.items():
        x = layers.Conv2D(width, 3, 2, padding="same", activation="relu", name=name)(x)
    return keras.Model(images, x, name="tiny")


def pooled_encoder(*size: int | None) -> keras.Model:
    """The same, but its end is a max pooling of what `tiny_encoder` gives at 1/16."""
    tiny = tiny_encoder(*size)
    return keras.Model(tiny.input, layers.MaxPooling2D(name="pool")(tiny.get_layer("sixteenth").output), name="pooled")


def weights_of(network: keras.Model) -> dict[str, np.ndarray]:
    """Every weight by ``layer/weight``, in float64."""
    return {
        f"{layer.name}/{weight.name}": keras.ops.convert_to_numpy(weight).astype("float64")
        for layer in network.layers
        for weight in layer.weights
    }


def taps_of(network: keras.Model, images: np.ndarray, *names: str) -> list[np.ndarray]:
    """What the named layers of ``network`` say of ``images``, in float64."""
    taps = keras.Model(network.input, {name: network.get_layer(name).output for name in names})
    found = taps(images, training=False)
    return [keras.ops.convert_to_numpy(found[name]).astype("float64") for name in names]


def noise(*size: int, seed: int = 4) -> np.ndarray:
    """Two images."""
    return np.random.default_rng(seed).normal(size=(2, *size, 3)).astype("float32")


def decoder_layers(network: keras.Model, encoder: keras.Model) -> Mapping[str, layers.Layer]:
    """The layers that ``network`` has and ``encoder`` has not, by name, in order."""
    known = {layer.name for layer in encoder.layers}
    return {layer.name: layer for layer in network.layers if layer.name not in known}
