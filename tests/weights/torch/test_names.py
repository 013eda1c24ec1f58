"""Conversion of weights: Keras layers and torch functions of the same tensors compute the same."""

import keras
import numpy as np
import pytest
from keras import layers

from maskwright.weights.torch.names import (
    EpsilonTooSmall,
    NoCounterpart,
    TensorMismatch,
    load_tensors,
    module_of,
    tensors_of,
)
from tests.networks.randomise import infer, randomise

torch = pytest.importorskip("torch", reason="torch is not installed")
F = torch.nn.functional

RULES = {r"the_(\w+)": r"module.\1"}
SOURCE = {"argument": "file", "given": "a.pth"}


def network_of(layer, shape=(6, 9, 8)):
    image = keras.Input(shape)
    return keras.Model(image, layer(image), name="small")


# Keras layers and the torch functions of their tensors. Sizes differ wherever two axes could be swapped.
PAIRS = {
    "convolution": (
        lambda: layers.Conv2D(4, (3, 2), name="the_conv"),
        lambda x, t: F.conv2d(x, t["weight"], t["bias"]),
    ),
    "strided, dilated": (
        lambda: layers.Conv2D(4, 3, strides=2, name="the_conv", use_bias=False),
        lambda x, t: F.conv2d(x, t["weight"], stride=2),
    ),
    "grouped": (
        lambda: layers.Conv2D(6, (3, 2), groups=2, name="the_conv"),
        lambda x, t: F.conv2d(x, t["weight"], t["bias"], groups=2),
    ),
    "depthwise": (
        lambda: layers.DepthwiseConv2D((3, 2), use_bias=False, name="the_conv"),
        lambda x, t: F.conv2d(x, t["weight"], groups=8),
    ),
    "transposed": (
        lambda: layers.Conv2DTranspose(3, 4, strides=2, padding="same", name="the_conv"),
        lambda x, t: F.conv_transpose2d(x, t["weight"], t["bias"], stride=2, padding=1),
    ),
    "dense": (
        lambda: layers.Dense(3, name="the_fc"),
        lambda x, t: F.linear(x.permute(0, 2, 3, 1), t["weight"], t["bias"]).permute(0, 3, 1, 2),
    ),
    "batch normalisation": (
        lambda: layers.BatchNormalization(epsilon=1e-5, name="the_bn"),
        lambda x, t: F.batch_norm(x, t["running_mean"], t["running_var"], t["weight"], t["bias"]),
    ),
    "batch normalisation with Keras' epsilon": (
        lambda: layers.BatchNormalization(name="the_bn"),
        lambda x, t: F.batch_norm(x, t["running_mean"], t["running_var"], t["weight"], t["bias"], eps=1e-5),
    ),
    "group normalisation": (
        lambda: layers.GroupNormalization(4, epsilon=1e-5, name="the_bn"),
        lambda x, t: F.group_norm(x, 4, t["weight"], t["bias"]),
    ),
}


@pytest.mark.parametrize("kind", PAIRS)
def test_torch_computes_the_same_from_the_tensors_of_a_layer(kind):
    make, theirs = PAIRS[kind]
    network = randomise(network_of(make()))
    images = np.random.default_rng(1).normal(size=(2, 6, 9, 8)).astype("float32")
    tensors = tensors_of(network, RULES, family="a family")
    assert {name.split(".")[0] for name in tensors} == {"module"}
    named = {name.split(".")[-1]: torch.from_numpy(tensor) for name, tensor in tensors.items()}
    expected = theirs(torch.from_numpy(images).permute(0, 3, 1, 2), named).permute(0, 2, 3, 1).numpy()
    np.testing.assert_allclose(infer(network, images), expected, atol=2e-5)


@pytest.mark.parametrize("kind", [kind for kind in PAIRS if "Keras" not in kind])
def test_tensors_loaded_into_a_layer_restore_its_weights(kind):
    first, second = (randomise(network_of(PAIRS[kind][0]()), seed=seed) for seed in (0, 1))
    load_tensors(second, tensors_of(first, RULES, family="a family"), RULES, source=SOURCE, family="a family")
    for ours, theirs in zip(second.weights, first.weights, strict=True):
        np.testing.assert_array_equal(np.asarray(ours), np.asarray(theirs))


def test_epsilon_below_torch_needs_a_large_enough_variance():
    layer = layers.BatchNormalization(epsilon=1e-6, name="the_bn")
    network = network_of(layer)
    tensors_of(network, RULES, family="a family")  # initial variances are 1
    layer.moving_variance.assign(np.float32([1, 1, 1, 8e-6, 1, 1, 1, 1]))
    with pytest.raises(EpsilonTooSmall, match=r"^network small: the layer the_bn .* 1e-06; .* 1e-05 .* 8e-06"):
        tensors_of(network, RULES, family="a family")


def test_rules_match_full_names_only():
    assert module_of("the_bn", RULES) == "module.bn"
    assert module_of("not_the_bn", RULES) is None


@pytest.mark.parametrize("layer", [layers.Conv2D(2, 1, name="another"), layers.PReLU(name="the_slopes")])
def test_error_names_the_layer_without_counterpart(layer):
    expected = rf"^network small: the layer {layer.name} \({type(layer).__name__}\) .* a family\.$"
    with pytest.raises(NoCounterpart, match=expected):
        tensors_of(network_of(layer), RULES, family="a family")


def test_mismatched_tensors_are_listed_and_nothing_is_loaded():
    network = network_of(layers.Conv2D(4, 3, name="the_conv"))
    before = [np.asarray(weight).copy() for weight in network.weights]
    tensors = {"module.conv.weight": np.zeros((4, 8, 3, 2), "float32"), "fc.weight": np.zeros((1, 1), "float32")}
    with pytest.raises(TensorMismatch) as raised:
        load_tensors(network, tensors, RULES, source=SOURCE, family="a family")
    assert str(raised.value) == (
        "file='a.pth': does not fit the network small: fc.weight is unexpected; module.conv.bias is missing; "
        "module.conv.weight is (4, 8, 3, 2), expected (4, 8, 3, 3). Nothing was loaded."
    )
    for weight, value in zip(network.weights, before, strict=True):
        np.testing.assert_array_equal(np.asarray(weight), value)


def test_at_most_six_mismatches_are_listed():
    network = network_of(layers.Conv2D(4, 3, name="the_conv"))
    tensors = {f"t{number}": np.zeros(1, "float32") for number in range(9)}
    with pytest.raises(TensorMismatch, match=r"t3 is unexpected; and 5 more\."):
        load_tensors(network, tensors, RULES, source=SOURCE, family="a family")
