import keras
import numpy as np
import pytest

from maskwright.training.recalibrate import Recalibration


@pytest.fixture
def network():
    keras.utils.set_random_seed(0)
    inputs = keras.Input((None, None, 3))
    x = keras.layers.BatchNormalization(momentum=0.9, name="first")(inputs)
    x = keras.layers.Conv2D(4, 1, name="conv")(x)
    return keras.Model(inputs, keras.layers.BatchNormalization(name="second")(x))


def batches(count=3):
    generator = np.random.default_rng(0)
    scale, shift = np.float32([1, 5, 0.1]), np.float32([0, 3, -7])
    return [
        (generator.normal(size=(4, 8, 8, 3)) * scale + shift * (1 + batch)).astype(np.float32) for batch in range(count)
    ]


def test_the_first_layer_has_the_statistics_of_all_batches_as_one(network):
    Recalibration(network)(batches())
    together = np.concatenate(batches())
    layer = network.get_layer("first")
    np.testing.assert_allclose(layer.moving_mean, together.mean((0, 1, 2)), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(layer.moving_variance, together.var((0, 1, 2)), rtol=1e-4, atol=1e-4)


def test_with_one_batch_inference_normalises_every_layer_as_training_did(network):
    (batch,) = batches(1)
    Recalibration(network)([batch])
    found = keras.ops.convert_to_numpy(network(batch, training=False))
    expected = keras.ops.convert_to_numpy(network(batch, training=True))
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_weights_and_momenta_are_left_alone(network):
    before = [keras.ops.convert_to_numpy(weight) for weight in network.trainable_weights]
    Recalibration(network)(batches())
    assert network.get_layer("first").momentum == 0.9
    for old, new in zip(before, network.trainable_weights, strict=True):
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(new), old)


def test_what_was_measured_before_does_not_linger(network):
    recalibrate = Recalibration(network)
    recalibrate([batch * 100 for batch in batches()])
    recalibrate(batches())
    once = [keras.ops.convert_to_numpy(weight) for weight in network.non_trainable_weights]
    recalibrate(batches())
    for old, new in zip(once, network.non_trainable_weights, strict=True):
        np.testing.assert_allclose(keras.ops.convert_to_numpy(new), old, rtol=1e-5)
