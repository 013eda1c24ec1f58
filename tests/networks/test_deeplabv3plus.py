"""The DeepLabV3+'s decoder: its arithmetic against torch's functions, its layers, and what it refuses."""

import keras
import numpy as np
import pytest

from maskwright.errors import WrongArgument
from maskwright.networks.deeplabv3plus import build_deeplabv3plus
from tests.networks.randomise import answer, difference, randomise
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
def test_the_logits_are_those_of_torchs_functions(end, factor, size, use_batchnorm):
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
    assert difference(expected, answer(network, images)) < 1e-4


def test_the_defaults_are_the_torch_librarys(encoder):
    found = decoder_layers(build_deeplabv3plus(encoder, 1, ["quarter"]), encoder)
    rates = [found[f"decoder_aspp_0_convs_{i}_depthwise"].dilation_rate for i in (1, 2, 3)]
    assert rates == [(12, 12), (24, 24), (36, 36)]
    assert found["decoder_aspp_1_conv"].filters == 256
    assert found["decoder_block1_conv"].filters == 48
    assert found["decoder_aspp_0_dropout"].rate == 0.5
    norms = {(layer.epsilon, layer.momentum) for name, layer in found.items() if name.endswith("_bn")}
    assert norms == {(1e-5, 0.9)}


def test_without_dropout_there_is_no_such_layer(encoder):
    found = decoder_layers(build_deeplabv3plus(encoder, 1, ["quarter"], aspp_dropout=0.0), encoder)
    assert "decoder_aspp_0_dropout" not in found


def test_a_depthwise_kernel_begins_as_torchs_does(encoder):
    """A pixel is made of nine: he_uniform then reaches to sqrt(6 / 9), however many channels there are."""
    kernel = build_deeplabv3plus(encoder, 1, ["quarter"]).get_layer("decoder_aspp_1_depthwise").kernel
    assert np.abs(keras.ops.convert_to_numpy(kernel)).max() == pytest.approx(np.sqrt(6 / 9), rel=0.01)


@pytest.mark.parametrize(("skips", "expected"), [([], "expected one layer"), (SKIPS, "expected at most 1 layers")])
def test_other_than_one_skip_is_refused(encoder, skips, expected):
    with pytest.raises(WrongArgument, match=f"skip_connection_layers=.*: {expected}"):
        build_deeplabv3plus(encoder, 1, skips)


def test_a_size_that_the_stride_does_not_divide_is_told_so():
    text = r"=\(None, 15, 24, 10\): expected a map a whole number of times as high and wide.*Give an image size that"
    with pytest.raises(WrongArgument, match=text):
        build_deeplabv3plus(tiny_encoder(60, 96), 1, ["quarter"])


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"decoder_channels": 0}, "decoder_channels=0: expected an integer of at least 1"),
        ({"atrous_rates": ()}, r"atrous_rates=\(\): expected a list of integers of at least 1"),
        ({"atrous_rates": (12, -1)}, r"atrous_rates=\(12, -1\): expected a list of integers of at least 1"),
        ({"aspp_dropout": -0.1}, "aspp_dropout=-0.1: expected a number of at least 0 and below 1"),
    ],
)
def test_a_number_out_of_its_range_is_refused(encoder, options, text):
    with pytest.raises(WrongArgument, match=text):
        build_deeplabv3plus(encoder, 1, ["quarter"], **options)
