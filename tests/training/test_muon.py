"""Muon against singular values, against its steps in NumPy, and against AdamW where it is AdamW."""

import keras
import numpy as np
import pytest
from keras import layers

from maskwright.rewrite.graph import heads
from maskwright.training.muon import Muon, block_sides, by_matrices, by_products, orthogonalised
from maskwright.training.optimizer import FusedAdamW


def array(tensor):
    return np.asarray(keras.ops.convert_to_numpy(tensor))


def matrix(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def polar(of):
    left, _, right = np.linalg.svd(of, full_matrices=False)
    return left @ right


def newton_schulz(of):
    """Jordan et al.'s iteration on the matrix itself, in double precision."""
    x = of.astype(np.float64) / np.linalg.norm(of)
    for _ in range(5):
        squares = x.T @ x
        x = 3.4445 * x + x @ (-4.7750 * squares + 2.0315 * squares @ squares)
    return x


@pytest.mark.parametrize("shape", [(576, 64), (30, 67), (200, 61), (64, 16)])
def test_singular_values_end_near_one_and_directions_stay(shape):
    given = matrix(*shape)
    found = array(orthogonalised(given))
    values = np.linalg.svd(found, compute_uv=False)
    assert values.min() > 0.6
    assert values.max() < 1.25
    alike = (polar(given) * found).sum() / np.linalg.norm(polar(given)) / np.linalg.norm(found)
    assert alike > 0.97


@pytest.mark.parametrize("way", [by_matrices, by_products])
@pytest.mark.parametrize("shape", [(300, 64), (40, 64)])
def test_both_ways_are_the_iteration_on_the_whole_matrix(way, shape):
    given = matrix(*shape) * np.logspace(-2, 1, 64, dtype=np.float32)
    found = array(way(keras.ops.convert_to_tensor(given[None]), keras.ops.convert_to_tensor(0.5)))[0]
    np.testing.assert_allclose(found, 0.5 * newton_schulz(given), atol=2e-3)


@pytest.mark.parametrize("way", [by_matrices, by_products])
@pytest.mark.parametrize("rank", [1, 3])
def test_directions_without_a_gradient_stay_without_one(way, rank):
    given = matrix(2304, rank, seed=1) @ matrix(rank, 64, seed=2)
    given[:, 7] = 0.0  # a dead filter
    found = array(way(keras.ops.convert_to_tensor(given[None]), keras.ops.convert_to_tensor(1.0)))[0]
    values = np.linalg.svd(found, compute_uv=False)
    assert values[:rank].min() > 0.6
    assert values[:rank].max() < 1.25
    assert values[rank:].max() < 0.05
    np.testing.assert_array_equal(found[:, 7], 0.0)


@pytest.mark.parametrize("shape", [(300, 256), (40, 256)])
def test_blocks_of_columns_are_orthogonal_each_by_itself(shape):
    given = matrix(*shape)
    apart = [newton_schulz(given[:, first : first + 64]) for first in range(0, 256, 64)]
    np.testing.assert_allclose(array(orthogonalised(given)), np.concatenate(apart, axis=1), atol=2e-3)
    assert block_sides(shape) == (shape[0], 64)


def test_scale_does_not_matter_and_nothing_stays_nothing():
    given = matrix(64, 32)
    np.testing.assert_allclose(array(orthogonalised(given * 1e-6)), array(orthogonalised(given)), atol=1e-3)
    np.testing.assert_array_equal(array(orthogonalised(np.zeros((64, 32), np.float32))), 0.0)


def network(optimizer):
    keras.utils.set_random_seed(0)
    image = keras.Input((None, None, 2))
    x = layers.Conv2D(16, 3, padding="same", name="body")(image)
    x = layers.Conv2D(4, 1, name="narrow")(layers.BatchNormalization(name="norm")(x))
    model = keras.Model(image, layers.Conv2D(20, 3, activation="softmax", name="head")(x))
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    optimizer.build(model.trainable_variables)
    return model


def steps_of(optimizer, steps=3):
    """The weights that learn, by path, after some steps of the same gradients."""
    model = network(optimizer)
    for number in range(steps):
        rng = np.random.default_rng(number)
        gradients = [rng.normal(size=one.shape).astype(np.float32) for one in model.trainable_variables]
        optimizer.apply([keras.ops.convert_to_tensor(one) for one in gradients], model.trainable_variables)
    return {one.path: array(one) for one in model.trainable_variables}


def test_only_large_kernels_that_are_no_heads_go_by_muon():
    muon = Muon(0.01, decay=0.1, plain={"head/kernel"})
    ours, adamw = steps_of(muon), steps_of(FusedAdamW(0.01, decay=0.1))
    assert [path for path, values in ours.items() if not np.allclose(values, adamw[path])] == ["body/kernel"]
    names = [variable.path for variable in muon.variables if variable.path.endswith("_velocity")]
    assert len(names) == len(ours) - 1  # no squares are kept where none are needed
    assert [layer.name for layer in heads(network(Muon(0.01)))] == ["head"]
    assert not np.allclose(steps_of(Muon(0.01))["head/kernel"], steps_of(FusedAdamW(0.01))["head/kernel"])


def test_a_kernels_steps_by_hand():
    found = steps_of(Muon(0.01, decay=0.1, plain={"head/kernel"}))["body/kernel"]
    model = network(Muon(0.01))
    value = array(model.get_layer("body").kernel).reshape(18, 16).astype(np.float64)
    momentum = np.zeros_like(value)
    for number in range(3):
        gradient = np.random.default_rng(number).normal(size=(3, 3, 2, 16)).reshape(18, 16)
        momentum = 0.95 * momentum + 0.05 * gradient
        step = newton_schulz(0.05 * gradient + 0.95 * momentum)
        value = value * (1 - 0.01 * 0.1) - 0.01 * 0.2 * np.sqrt(18) * step
    np.testing.assert_allclose(found.reshape(18, 16), value, atol=1e-5)


def test_a_head_within_a_head_is_found():
    inner = keras.Input((None, None, 4))
    nested = keras.Model(inner, layers.Conv2D(20, 3, name="inner")(inner), name="outer")
    image = keras.Input((None, None, 3))
    body = layers.Conv2D(4, 1, name="body")(image)
    found = heads(keras.Model(image, {"mask": layers.ReLU()(nested(body)), "present": nested(body)}))
    assert [layer.name for layer in found] == ["outer"]
    assert [weight.path for weight in found[0].weights] == ["inner/kernel", "inner/bias"]


def test_accumulated_gradients_make_one_step():
    rng = np.random.default_rng(0)
    halves = [rng.normal(size=(3, 3, 2, 16)).astype(np.float32) for _ in range(2)]
    found = []
    for options, given in (({}, [sum(halves) / 2]), ({"gradient_accumulation_steps": 2}, halves)):
        variable = keras.Variable(np.ones((3, 3, 2, 16), np.float32), name="kernel")
        optimizer = Muon(0.1, **options)
        optimizer.build([variable])
        for gradient in given:
            optimizer.apply([keras.ops.convert_to_tensor(gradient)], [variable])
        found.append(array(variable))
    assert np.abs(found[0] - 1).max() > 0.01
    np.testing.assert_allclose(found[1], found[0], atol=1e-5)


def test_the_encoder_stands_still_at_no_rate():
    optimizer = Muon(0.01, decay=0.1, encoder={"body"})
    optimizer.encoder_rate.assign(0.0)
    before = array(network(Muon(0.01)).get_layer("body").kernel)
    np.testing.assert_array_equal(steps_of(optimizer)["body/kernel"], before)
