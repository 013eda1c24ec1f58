"""Fused batch normalisation against Keras' own, on every backend."""

import keras
import numpy as np
import pytest
from keras import layers

from maskwright.rewrite.fused_norm import FusedBatchNormalization, fuse_norms
from tests.networks.randomise import randomise

SETTINGS = [{}, {"scale": False}, {"center": False}, {"momentum": 0.6, "epsilon": 0.1}]


def both(settings, policy, channels):
    made = []
    for kind in (layers.BatchNormalization, FusedBatchNormalization):
        image = keras.Input((None, None, channels), dtype="float32")
        network = keras.Model(image, kind(**settings, dtype=policy)(image))
        made.append(randomise(network, seed=1))
    made[1].set_weights(made[0].get_weights())
    return made


@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("channels", [3, 16])
@pytest.mark.parametrize(("policy", "tolerance"), [("float32", 1e-5), ("mixed_bfloat16", 0.05)])
def test_it_answers_and_remembers_as_keras_own(settings, policy, tolerance, channels):
    plain, fused = both(settings, policy, channels)
    x = np.random.default_rng(0).normal(3, 2, (4, 6, 7, channels)).astype(np.float32)
    for training in (True, False):
        ours, theirs = (keras.ops.convert_to_numpy(model(x, training=training)) for model in (fused, plain))
        np.testing.assert_allclose(np.float32(ours), np.float32(theirs), atol=tolerance)
    for ours, theirs in zip(fused.get_weights(), plain.get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=tolerance, atol=tolerance / 10)


def test_what_is_frozen_keeps_its_statistics():
    _, fused = both({}, "float32", 5)
    fused.layers[-1].trainable = False
    before = fused.get_weights()
    fused(np.ones((2, 3, 3, 5), np.float32), training=True)
    for was, now in zip(before, fused.get_weights(), strict=True):
        np.testing.assert_array_equal(was, now)


@pytest.mark.parametrize("channels", [3, 16])
def test_gradients_are_those_of_keras_own(channels):
    x = np.random.default_rng(0).normal(3, 2, (4, 6, 7, channels)).astype(np.float32)
    goal = np.random.default_rng(1).normal(size=x.shape).astype(np.float32)
    steps = []
    for model in both({}, "float32", channels):
        model.compile(optimizer=keras.optimizers.SGD(1.0), loss="mse")
        before = model.get_weights()
        model.train_on_batch(x, goal)
        steps.append([now - was for was, now in zip(before, model.get_weights(), strict=True)])
    for ours, theirs in zip(*steps, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-6)


def test_a_network_keeps_its_names_its_weights_and_what_it_answers():
    image = keras.Input((8, 8, 3))
    x = layers.BatchNormalization(name="one")(layers.Conv2D(4, 3, name="conv")(image))
    network = randomise(keras.Model(image, layers.BatchNormalization(axis=2, name="by_column")(x)))
    fused = fuse_norms(network)
    assert [layer.name for layer in fused.layers][1:] == [layer.name for layer in network.layers][1:]
    on_tensorflow = keras.backend.backend() == "tensorflow"
    assert isinstance(fused.get_layer("one"), FusedBatchNormalization) == on_tensorflow
    assert not isinstance(fused.get_layer("by_column"), FusedBatchNormalization)
    x = np.random.default_rng(0).normal(size=(2, 8, 8, 3)).astype(np.float32)
    ours, theirs = (keras.ops.convert_to_numpy(model(x)) for model in (fused, network))
    np.testing.assert_allclose(ours, theirs, atol=1e-6)


def test_what_normalises_the_images_does_not_learn_its_shift_on_tensorflow():
    image = keras.Input((8, 8, 3))
    x = layers.Conv2D(4, 3, name="conv")(layers.BatchNormalization(scale=False, name="of_images")(image))
    fused = fuse_norms(keras.Model(image, layers.BatchNormalization(name="of_maps")(x)))
    learnt = [weight.path for weight in fused.trainable_weights]
    assert ("of_images/beta" in learnt) == (keras.backend.backend() != "tensorflow")
    assert {"conv/kernel", "of_maps/gamma", "of_maps/beta"} <= set(learnt)
    assert len(fused.get_layer("of_images").weights) == 3
