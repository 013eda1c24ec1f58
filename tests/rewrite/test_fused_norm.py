"""Fused batch normalisation against that of Keras, on every backend."""

import keras
import numpy as np
import pytest
from keras import layers

from maskwright.rewrite.for_training import rewrite_for_training
from maskwright.rewrite.fused_norm import FusedBatchNormalization
from tests.networks.randomise import randomise

SETTINGS = [{}, {"scale": False}, {"center": False}, {"momentum": 0.6, "epsilon": 0.1}]


def plain_and_fused(settings, policy, channels):
    networks = []
    for layer_class in (layers.BatchNormalization, FusedBatchNormalization):
        image = keras.Input((None, None, channels), dtype="float32")
        network = keras.Model(image, layer_class(**settings, dtype=policy)(image))
        networks.append(randomise(network, seed=1))
    networks[1].set_weights(networks[0].get_weights())
    return networks


@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("channels", [3, 16])
@pytest.mark.parametrize(("policy", "tolerance"), [("float32", 1e-5), ("mixed_bfloat16", 0.05)])
def test_outputs_and_moving_statistics_equal_those_of_keras(settings, policy, tolerance, channels):
    plain, fused = plain_and_fused(settings, policy, channels)
    x = np.random.default_rng(0).normal(3, 2, (4, 6, 7, channels)).astype(np.float32)
    for training in (True, False):
        ours, theirs = (keras.ops.convert_to_numpy(model(x, training=training)) for model in (fused, plain))
        np.testing.assert_allclose(np.float32(ours), np.float32(theirs), atol=tolerance)
    for ours, theirs in zip(fused.get_weights(), plain.get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=tolerance, atol=tolerance / 10)


def test_frozen_layer_keeps_its_statistics():
    _, fused = plain_and_fused({}, "float32", 5)
    fused.layers[-1].trainable = False
    before = fused.get_weights()
    fused(np.ones((2, 3, 3, 5), np.float32), training=True)
    for old, new in zip(before, fused.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


@pytest.mark.parametrize("channels", [3, 16])
def test_gradients_equal_those_of_keras(channels):
    x = np.random.default_rng(0).normal(3, 2, (4, 6, 7, channels)).astype(np.float32)
    target = np.random.default_rng(1).normal(size=x.shape).astype(np.float32)
    steps = []
    for model in plain_and_fused({}, "float32", channels):
        model.compile(optimizer=keras.optimizers.SGD(1.0), loss="mse")
        before = model.get_weights()
        model.train_on_batch(x, target)
        steps.append([new - old for old, new in zip(before, model.get_weights(), strict=True)])
    for ours, theirs in zip(*steps, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-6)


def test_rewritten_network_keeps_names_weights_and_outputs():
    image = keras.Input((8, 8, 3))
    x = layers.BatchNormalization(name="norm")(layers.Conv2D(4, 3, name="conv")(image))
    network = randomise(keras.Model(image, layers.BatchNormalization(axis=2, name="by_column")(x)))
    fused = rewrite_for_training(network)
    assert [layer.name for layer in fused.layers][1:] == [layer.name for layer in network.layers][1:]
    on_tensorflow = keras.backend.backend() == "tensorflow"
    assert isinstance(fused.get_layer("norm"), FusedBatchNormalization) == on_tensorflow
    assert not isinstance(fused.get_layer("by_column"), FusedBatchNormalization)
    x = np.random.default_rng(0).normal(size=(2, 8, 8, 3)).astype(np.float32)
    ours, theirs = (keras.ops.convert_to_numpy(model(x)) for model in (fused, network))
    np.testing.assert_allclose(ours, theirs, atol=1e-6)


def test_shift_of_image_normalisation_is_frozen_on_tensorflow():
    image = keras.Input((8, 8, 3))
    x = layers.Conv2D(4, 3, name="conv")(layers.BatchNormalization(scale=False, name="image_norm")(image))
    fused = rewrite_for_training(keras.Model(image, layers.BatchNormalization(name="feature_norm")(x)))
    trainable = [weight.path for weight in fused.trainable_weights]
    assert ("image_norm/beta" in trainable) == (keras.backend.backend() != "tensorflow")
    assert {"conv/kernel", "feature_norm/gamma", "feature_norm/beta"} <= set(trainable)
    assert len(fused.get_layer("image_norm").weights) == 3
