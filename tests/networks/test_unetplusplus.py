"""The U-Net++ decoder: outputs against torch, layers and errors."""

import keras
import pytest
from keras import layers

from maskwright.errors import UnknownChoice, WrongArgument
from maskwright.networks.blocks import SkipSizeMismatch, batch_norm
from maskwright.networks.unetplusplus import build_unetplusplus
from tests.networks.randomise import difference, infer, randomise
from tests.networks.tiny import SKIPS, WIDTHS, decoder_layers, noise, tiny_encoder

FILTERS = (9, 8, 7, 5, 4)


def encoder_with_full_size_skip() -> keras.Model:
    """Build an encoder with a fifth skip connection at full size, like a VGG."""
    images = keras.Input((64, 96, 3))
    x = layers.Conv2D(5, 3, padding="same", activation="relu", name="full")(images)
    for name, width in WIDTHS.items():
        x = layers.Conv2D(width, 3, 2, padding="same", activation="relu", name=name)(x)
    return keras.Model(images, x, name="tiny")


@pytest.fixture(scope="module")
def encoder():
    return tiny_encoder(64, 96)


@pytest.mark.parametrize(
    ("names", "filters", "use_batchnorm"),
    [(SKIPS, FILTERS, True), (SKIPS, FILTERS, False), (SKIPS[:2], FILTERS, True), (SKIPS[:3], FILTERS[:3], True)],
    ids=["four skips", "biased", "two skips", "as many skips as blocks"],
)
def test_logits_equal_those_of_torch(encoder, names, filters, use_batchnorm):
    from tests.networks.torch_decoders import Reference

    network = build_unetplusplus(
        encoder, 2, names, decoder_filters=filters, activation=None, use_batchnorm=use_batchnorm
    )
    images = noise(64, 96)
    expected = Reference(randomise(network, seed=3), images, "end", *names).unetplusplus(blocks=len(filters))
    assert expected.shape == (2, 2 * 2 ** len(filters), 3 * 2 ** len(filters), 2)
    assert difference(expected, infer(network, images)) < 1e-4


def test_fifth_skip_is_concatenated_at_full_size():
    from tests.networks.torch_decoders import Reference

    names = (*SKIPS, "full")
    network = build_unetplusplus(encoder_with_full_size_skip(), 2, names, decoder_filters=FILTERS, activation=None)
    images = noise(64, 96)
    expected = Reference(randomise(network, seed=3), images, "end", *names).unetplusplus(blocks=5)
    assert expected.shape == (2, 64, 96, 2)
    assert difference(expected, infer(network, images)) < 1e-4


def test_blocks_have_the_channels_and_epsilon_of_smp(encoder):
    found = decoder_layers(build_unetplusplus(encoder, 1, SKIPS, decoder_filters=FILTERS), encoder)
    widths = {
        **{f"x_0_{level}": filters for level, filters in enumerate(FILTERS)},
        **{f"x_{column}_{level}": WIDTHS[SKIPS[level]] for level in range(4) for column in range(1, level + 1)},
    }
    convs = {name: layer.filters for name, layer in found.items() if name.endswith("_conv") and name != "final_conv"}
    assert convs == {f"decoder_{block}{half}_conv": width for block, width in widths.items() for half in "ab"}
    norms = [layer for name, layer in found.items() if name.endswith("_bn")]
    assert {(norm.epsilon, norm.momentum) for norm in norms} == {(1e-5, 0.9)}
    assert len(norms) == len(convs) == 22


def test_normalisation_comes_from_the_factory(encoder):
    network = build_unetplusplus(encoder, 1, SKIPS[:1], decoder_filters=(4,), norm=batch_norm)
    assert network.get_layer("decoder_x_0_0a_bn").epsilon == 1e-3


def test_attention_is_after_concatenation_and_at_the_end_of_blocks(encoder):
    network = build_unetplusplus(encoder, 1, SKIPS[:2], decoder_filters=(9, 8, 7), attention="scse")
    gates = [layer.name for layer in network.layers if layer.name.endswith("_pixel_gate")]
    blocks = ["x_0_0", "x_1_1", "x_0_1", "x_0_2"]
    expected = [f"decoder_{block}_attention{place}_pixel_gate" for block in blocks for place in (1, 2)]
    expected.remove("decoder_x_0_2_attention1_pixel_gate")  # it joins nothing
    assert sorted(gates) == sorted(expected)


def test_unusable_decoder_filters_are_an_error(encoder):
    for given in ((), (4, 0), 4):
        with pytest.raises(WrongArgument, match=r"decoder_filters=.*: expected a list with an integer of at least 1"):
            build_unetplusplus(encoder, 1, SKIPS, decoder_filters=given)


def test_more_skips_than_blocks_are_an_error(encoder):
    with pytest.raises(WrongArgument, match=r"skip_connection_layers=.*: expected at most 3 "):
        build_unetplusplus(encoder, 1, SKIPS, decoder_filters=FILTERS[:3])


def test_unknown_attention_is_an_error(encoder):
    with pytest.raises(UnknownChoice, match=r"attention='scsi'.*'scse'"):
        build_unetplusplus(encoder, 1, SKIPS, attention="scsi")


def test_skips_in_the_wrong_order_are_an_error(encoder):
    with pytest.raises(SkipSizeMismatch, match=r"decoder_x_0_0 .*32 x 48 pixels"):
        build_unetplusplus(encoder, 1, SKIPS[::-1], decoder_filters=FILTERS)
