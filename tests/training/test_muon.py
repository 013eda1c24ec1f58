"""Muon against singular values, against its steps in NumPy, and against AdamW for other variables."""

import keras
import numpy as np
import pytest
from keras import layers

from maskwright.rewrite.graph import heads
from maskwright.training.muon import Muon, block_shape, iterate_on_gram_matrices, iterate_on_matrices, orthogonalise
from maskwright.training.optimizer import FusedAdamW


def array(tensor):
    return np.asarray(keras.ops.convert_to_numpy(tensor))


def matrix(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def polar(of):
    left, _, right = np.linalg.svd(of, full_matrices=False)
    return left @ right


def newton_schulz(of):
    """Run the iteration of Jordan et al. on the whole matrix, in double precision."""
    x = of.astype(np.float64) / np.linalg.norm(of)
    for _ in range(5):
        squares = x.T @ x
        x = 3.4445 * x + x @ (-4.7750 * squares + 2.0315 * squares @ squares)
    return x


@pytest.mark.parametrize("shape", [(576, 64), (30, 67), (200, 61), (64, 16)])
def test_singular_values_converge_to_about_one_and_vectors_stay(shape):
    given = matrix(*shape)
    found = array(orthogonalise(given))
    values = np.linalg.svd(found, compute_uv=False)
    assert values.min() > 0.6
    assert values.max() < 1.25
    cosine = (polar(given) * found).sum() / np.linalg.norm(polar(given)) / np.linalg.norm(found)
    assert cosine > 0.97


@pytest.mark.parametrize("iterate", [iterate_on_matrices, iterate_on_gram_matrices])
@pytest.mark.parametrize("shape", [(300, 64), (40, 64)])
def test_both_implementations_match_the_iteration_on_the_matrix(iterate, shape):
    given = matrix(*shape) * np.logspace(-2, 1, 64, dtype=np.float32)
    found = array(iterate(keras.ops.convert_to_tensor(given[None]), keras.ops.convert_to_tensor(0.5)))[0]
    np.testing.assert_allclose(found, 0.5 * newton_schulz(given), atol=2e-3)


@pytest.mark.parametrize("iterate", [iterate_on_matrices, iterate_on_gram_matrices])
@pytest.mark.parametrize("rank", [1, 3])
def test_zero_singular_values_stay_zero(iterate, rank):
    given = matrix(2304, rank, seed=1) @ matrix(rank, 64, seed=2)
    given[:, 7] = 0.0  # a dead filter
    found = array(iterate(keras.ops.convert_to_tensor(given[None]), keras.ops.convert_to_tensor(1.0)))[0]
    values = np.linalg.svd(found, compute_uv=False)
    assert values[:rank].min() > 0.6
    assert values[:rank].max() < 1.25
    assert values[rank:].max() < 0.05
    np.testing.assert_array_equal(found[:, 7], 0.0)


@pytest.mark.parametrize("shape", [(300, 256), (40, 256)])
def test_blocks_of_columns_are_orthogonalised_separately(shape):
    given = matrix(*shape)
    blocks = [newton_schulz(given[:, first : first + 64]) for first in range(0, 256, 64)]
    np.testing.assert_allclose(array(orthogonalise(given)), np.concatenate(blocks, axis=1), atol=2e-3)
    assert block_shape(shape) == (shape[0], 64)


def test_the_scale_cancels_and_a_zero_matrix_stays_zero():
    given = matrix(64, 32)
    np.testing.assert_allclose(array(orthogonalise(given * 1e-6)), array(orthogonalise(given)), atol=1e-3)
    np.testing.assert_array_equal(array(orthogonalise(np.zeros((64, 32), np.float32))), 0.0)


def network(optimizer):
    keras.utils.set_random_seed(0)
    image = keras.Input((None, None, 2))
    x = layers.Conv2D(16, 3, padding="same", name="body")(image)
    x = layers.Conv2D(4, 1, name="narrow")(layers.BatchNormalization(name="norm")(x))
    model = keras.Model(image, layers.Conv2D(20, 3, activation="softmax", name="head")(x))
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    optimizer.build(model.trainable_variables)
    return model


def weights_after(optimizer, steps=3):
    """Return the trainable weights by path after some steps with random gradients, equal for all optimizers."""
    model = network(optimizer)
    for number in range(steps):
        rng = np.random.default_rng(number)
        gradients = [rng.normal(size=variable.shape).astype(np.float32) for variable in model.trainable_variables]
        optimizer.apply([keras.ops.convert_to_tensor(gradient) for gradient in gradients], model.trainable_variables)
    return {variable.path: array(variable) for variable in model.trainable_variables}


def test_muon_updates_only_large_kernels_outside_the_heads():
    muon = Muon(0.01, decay=0.1, adamw_variables={"head/kernel"})
    ours, adamw = weights_after(muon), weights_after(FusedAdamW(0.01, decay=0.1))
    assert [path for path, values in ours.items() if not np.allclose(values, adamw[path])] == ["body/kernel"]
    names = [variable.path for variable in muon.variables if variable.path.endswith("_velocity")]
    assert len(names) == len(ours) - 1  # Muon needs no velocity
    assert [layer.name for layer in heads(network(Muon(0.01)))] == ["head"]
    assert not np.allclose(weights_after(Muon(0.01))["head/kernel"], weights_after(FusedAdamW(0.01))["head/kernel"])


def test_the_steps_of_a_kernel_match_numpy():
    found = weights_after(Muon(0.01, decay=0.1, adamw_variables={"head/kernel"}))["body/kernel"]
    model = network(Muon(0.01))
    value = array(model.get_layer("body").kernel).reshape(18, 16).astype(np.float64)
    momentum = np.zeros_like(value)
    for number in range(3):
        gradient = np.random.default_rng(number).normal(size=(3, 3, 2, 16)).reshape(18, 16)
        momentum = 0.95 * momentum + 0.05 * gradient
        step = newton_schulz(0.05 * gradient + 0.95 * momentum)
        value = value * (1 - 0.01 * 0.1) - 0.01 * 0.2 * np.sqrt(18) * step
    np.testing.assert_allclose(found.reshape(18, 16), value, atol=1e-5)


def test_a_nested_head_is_found():
    inner = keras.Input((None, None, 4))
    nested = keras.Model(inner, layers.Conv2D(20, 3, name="inner")(inner), name="outer")
    image = keras.Input((None, None, 3))
    body = layers.Conv2D(4, 1, name="body")(image)
    found = heads(keras.Model(image, {"mask": layers.ReLU()(nested(body)), "present": nested(body)}))
    assert [layer.name for layer in found] == ["outer"]
    assert [weight.path for weight in found[0].weights] == ["inner/kernel", "inner/bias"]


def test_accumulated_gradients_give_one_step():
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


def test_the_encoder_is_frozen_with_a_multiplier_of_zero():
    optimizer = Muon(0.01, decay=0.1, encoder={"body"})
    optimizer.encoder_lr_multiplier.assign(0.0)
    before = array(network(Muon(0.01)).get_layer("body").kernel)
    np.testing.assert_array_equal(weights_after(optimizer)["body/kernel"], before)
