"""Depthwise convolution with fast gradients against TensorFlow's own."""

import keras
import numpy as np
import pytest

from maskwright.rewrite.fast_depthwise import FastDepthwiseConv2D
from maskwright.rewrite.for_training import rewrite_for_training

pytestmark = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="only TensorFlow has this layer")


def gradients(layer, images, weights):
    """Return the output and the gradients of a weighted sum of it, with respect to input and kernel, as float32."""
    import tensorflow as tf

    x = tf.cast(images, layer.compute_dtype)

    @tf.function(input_signature=[tf.TensorSpec((None, None, None, images.shape[-1]), x.dtype)])
    def run(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = layer(x)
            loss = tf.reduce_sum(tf.cast(y, "float32") * weights)
        return y, *tape.gradient(loss, [x, layer.kernel.value])

    return [tf.cast(value, "float32").numpy() for value in run(x)]


@pytest.mark.parametrize(
    ("size", "stride", "image"),
    [
        (3, 1, (9, 12)),
        (3, 2, (9, 12)),
        (3, 2, (8, 7)),
        (5, 1, (9, 12)),
        (5, 2, (9, 12)),
        (5, 2, (8, 7)),
        (7, 3, (11, 8)),
    ],
)
@pytest.mark.parametrize("use_bias", [False, True])
def test_output_and_gradients_equal_those_of_keras(size, stride, image, use_bias):
    rng = np.random.default_rng(size)
    images = rng.integers(-3, 4, (2, *image, 6)).astype("float32")  # small integers are exact in bfloat16
    reference = keras.layers.DepthwiseConv2D(size, strides=stride, padding="same", use_bias=use_bias)
    fast = FastDepthwiseConv2D(size, strides=stride, padding="same", use_bias=use_bias, dtype="mixed_bfloat16")
    outputs = reference(images)
    fast.build(images.shape)
    kernel = rng.integers(-2, 3, reference.kernel.shape).astype("float32")
    for layer in (reference, fast):
        layer.set_weights([kernel, *[np.arange(6.0)] * use_bias])
    weights = rng.integers(-1, 2, outputs.shape).astype("float32")
    for found, expected in zip(gradients(fast, images, weights), gradients(reference, images, weights), strict=True):
        assert found.shape == expected.shape
        np.testing.assert_allclose(found, expected, rtol=2**-7, atol=1e-6)


def test_training_network_has_fast_layers_with_the_same_names_and_weights():
    image = keras.Input((None, None, 3))
    x = keras.layers.DepthwiseConv2D(5, strides=2, padding="same", name="fast", dtype="mixed_bfloat16")(image)
    x = keras.layers.DepthwiseConv2D(3, padding="valid", name="valid", dtype="mixed_bfloat16")(x)
    x = keras.layers.DepthwiseConv2D(3, padding="same", name="float32")(x)
    network = keras.Model(image, x)
    rewritten = rewrite_for_training(network)
    kinds = {layer.name: type(layer).__name__ for layer in rewritten.layers if layer.weights}
    assert kinds == {"fast": "FastDepthwiseConv2D", "valid": "DepthwiseConv2D", "float32": "DepthwiseConv2D"}
    for ours, theirs in zip(rewritten.get_weights(), network.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
