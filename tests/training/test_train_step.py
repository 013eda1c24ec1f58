"""A training step against that of Keras, and the optimizer against that of Keras and NumPy."""

import keras
import numpy as np
import pytest
from keras import layers

from maskwright.training.optimizer import FusedAdamW
from maskwright.training.train_step import make_train_step


def network(optimizer, outputs=1):
    keras.utils.set_random_seed(0)
    image = keras.Input((None, None, 2))
    x = layers.BatchNormalization(name="norm")(layers.Conv2D(4, 3, padding="same", use_bias=False, name="conv")(image))
    mask = layers.Conv2D(1, 1, activation="sigmoid", name="mask")(x)
    found = {"mask": mask, "present": layers.GlobalAveragePooling2D(name="present")(mask)}
    model = keras.Model(image, mask if outputs == 1 else found)
    model.compile(optimizer=optimizer, loss="mse" if outputs == 1 else {"mask": "mse", "present": "mae"})
    optimizer.build(model.trainable_variables)
    return model


def batch(number, size=(8, 8)):
    rng = np.random.default_rng(number)
    return rng.normal(size=(3, *size, 2)).astype(np.float32), rng.integers(0, 2, (3, *size, 1)).astype(np.uint8)


def test_steps_match_keras():
    ours = network(FusedAdamW(0.05, decay=0.1, global_clipnorm=0.5))
    theirs = network(keras.optimizers.AdamW(0.05, weight_decay=0.1, global_clipnorm=0.5))
    for model in (ours, theirs):
        model.optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    step = make_train_step(ours)
    for number in range(4):
        images, masks = batch(number)
        theirs.reset_metrics()
        expected = theirs.train_on_batch(images, masks)
        assert step(images, masks) == pytest.approx(float(expected), rel=1e-4)
    for mine, other in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_allclose(mine, other, rtol=2e-4, atol=2e-5)


@pytest.mark.parametrize("outputs", [1, 2])
def test_a_fused_loss_gives_the_same_step(outputs):
    images, masks = batch(0)
    targets = masks if outputs == 1 else {"mask": masks, "present": masks[:, 0, 0].astype(np.float32)}
    steps = []
    for fuse in (False, True):
        model = network(FusedAdamW(0.05), outputs=outputs)
        steps.append((make_train_step(model, fuse_loss=fuse)(images, targets), model.get_weights()))
    assert steps[0][0] == pytest.approx(steps[1][0], rel=1e-5)
    for plain, fused in zip(steps[0][1], steps[1][1], strict=True):
        np.testing.assert_allclose(plain, fused, rtol=1e-4, atol=1e-6)


def test_recompiling_with_another_loss_keeps_the_optimizer_state():
    model = network(FusedAdamW(0.05))
    first_step = make_train_step(model)
    for number in range(3):
        first_step(*batch(number))
    before = [keras.ops.convert_to_numpy(variable) for variable in model.optimizer.variables]
    model.compile(optimizer=model.optimizer, loss="mae")
    for variable, previous in zip(model.optimizer.variables, before, strict=True):
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(variable), previous)
    images, masks = batch(5, size=(16, 8))
    expected = np.abs(np.asarray(keras.ops.convert_to_numpy(model(images, training=True)), float) - masks).mean()
    assert make_train_step(model)(images, masks) == pytest.approx(expected, rel=1e-4)
    assert int(model.optimizer.iterations) == 4


def test_regularisation_is_in_the_loss_and_the_gradient():
    def regularised():
        keras.utils.set_random_seed(0)
        image = keras.Input((None, None, 2))
        x = layers.Conv2D(1, 3, kernel_regularizer=keras.regularizers.L2(0.5), name="conv")(image)
        model = keras.Model(image, layers.ActivityRegularization(l2=0.1)(x))
        model.compile(optimizer=keras.optimizers.SGD(0.1), loss="mse")
        return model

    images, masks = batch(0, (8, 8))
    ours, theirs = regularised(), regularised()
    expected = theirs.train_on_batch(images, masks[:, 1:-1, 1:-1])
    assert make_train_step(ours)(images, masks[:, 1:-1, 1:-1]) == pytest.approx(float(expected), rel=1e-4)
    for mine, other in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-4, atol=1e-6)


def test_the_loss_is_that_of_one_step_not_a_running_mean():
    model = network(FusedAdamW(0.0))
    step = make_train_step(model)
    images, masks = batch(0)
    assert step(images, masks) != pytest.approx(step(images, 5 + masks), rel=0.5)
    assert step(images, masks) == pytest.approx(step(images, masks), rel=1e-6)


def test_the_step_is_traced_once_for_all_sizes(monkeypatch):
    model = network(FusedAdamW(0.01))
    step, traces, compute = make_train_step(model), [], model.compute_loss
    monkeypatch.setattr(model, "compute_loss", lambda *given, **more: traces.append(1) or compute(*given, **more))
    for number, size in enumerate([(8, 8), (4, 12), (16, 8)]):
        images, masks = batch(number, size)
        assert np.isfinite(step(images[number:], masks[number:]))
    if keras.backend.backend() == "tensorflow":
        assert len(traces) == 1


def test_the_loss_includes_all_outputs():
    model = network(FusedAdamW(0.01), outputs=2)
    images, masks = batch(0)
    targets = {"mask": masks, "present": masks[:, 0, 0].astype(np.float32)}
    expected = model(images, training=True)
    loss = np.mean((keras.ops.convert_to_numpy(expected["mask"]) - masks) ** 2)
    loss += np.mean(np.abs(keras.ops.convert_to_numpy(expected["present"]) - targets["present"]))
    assert make_train_step(model)(images, targets) == pytest.approx(loss, rel=1e-4)


def test_adamw_matches_numpy():
    variable = keras.Variable(np.array([1.0, -2.0], np.float32), name="kernel")
    optimizer = FusedAdamW(0.1, decay=0.5, beta_1=0.8, beta_2=0.9, epsilon=1e-3)
    optimizer.build([variable])
    value, first, second = np.array([1.0, -2.0]), np.zeros(2), np.zeros(2)
    for step, gradient in enumerate([np.array([0.3, -4.0]), np.array([-0.1, 2.0])], start=1):
        optimizer.apply([keras.ops.convert_to_tensor(gradient, "float32")], [variable])
        value = value - 0.1 * 0.5 * value
        first, second = 0.8 * first + 0.2 * gradient, 0.9 * second + 0.1 * gradient**2
        rate = 0.1 * np.sqrt(1 - 0.9**step) / (1 - 0.8**step)
        value = value - rate * first / (np.sqrt(second) + 1e-3)
        np.testing.assert_allclose(keras.ops.convert_to_numpy(variable), value, rtol=1e-5)


def test_the_encoder_multiplier_scales_or_freezes_the_encoder():
    def changes(multiplier):
        model = network(FusedAdamW(0.05, decay=0.1, encoder={"conv"}))
        model.optimizer.encoder_lr_multiplier.assign(multiplier)
        before = model.get_weights()
        make_train_step(model)(*batch(0))
        after = dict(zip([weight.path for weight in model.weights], model.get_weights(), strict=True))
        return {path: new - old for (path, new), old in zip(after.items(), before, strict=True)}

    whole, tenth, frozen = changes(1.0), changes(0.1), changes(0.0)
    np.testing.assert_allclose(tenth["conv/kernel"], whole["conv/kernel"] / 10, rtol=1e-3, atol=1e-7)
    np.testing.assert_array_equal(frozen["conv/kernel"], 0.0)
    np.testing.assert_allclose(frozen["mask/kernel"], whole["mask/kernel"], rtol=1e-5)
