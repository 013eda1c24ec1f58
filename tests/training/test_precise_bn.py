import keras
import numpy as np
import pytest

from maskwright.training.precise_bn import PreciseBatchNorm


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


def test_the_first_layer_has_the_statistics_of_all_batches_together(network):
    PreciseBatchNorm(network)(batches())
    together = np.concatenate(batches())
    layer = network.get_layer("first")
    np.testing.assert_allclose(layer.moving_mean, together.mean((0, 1, 2)), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(layer.moving_variance, together.var((0, 1, 2)), rtol=1e-4, atol=1e-4)


def test_after_one_batch_inference_equals_training_mode_on_it(network):
    (batch,) = batches(1)
    PreciseBatchNorm(network)([batch])
    found = keras.ops.convert_to_numpy(network(batch, training=False))
    expected = keras.ops.convert_to_numpy(network(batch, training=True))
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_weights_and_momenta_do_not_change(network):
    before = [keras.ops.convert_to_numpy(weight) for weight in network.trainable_weights]
    PreciseBatchNorm(network)(batches())
    assert network.get_layer("first").momentum == 0.9
    for old, new in zip(before, network.trainable_weights, strict=True):
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(new), old)


def test_earlier_measurements_have_no_influence(network):
    precise_bn = PreciseBatchNorm(network)
    precise_bn([batch * 100 for batch in batches()])
    precise_bn(batches())
    once = [keras.ops.convert_to_numpy(weight) for weight in network.non_trainable_weights]
    precise_bn(batches())
    for old, new in zip(once, network.non_trainable_weights, strict=True):
        np.testing.assert_allclose(keras.ops.convert_to_numpy(new), old, rtol=1e-5)


@pytest.mark.parametrize("dropout", [keras.layers.Dropout, keras.layers.SpatialDropout2D])
def test_dropout_is_off_while_measuring_and_on_in_training(dropout):
    inputs = keras.Input((8, 8, 3))
    x = keras.layers.BatchNormalization(name="normalised")(dropout(0.5, name="drop")(inputs))
    network = keras.Model(inputs, x)
    network.compile(optimizer=keras.optimizers.SGD(0.0), loss=lambda _, found: keras.ops.mean(keras.ops.abs(found)))
    layer = network.get_layer("normalised")
    constant = np.ones((64, 8, 8, 3), np.float32)

    def variance_after_training():
        layer.moving_variance.assign([0.0] * 3)
        network.train_on_batch(constant, constant)
        return keras.ops.convert_to_numpy(layer.moving_variance)

    # Half of the ones become 2 and half 0, a variance of 1, of which the moving average takes a hundredth.
    np.testing.assert_allclose(variance_after_training(), 0.01, rtol=0.2)
    PreciseBatchNorm(network)(batches())
    together = np.concatenate(batches())
    np.testing.assert_allclose(layer.moving_mean, together.mean((0, 1, 2)), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(layer.moving_variance, together.var((0, 1, 2)), rtol=1e-4, atol=1e-4)
    assert network.get_layer("drop").rate == 0.5
    np.testing.assert_allclose(variance_after_training(), 0.01, rtol=0.2)
    constant = constant[:48]  # another batch size, for which training is traced again
    np.testing.assert_allclose(variance_after_training(), 0.01, rtol=0.2)


def test_dropout_is_on_in_a_training_that_starts_after_measuring():
    inputs = keras.Input((8, 8, 3))
    x = keras.layers.BatchNormalization(momentum=0.0, name="normalised")(keras.layers.Dropout(0.5)(inputs))
    network = keras.Model(inputs, x)
    PreciseBatchNorm(network)(batches())
    network.compile(optimizer=keras.optimizers.SGD(0.0), loss="mse")
    constant = np.ones((64, 8, 8, 3), np.float32)
    network.train_on_batch(constant, constant)
    np.testing.assert_allclose(network.get_layer("normalised").moving_variance, 1.0, rtol=0.2)
