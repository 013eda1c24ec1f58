"""A small encoder for tests, with its forward pass in NumPy."""

from collections.abc import Mapping

import keras
import numpy as np
from keras import layers

WIDTHS = {"half": 6, "quarter": 10, "eighth": 12, "sixteenth": 14, "end": 20}
SKIPS = ("sixteenth", "eighth", "quarter", "half")  # from deep to shallow


def tiny_encoder(*size: int | None) -> keras.Model:
    """Build an encoder of five convolutions: images (n, *size, 3) to features (n, h / 32, w / 32, 20)."""
    x = images = keras.Input((*size, 3))
    for name, width in WIDTHS.items():
        x = layers.Conv2D(width, 3, 2, padding="same", activation="relu", name=name)(x)
    return keras.Model(images, x, name="tiny")


def pooled_encoder(*size: int | None) -> keras.Model:
    """Build a `tiny_encoder` that ends in a max pooling of its feature map at 1/16."""
    tiny = tiny_encoder(*size)
    return keras.Model(tiny.input, layers.MaxPooling2D(name="pool")(tiny.get_layer("sixteenth").output), name="pooled")


def weights_of(network: keras.Model) -> dict[str, np.ndarray]:
    """Return all weights by ``layer/weight``, in float64."""
    return {
        f"{layer.name}/{weight.name}": keras.ops.convert_to_numpy(weight).astype("float64")
        for layer in network.layers
        for weight in layer.weights
    }


def layer_outputs(network: keras.Model, images: np.ndarray, *names: str) -> list[np.ndarray]:
    """Return the outputs of the named layers for ``images``, in float64."""
    intermediate = keras.Model(network.input, {name: network.get_layer(name).output for name in names})
    outputs = intermediate(images, training=False)
    return [keras.ops.convert_to_numpy(outputs[name]).astype("float64") for name in names]


def noise(*size: int, seed: int = 4) -> np.ndarray:
    """Return two images of noise."""
    return np.random.default_rng(seed).normal(size=(2, *size, 3)).astype("float32")


def decoder_layers(network: keras.Model, encoder: keras.Model) -> Mapping[str, layers.Layer]:
    """Return the layers of ``network`` that are not in ``encoder``, by name, in order."""
    encoder_names = {layer.name for layer in encoder.layers}
    return {layer.name: layer for layer in network.layers if layer.name not in encoder_names}
