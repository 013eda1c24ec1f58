"""The DeepLabV3+ decoder: outputs against torch, layers and errors."""

import keras
import numpy as np
import pytest

from maskwright.errors import WrongArgument
from maskwright.networks.deeplabv3plus import build_deeplabv3plus
from tests.networks.randomise import difference, infer, randomise
from tests.networks.tiny import SKIPS, decoder_layers, noise, tiny_encoder


def encoder_up_to(end: str, *size: int | None) -> keras.Model:
    tiny = tiny_encoder(*size)
    return keras.Model(tiny.input, tiny.get_layer(end).output, name="tiny")


@pytest.fixture(scope="module")
def encoder():
    return tiny_encoder(64, 96)


@pytest.mark.parametrize(
    ("end", "factor", "size", "use_batchnorm"),
    [
        ("sixteenth", 4, (None, None), True),
        ("sixteenth", 4, (64, 96), False),
        ("end", 8, (None, None), True),
        ("eighth", 2, (64, 96), True),
    ],
)
def test_logits_equal_those_of_torch(end, factor, size, use_batchnorm):
    from tests.networks.torch_decoders import Reference

    network = build_deeplabv3plus(
        encoder_up_to(end, *size),
        2,
        ["quarter"],
        decoder_channels=11,
        atrous_rates=(1, 2, 3),
        activation=None,
        use_batchnorm=use_batchnorm,
    )
    images = noise(64, 96)
    reference = Reference(randomise(network, seed=3), images, end, "quarter")
    expected = reference.deeplabv3plus(rates=(1, 2, 3), factor=factor)
    assert expected.shape == (2, 64, 96, 2)
    assert difference(expected, infer(network, images)) < 1e-4


def test_defaults_are_those_of_segmentation_models_pytorch(encoder):
    found = decoder_layers(build_deeplabv3plus(encoder, 1, ["quarter"]), encoder)
    rates = [found[f"decoder_aspp_0_convs_{i}_depthwise"].dilation_rate for i in (1, 2, 3)]
    assert rates == [(12, 12), (24, 24), (36, 36)]
    assert found["decoder_aspp_1_conv"].filters == 256
    assert found["decoder_block1_conv"].filters == 48
    assert found["decoder_aspp_0_dropout"].rate == 0.5
    norms = {(layer.epsilon, layer.momentum) for name, layer in found.items() if name.endswith("_bn")}
    assert norms == {(1e-5, 0.9)}


def test_dropout_of_0_adds_no_layer(encoder):
    found = decoder_layers(build_deeplabv3plus(encoder, 1, ["quarter"], aspp_dropout=0.0), encoder)
    assert "decoder_aspp_0_dropout" not in found


def test_depthwise_kernel_is_initialised_as_in_torch(encoder):
    """With a fan-in of nine pixels, the bound of he_uniform is sqrt(6 / 9) for any number of channels."""
    kernel = build_deeplabv3plus(encoder, 1, ["quarter"]).get_layer("decoder_aspp_1_depthwise").kernel
    assert np.abs(keras.ops.convert_to_numpy(kernel)).max() == pytest.approx(np.sqrt(6 / 9), rel=0.01)


@pytest.mark.parametrize(("skips", "expected"), [([], "expected one"), (SKIPS, "expected at most 1 ")])
def test_number_of_skips_other_than_one_is_an_error(encoder, skips, expected):
    with pytest.raises(WrongArgument, match=f"skip_connection_layers=.*: {expected}"):
        build_deeplabv3plus(encoder, 1, skips)


def test_size_not_divisible_by_the_stride_is_an_error():
    text = r"=\(None, 15, 24, 10\): expected .*multiples.*image size"
    with pytest.raises(WrongArgument, match=text):
        build_deeplabv3plus(tiny_encoder(60, 96), 1, ["quarter"])


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"decoder_channels": 0}, "decoder_channels=0: expected .*integer.* 1"),
        ({"atrous_rates": ()}, r"atrous_rates=\(\): expected .*integers.* 1"),
        ({"atrous_rates": (12, -1)}, r"atrous_rates=\(12, -1\): expected .*integers.* 1"),
        ({"aspp_dropout": -0.1}, "aspp_dropout=-0.1: expected .* 0 .* 1"),
    ],
)
def test_number_out_of_range_is_an_error(encoder, options, text):
    with pytest.raises(WrongArgument, match=text):
        build_deeplabv3plus(encoder, 1, ["quarter"], **options)
