"""The PSPNet decoder: outputs against NumPy, layer names of segmentation_models and errors."""

import keras
import numpy as np
import pytest
from keras import layers

from maskwright.errors import UnknownChoice, WrongArgument
from maskwright.networks.blocks import torch_batch_norm
from maskwright.networks.pspnet import build_pspnet
from tests.networks import numpy_decoders
from tests.networks.randomise import difference, infer, randomise
from tests.networks.tiny import decoder_layers, layer_outputs, noise, tiny_encoder, weights_of

# Sides of the feature map: multiples of six, as segmentation_models requires; other sides; sides below six.
CASES = {
    "six cells": ((48, 96), "eighth", 8, {}),
    "six cells, largest": ((96, 192), "sixteenth", 16, {"pooling_type": "max", "dropout": 0.5}),
    "overlapping cells": ((40, 64), "quarter", 4, {"use_batchnorm": False}),
    "overlapping cells, largest": ((64, 104), "eighth", 8, {"pooling_type": "max"}),
    "more cells than pixels": ((32, 40), "eighth", 8, {}),
}
REDUCE = {"avg": np.mean, "max": np.max}


@pytest.mark.parametrize("open_size", [False, True], ids=["known size", "open size"])
@pytest.mark.parametrize("case", CASES)
def test_logits_equal_those_of_numpy(case, open_size):
    size, tap, factor, options = CASES[case]
    encoder = tiny_encoder(None, None) if open_size else tiny_encoder(*size)
    network = build_pspnet(encoder, 2, tap, conv_filters=9, final_upsampling_factor=factor, activation=None, **options)
    randomise(network, seed=3)
    images = noise(*size)
    (x,) = layer_outputs(network, images, tap)
    reduce = REDUCE[options.get("pooling_type", "avg")]
    expected = numpy_decoders.pspnet(x, weights_of(network), reduce=reduce, factor=factor)
    assert expected.shape == (2, *size, 2)
    assert difference(expected, infer(network, images)) < 1e-4


@pytest.fixture(scope="module")
def encoder():
    return tiny_encoder(48, 96)


def test_layer_names_are_those_of_segmentation_models(encoder):
    found = decoder_layers(build_pspnet(encoder, 1, "eighth", dropout=0.1), encoder)
    parts = ("pooling", "conv", "bn", "relu", "upsampling")
    expected = {f"psp_level{cells}_{part}" for cells in (1, 2, 3, 6) for part in parts} | {"psp_concat"}
    expected |= {f"aggregation_{part}" for part in ("conv", "bn", "relu")} | {"spatial_dropout", "final_conv"}
    assert set(found) == expected | {"final_upsampling", "sigmoid"}


def test_layers_have_the_settings_of_segmentation_models(encoder):
    network = build_pspnet(encoder, 3, "eighth", use_batchnorm=False)
    assert network.output_shape == (None, 48, 96, 3)
    found = decoder_layers(network, encoder)
    convs = {name: layer for name, layer in found.items() if isinstance(layer, layers.Conv2D)}
    head = convs.pop("final_conv")
    assert (head.filters, head.kernel_size, head.use_bias) == (3, (3, 3), True)
    assert isinstance(head.kernel_initializer, keras.initializers.GlorotUniform)
    assert {(conv.filters, conv.kernel_size, conv.use_bias) for conv in convs.values()} == {(512, (1, 1), True)}
    assert {type(conv.kernel_initializer) for conv in convs.values()} == {keras.initializers.HeUniform}
    assert not any(isinstance(layer, layers.BatchNormalization | layers.SpatialDropout2D) for layer in found.values())


def test_encoder_layers_after_psp_layer_are_removed(encoder):
    names = {layer.name for layer in build_pspnet(encoder, 1, "quarter", final_upsampling_factor=4).layers}
    assert "quarter" in names
    assert not names & {"eighth", "sixteenth", "end"}


def test_dropout_and_normalisation_arguments_are_used(encoder):
    network = build_pspnet(encoder, 1, "eighth", dropout=0.25, norm=torch_batch_norm)
    drop, norm = network.get_layer("spatial_dropout"), network.get_layer("psp_level3_bn")
    assert (type(drop), drop.rate) == (layers.SpatialDropout2D, 0.25)
    assert (norm.momentum, norm.epsilon) == (0.9, 1e-5)


def test_variable_sizes_accept_several_sizes():
    network = build_pspnet(tiny_encoder(None, None), 2, "eighth", conv_filters=6, pooling_type="max")
    for size in ((48, 96), (64, 40)):  # `predict` compiles for the sides left open at the second
        np.testing.assert_allclose(network.predict(noise(*size), verbose=0), infer(network, noise(*size)), atol=1e-6)


@pytest.mark.parametrize("pooling", ["avg", "max"])
def test_saved_network_predicts_the_same(tmp_path, pooling):
    network = randomise(build_pspnet(tiny_encoder(None, None), 2, "eighth", conv_filters=6, pooling_type=pooling))
    network.save(tmp_path / "psp.keras")
    images = noise(48, 64)
    again = keras.saving.load_model(tmp_path / "psp.keras")
    np.testing.assert_allclose(infer(again, images), infer(network, images), rtol=1e-6)


@pytest.mark.parametrize("pooling", ["avg", "max"])
def test_training_step_changes_every_weight(pooling):
    network = build_pspnet(tiny_encoder(None, None), 1, "eighth", conv_filters=6, pooling_type=pooling)
    trained = [weight.path for weight in network.trainable_weights]
    before = [keras.ops.convert_to_numpy(weight).copy() for weight in randomise(network).trainable_weights]
    network.compile(keras.optimizers.SGD(0.1), "mean_squared_error", run_eagerly=True)
    network.train_on_batch(noise(48, 64), np.ones((2, 48, 64, 1), "float32"))
    still = [
        path
        for path, old, new in zip(trained, before, network.trainable_weights, strict=True)
        if np.array_equal(old, keras.ops.convert_to_numpy(new))
    ]
    assert not still


@pytest.mark.parametrize("argument", ["conv_filters", "final_upsampling_factor"])
def test_count_of_0_is_an_error(encoder, argument):
    with pytest.raises(WrongArgument, match=rf"^{argument}=0: expected .*integer.* 1"):
        build_pspnet(encoder, 1, "eighth", **{argument: 0})


def test_dropout_rate_out_of_range_is_an_error(encoder):
    with pytest.raises(WrongArgument, match=r"^dropout=1: expected .* 0 .* 1.*None"):
        build_pspnet(encoder, 1, "eighth", dropout=1)


def test_unknown_psp_layer_suggests_the_nearest(encoder):
    with pytest.raises(WrongArgument, match=r"^psp_layer='eigth': .*of tiny, or an index.* 'eighth'\?"):
        build_pspnet(encoder, 1, "eigth")


def test_unknown_pooling_type_suggests_the_nearest(encoder):
    with pytest.raises(UnknownChoice, match=r"^pooling_type='mx' .*one of avg, max\..*'max'\?"):
        build_pspnet(encoder, 1, "eighth", pooling_type="mx")
