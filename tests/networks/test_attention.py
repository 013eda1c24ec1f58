"""scSE attention against NumPy, and its position in the decoder."""

import keras
import numpy as np
import pytest
from keras import layers

from maskwright.errors import UnknownChoice
from maskwright.networks import build_unet
from maskwright.networks.attention import scse
from tests.networks.numpy_unet import logistic, relu
from tests.networks.randomise import infer, randomise


def encoder() -> keras.Model:
    images = keras.Input((16, 24, 3))
    x = layers.Conv2D(4, 3, 2, padding="same", name="half")(images)
    return keras.Model(images, layers.Conv2D(6, 3, 2, padding="same")(x))


@pytest.mark.parametrize(("channels", "hidden"), [(48, 3), (40, 2), (16, 1), (8, 1)])
def test_scse_is_the_sum_of_channel_and_spatial_attention(channels, hidden):
    source = keras.Input((None, None, channels))
    network = randomise(keras.Model(source, scse(source, name="a")))
    x = np.random.default_rng(5).normal(size=(2, 5, 7, channels)).astype("float32")

    weights = {weight.path: np.asarray(keras.ops.convert_to_numpy(weight)) for weight in network.weights}
    assert weights["a_se_reduce/kernel"].shape == (1, 1, channels, hidden)
    squeezed = relu(x.mean(axis=(1, 2)) @ weights["a_se_reduce/kernel"][0, 0] + weights["a_se_reduce/bias"])
    of_channel = logistic(squeezed @ weights["a_se_expand/kernel"][0, 0] + weights["a_se_expand/bias"])
    of_pixel = logistic(x @ weights["a_pixel_gate/kernel"][0, 0] + weights["a_pixel_gate/bias"])
    assert of_pixel.shape == (2, 5, 7, 1)

    expected = x * of_channel[:, None, None, :] + x * of_pixel
    np.testing.assert_allclose(infer(network, x), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("block_type", "before"), [("upsampling", "decoder_stage0a_conv"), ("transpose", "decoder_stage0b_conv")]
)
def test_block_applies_attention_after_concatenation_and_at_its_end(block_type, before):
    network = build_unet(encoder(), 1, ["half"], (8, 4), n_upsample_blocks=2, block_type=block_type, attention="scse")
    joined, given = (network.get_layer(f"decoder_stage0_attention{place}_add") for place in (1, 2))
    assert network.get_layer("decoder_stage0_attention1_pixel_gate").input is (
        network.get_layer("decoder_stage0_concat").output
    )
    assert network.get_layer(before).input is joined.output
    assert network.get_layer("decoder_stage0_attention2_pixel_gate").input is (
        network.get_layer("decoder_stage0b_relu").output
    )
    following = "decoder_stage1_upsampling" if block_type == "upsampling" else "decoder_stage1a_transpose"
    assert network.get_layer(following).input is given.output


def test_block_without_a_skip_applies_attention_once():
    network = build_unet(encoder(), 1, ["half"], (8, 4), n_upsample_blocks=2, attention="scse")
    names = {layer.name for layer in network.layers}
    assert "decoder_stage1_attention2_add" in names
    assert not any(name.startswith("decoder_stage1_attention1") for name in names)


def test_unknown_attention_is_an_error_with_the_known_names():
    with pytest.raises(UnknownChoice, match=r"^attention='cse' .*one of scse\."):
        build_unet(encoder(), 1, ["half"], (8, 4), n_upsample_blocks=2, attention="cse")  # type: ignore[arg-type]
