"""Decoder blocks: normalisation factories, kernel sizes, heads and dropout."""

from functools import partial

import keras
import pytest
from keras import layers

from maskwright.errors import WrongArgument
from maskwright.networks import build_unet
from maskwright.networks.argument_checks import check_dropout
from maskwright.networks.blocks import DECODER_BLOCKS, batch_norm, conv_bn_relu, torch_batch_norm
from maskwright.networks.head import mask_head

SKIPS = ["half"]


def tiny_encoder(*, size: tuple[int | None, int | None] = (16, 24)) -> keras.Model:
    images = keras.Input((*size, 3))
    x = layers.Conv2D(4, 3, 2, padding="same", name="half")(images)
    return keras.Model(images, layers.Conv2D(6, 3, 2, padding="same", name="quarter")(x), name="tiny")


@pytest.mark.parametrize(
    ("norm", "momentum", "epsilon"), [(batch_norm, 0.99, 1e-3), (torch_batch_norm, 0.9, 1e-5)], ids=["keras", "torch"]
)
@pytest.mark.parametrize("block_type", DECODER_BLOCKS)
def test_every_normalisation_of_the_decoder_comes_from_the_factory(block_type, norm, momentum, epsilon):
    network = build_unet(tiny_encoder(), 1, SKIPS, (8, 4), n_upsample_blocks=2, block_type=block_type, norm=norm)
    norms = [layer for layer in network.layers if isinstance(layer, layers.BatchNormalization)]
    assert len(norms) == 4
    assert {(layer.momentum, layer.epsilon) for layer in norms} == {(momentum, epsilon)}


def test_any_layer_factory_is_a_normalisation():
    group_norm = partial(layers.GroupNormalization, groups=2)
    network = build_unet(tiny_encoder(), 1, SKIPS, (8, 4), n_upsample_blocks=2, norm=group_norm)
    assert type(network.get_layer("decoder_stage0a_bn")) is layers.GroupNormalization
    assert not network.get_layer("decoder_stage0a_conv").use_bias


def test_factory_is_not_called_without_normalisation():
    network = build_unet(tiny_encoder(), 1, SKIPS, (8, 4), (2, 2), 2, "upsampling", "sigmoid", False, norm=batch_norm)
    assert not [layer for layer in network.layers if isinstance(layer, layers.BatchNormalization)]
    assert network.get_layer("decoder_stage0a_conv").use_bias


@pytest.mark.parametrize("size", [1, 3, 5])
def test_convolution_of_any_kernel_size_keeps_the_image_size(size):
    x = keras.Input((16, 24, 3))
    y = conv_bn_relu(x, 7, size=size, norm=batch_norm, name="a")
    network = keras.Model(x, y)
    assert [layer.name for layer in network.layers[1:]] == ["a_conv", "a_bn", "a_relu"]
    assert network.get_layer("a_conv").kernel_size == (size, size)
    assert y.shape == (None, 16, 24, 7)


def test_head_is_convolution_upsampling_and_activation():
    x = keras.Input((16, 24, 3))
    enlarge = layers.UpSampling2D(8, interpolation="bilinear", dtype="float32", name="final_upsampling")
    y = mask_head(x, 2, activation="softmax", size=1, upsampling=enlarge, name="head_conv", output_name="masks")
    network = keras.Model(x, y)
    assert [layer.name for layer in network.layers[1:]] == ["head_conv", "final_upsampling", "masks"]
    assert network.get_layer("head_conv").kernel_size == (1, 1)
    assert y.shape == (None, 128, 192, 2)


@pytest.mark.parametrize("rate", [1, -0.1, "0.5", True, float("nan")])
def test_dropout_rate_outside_0_to_1_is_an_error(rate):
    with pytest.raises(WrongArgument, match=r"^dropout=.*: expected .* 0 .* 1.*None"):
        build_unet(tiny_encoder(), 1, SKIPS, (8, 4), n_upsample_blocks=2, dropout=rate)


def test_dropout_rate_of_0_or_none_is_accepted():
    check_dropout("dropout", None)
    check_dropout("dropout", 0)
