"""Properties of every loss: layouts, ignored pixels, degenerate masks, half precision, saving and training."""

from functools import partial, reduce
from operator import add

import keras
import numpy as np
import pytest
from keras import ops

from maskwright.errors import WrongArgument
from maskwright.losses import (
    BinaryCELoss,
    BinaryFocalLoss,
    CategoricalCELoss,
    CategoricalFocalLoss,
    DiceLoss,
    FocalTverskyLoss,
    JaccardLoss,
    LovaszHingeLoss,
    LovaszSoftmaxLoss,
    MCCLoss,
    TverskyLoss,
)
from tests.losses import reference

SOFTMAX = {
    "jaccard": lambda **options: JaccardLoss(**options),
    "jaccard without smoothing": lambda **options: JaccardLoss(smooth=0, **options),
    "jaccard per image": lambda **options: JaccardLoss(per_image=True, **options),
    "dice": lambda **options: DiceLoss(2.0, [1.0, 2.0, 3.0], **options),
    "tversky": lambda **options: TverskyLoss(alpha=0.2, beta=0.9, smooth=0, **options),
    "focal tversky": lambda **options: FocalTverskyLoss(gamma=3.0, **options),
    "mcc": lambda **options: MCCLoss(**options),
    "mcc without smoothing": lambda **options: MCCLoss(smooth=0, **options),
    "categorical cross entropy": lambda **options: CategoricalCELoss(class_indexes=[0, 2], **options),
    "categorical focal": lambda **options: CategoricalFocalLoss(0.4, 1.0, **options),
    "categorical cross entropy from logits": lambda **options: CategoricalCELoss(from_logits=True, **options),
    "categorical focal from logits": lambda **options: CategoricalFocalLoss(0.4, 0.5, from_logits=True, **options),
    "lovasz softmax": lambda **options: LovaszSoftmaxLoss(per_image=True, **options),
    "sum": lambda **options: 0.5 * CategoricalCELoss(**options) + DiceLoss(per_image=True, **options) * 2,
}
SIGMOID = {
    "jaccard": lambda **options: JaccardLoss(**options),
    "dice": lambda **options: DiceLoss(per_image=True, smooth=0, **options),
    "focal tversky": lambda **options: FocalTverskyLoss(**options),
    "mcc": lambda **options: MCCLoss(**options),
    "binary cross entropy": lambda **options: BinaryCELoss(**options),
    "binary focal": lambda **options: BinaryFocalLoss(0.4, 0.5, **options),
    "binary cross entropy from logits": lambda **options: BinaryCELoss(from_logits=True, **options),
    "binary focal from logits": lambda **options: BinaryFocalLoss(0.4, 0.5, from_logits=True, **options),
    "lovasz hinge": lambda **options: LovaszHingeLoss(per_image=True, **options),
    "lovasz hinge from logits": lambda **options: LovaszHingeLoss(from_logits=True, **options),
    "lovasz softmax": lambda **options: LovaszSoftmaxLoss(**options),
}
EVERY = [pytest.param(make, 3, id=name) for name, make in SOFTMAX.items()] + [
    pytest.param(make, 1, id=f"{name}, one channel") for name, make in SIGMOID.items()
]


def batch(channels, seed=1):
    random = np.random.default_rng(seed)
    return random.integers(0, max(channels, 2), (2, 5, 6)), random.uniform(0.05, 0.95, (2, 5, 6, channels))


def one_hot(ids, channels):
    return ids[..., None] if channels == 1 else np.eye(channels)[ids]


@pytest.mark.parametrize(("make", "channels"), EVERY)
def test_ids_and_one_hot_masks_give_the_same_loss(make, channels):
    ids, prediction = batch(channels)
    assert float(make()(ids.astype("uint8"), prediction)) == pytest.approx(
        float(make()(one_hot(ids, channels), prediction))
    )


@pytest.mark.parametrize(("make", "channels"), EVERY)
def test_ignored_pixels_have_no_effect_and_no_gradient(make, channels, gradient):
    ids, prediction = batch(channels)
    marked = ids.copy()
    marked[:, :, 4:] = 255
    loss = make(ignore=255)
    assert float(loss(marked, prediction)) == pytest.approx(
        float(make()(ids[:, :, :4], prediction[:, :, :4])), rel=1e-5
    )
    assert np.all(gradient(loss, marked, prediction)[:, :, 4:] == 0)


def pixels(formula, **options):
    return partial(reference.over_valid, partial(formula, **options))


def regions(formula, *, per_image=False, weights=None, threshold=0.5, **options):
    formula = partial(formula, **options)
    return partial(reference.over_present, formula, per_image=per_image, weights=weights, threshold=threshold)


def of_sigmoid(formula):
    return lambda truth, logits, **options: formula(truth, 1 / (1 + np.exp(-logits)), **options)


def of_softmax(formula):
    def compute(truth, logits, **options):
        return formula(truth, np.exp(logits) / np.exp(logits).sum(-1, keepdims=True), **options)

    return compute


def cross_entropy_plus_twice_dice(*batch):
    cross_entropy, dice = pixels(reference.categorical_cross_entropy), regions(reference.dice, per_image=True)
    return 0.5 * cross_entropy(*batch) + 2 * dice(*batch)


VALUES_OF_SOFTMAX = {
    "jaccard": regions(reference.jaccard),
    "jaccard without smoothing": regions(reference.jaccard, smooth=0),
    "jaccard per image": regions(reference.jaccard, per_image=True),
    "dice": regions(reference.dice, beta=2.0, weights=[1.0, 2.0, 3.0]),
    "tversky": regions(reference.tversky, alpha=0.2, beta=0.9, smooth=0),
    "focal tversky": regions(reference.tversky, alpha=0.3, beta=0.7, exponent=1 / 3),
    "mcc": regions(reference.matthews),
    "mcc without smoothing": regions(reference.matthews, smooth=0),
    "categorical cross entropy": pixels(
        lambda truth, prediction: reference.categorical_cross_entropy(truth[:, [0, 2]], prediction[:, [0, 2]])
    ),
    "categorical focal": pixels(reference.categorical_focal, alpha=0.4, gamma=1.0),
    "categorical cross entropy from logits": pixels(of_softmax(reference.categorical_cross_entropy)),
    "categorical focal from logits": pixels(of_softmax(reference.categorical_focal), alpha=0.4, gamma=0.5),
    "lovasz softmax": regions(reference.lovasz_softmax, per_image=True),
    "sum": cross_entropy_plus_twice_dice,
}
VALUES_OF_SIGMOID = {
    "jaccard": regions(reference.jaccard),
    "dice": regions(reference.dice, per_image=True, smooth=0),
    "focal tversky": regions(reference.tversky, alpha=0.3, beta=0.7, exponent=0.75),
    "mcc": regions(reference.matthews),
    "binary cross entropy": pixels(reference.binary_cross_entropy),
    "binary focal": pixels(reference.binary_focal, alpha=0.4, gamma=0.5),
    "binary cross entropy from logits": pixels(of_sigmoid(reference.binary_cross_entropy)),
    "binary focal from logits": pixels(of_sigmoid(reference.binary_focal), alpha=0.4, gamma=0.5),
    "lovasz hinge": regions(reference.lovasz_hinge, per_image=True),
    "lovasz hinge from logits": regions(reference.lovasz_hinge_from_logits, threshold=0),
    "lovasz softmax": regions(reference.lovasz_softmax),
}
EVERY_VALUE = [pytest.param(SOFTMAX[name], VALUES_OF_SOFTMAX[name], 3, id=name) for name in SOFTMAX] + [
    pytest.param(SIGMOID[name], VALUES_OF_SIGMOID[name], 1, id=f"{name}, one channel") for name in SIGMOID
]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize(("make", "value", "channels"), EVERY_VALUE)
def test_degenerate_batches_have_the_formula_s_value_and_finite_gradients(make, value, channels, dtype, gradient):
    ids, _ = batch(channels)
    size = ids.shape
    last = max(channels, 2) - 1
    correct = one_hot(np.full(size, last), channels).astype(float)
    for case, (truth, prediction) in {
        "all one class, correct": (np.full(size, last), correct),
        "all one class, wrong": (np.full(size, last), 1 - correct),
        "empty, and nothing predicted": (np.zeros(size, int), np.zeros((*size, channels))),
        "empty, and everything predicted": (np.zeros(size, int), np.ones((*size, channels))),
        "all ignored": (np.full(size, 255), np.full((*size, channels), 0.5)),
        "one pixel": (np.where(np.arange(60).reshape(size) == 37, 1, 255), np.full((*size, channels), 0.75)),
        "undecided": (ids, np.full((*ids.shape, channels), 0.5)),
    }.items():
        loss, valid = make(ignore=255), truth != 255
        expected = value(one_hot(np.where(valid, truth, 0), channels), prediction, valid)
        found = float(loss(truth, ops.convert_to_tensor(prediction, dtype=dtype)))
        assert found == pytest.approx(expected, rel=1e-4, abs=1e-5), case
        assert np.all(np.isfinite(gradient(loss, truth, prediction, dtype=dtype))), case


@pytest.mark.parametrize(("make", "channels"), EVERY)
def test_without_valid_pixels_the_loss_and_the_gradient_are_0(make, channels, gradient):
    truth, prediction = np.full((2, 5, 6), 7), batch(channels)[1]
    assert float(make(ignore=7)(truth, prediction)) == 0
    assert np.all(gradient(make(ignore=7), truth, prediction) == 0)


@pytest.mark.parametrize(("make", "channels"), EVERY)
def test_half_precision_predictions_are_converted_to_float32(make, channels):
    ids, prediction = batch(channels)
    half = ops.convert_to_tensor(prediction, dtype="bfloat16")
    loss = make()(ids, half)
    assert keras.backend.standardize_dtype(loss.dtype) == "float32"
    assert float(loss) == float(make()(ids, ops.cast(half, "float32")))


@pytest.mark.parametrize(("make", "channels"), EVERY)
def test_loss_is_restored_from_its_configuration(make, channels):
    ids, prediction = batch(channels)
    ids[0, 0, 0] = 255
    loss = make(ignore=255, name="mine") if make is not SOFTMAX["sum"] else make(ignore=255)
    restored = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(loss))
    assert type(restored) is type(loss)
    assert restored.name == loss.name
    assert restored.get_config() == loss.get_config()
    assert float(restored(ids, prediction)) == float(loss(ids, prediction))


@pytest.mark.parametrize(("make", "channels"), EVERY)
def test_sample_weight_is_an_error(make, channels):
    ids, prediction = batch(channels)
    with pytest.raises(WrongArgument, match=r"^sample_weight=.*class_weights=.*ignore="):
        make()(ids, prediction, sample_weight=np.ones(2))


@pytest.mark.parametrize("from_logits", [False, True])
@pytest.mark.parametrize(("table", "channels"), [(SOFTMAX, 3), (SIGMOID, 1)])
def test_network_of_variable_size_trains_with_every_loss_and_saves_it(table, channels, from_logits, tmp_path):
    keras.utils.set_random_seed(1)
    ids, _ = batch(channels)
    pixels = np.random.default_rng(2).normal(size=(2, 5, 6, 1))
    image = keras.Input((None, None, 1))
    activation = None if from_logits else "softmax" if channels > 1 else "sigmoid"
    head = keras.layers.Conv2D(channels, 1, activation=activation)
    network = keras.Model(image, head(image))
    losses = [make() for make in table.values()]
    total = reduce(add, [loss for loss in losses if loss.from_logits == from_logits])
    network.compile("sgd", loss=total)
    before = float(total(ids, network.predict_on_batch(pixels)))
    assert network.fit(pixels, ids, verbose=0).history["loss"] == [pytest.approx(before, rel=1e-5)]
    assert float(total(ids, network.predict_on_batch(pixels))) < before
    network.save(tmp_path / "network.keras")
    loaded = keras.saving.load_model(tmp_path / "network.keras")
    assert loaded.loss.get_config() == total.get_config()
