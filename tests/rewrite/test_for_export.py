"""A rewritten network answers as the one it was made from, has the layers it should have, and leaves that alone."""

from collections import Counter
from functools import cache

import keras
import numpy as np
import pytest
from keras import layers

from maskwright.errors import WrongArgument
from maskwright.networks import BACKBONES, build_resnet, build_unet
from maskwright.networks.fpn import build_fpn
from maskwright.networks.linknet import build_linknet
from maskwright.networks.unetplusplus import build_unetplusplus
from maskwright.rewrite.for_export import rewrite
from tests.networks.randomise import answer, randomise
from tests.networks.tiny import SKIPS, noise, pooled_encoder, tiny_encoder
from tests.rewrite.graphs import SIZE, RandomGraph

FILTERS = (24, 16, 12, 8, 6)
SEEDS = range(12)
TAKEN_IN = ("ZeroPadding2D", "BatchNormalization", "UpSampling2D", "Concatenate", "GroupedConv2D")
MET: Counter[str] = Counter()  # layers that the rewrites of the random networks took in


def vgg_like():
    return build_unet(pooled_encoder(None, None), 2, SKIPS, FILTERS)


def resnet(**decoder):
    encoder = build_resnet(units=(1, 1, 1, 1), include_top=False, input_shape=(None, None, 3))
    return build_unet(encoder, 2, BACKBONES["resnet34"].skips, FILTERS, **decoder)


NETWORKS = {
    "unet": lambda: build_unet(tiny_encoder(None, None), 2, SKIPS, FILTERS, activation="softmax"),
    "unet biased": lambda: build_unet(tiny_encoder(None, None), 2, SKIPS, FILTERS, use_batchnorm=False),
    "unet without skips": lambda: build_unet(tiny_encoder(None, None), 2, [], FILTERS),
    "unet with attention": lambda: build_unet(tiny_encoder(None, None), 2, SKIPS, FILTERS, attention="scse"),
    "unet with further outputs": lambda: build_unet(
        tiny_encoder(None, None), 2, SKIPS, FILTERS, deep_supervision=True, empty_head=True, hypercolumn=True
    ),
    "unet of transpose blocks": lambda: build_unet(tiny_encoder(None, None), 2, SKIPS, FILTERS, block_type="transpose"),
    "unet of rates 2 and 4": lambda: build_unet(
        tiny_encoder(None, None), 2, SKIPS[1::2], FILTERS, upsample_rates=(4, 4, 2), n_upsample_blocks=3
    ),
    "unet on a vgg": vgg_like,
    "unet on a resnet": resnet,
    "unet++": lambda: build_unetplusplus(tiny_encoder(None, None), 2, SKIPS, decoder_filters=FILTERS),
    "linknet": lambda: build_linknet(tiny_encoder(None, None), 2, SKIPS),
    "fpn": lambda: build_fpn(tiny_encoder(None, None), 2, SKIPS, pyramid_block_filters=8),
    "fpn joined": lambda: build_fpn(
        tiny_encoder(None, None), 2, SKIPS, pyramid_block_filters=8, pyramid_aggregation="concat"
    ),
}


@cache
def before_and_after(name):
    network = randomise(NETWORKS[name]())
    return network, rewrite(network)


def largest_difference(one, other, images):
    """Between two networks' answers, in units of the largest value."""
    answers = [keras.tree.flatten(network(images, training=False)) for network in (one, other)]
    pairs = [[keras.ops.convert_to_numpy(x) for x in pair] for pair in zip(*answers, strict=True)]
    return max(float(np.abs(ours - theirs).max() / np.abs(theirs).max()) for ours, theirs in pairs)


def kinds(network):
    return Counter(type(layer).__name__ for layer in network.layers)


@pytest.mark.parametrize("name", NETWORKS)
def test_every_architecture_answers_the_same(name):
    network, again = before_and_after(name)
    assert largest_difference(again, network, noise(96, 160)) < 1e-5  # the smallest maps are 3 x 5
    assert again.name == network.name
    assert [(x.name, x.shape) for x in again.inputs] == [(x.name, x.shape) for x in network.inputs]


@pytest.mark.parametrize("seed", SEEDS)
def test_random_networks_answer_the_same(seed):
    network = RandomGraph(seed).network()
    again = rewrite(network)
    assert largest_difference(again, network, noise(*SIZE)) < 1e-5
    MET.update(kinds(network) - kinds(again))


def test_the_random_networks_met_every_rule():
    """Else they would prove nothing."""
    assert min(MET[kind] for kind in TAKEN_IN) > 2


def test_a_unet_has_no_layer_left_that_a_convolution_can_do():
    network, again = before_and_after("unet on a resnet")
    left = kinds(again)
    assert left["UpSampling2D"] == left["Concatenate"] == 0
    assert left["Conv2DTranspose"] == 5
    assert left["Add"] == kinds(network)["Add"] + 4  # one for each skip
    # Those of images, pooled maps and sums: the first, the first of each unit, and the last.
    assert left["BatchNormalization"] == 1 + 4 + 1
    # Those before a stride of two: of the first convolution and the pooling, and in three of the units.
    assert left["ZeroPadding2D"] == 2 + 3


def test_names_stay_with_the_layers_and_new_weights_with_their_places():
    network, again = before_and_after("unet")
    small, joined = again.get_layer("decoder_stage0_upsampling"), again.get_layer("decoder_stage0a_conv")
    assert small.kernel.shape == (4, 4, 24, 20)
    assert joined.kernel.shape == (3, 3, 14, 24)
    for name in ("half", "final_conv"):
        for ours, theirs in zip(
            again.get_layer(name).get_weights(), network.get_layer(name).get_weights(), strict=True
        ):
            np.testing.assert_array_equal(ours, theirs)


def test_the_network_is_left_as_it_is():
    image = keras.Input((None, None, 3))
    x = layers.BatchNormalization()(layers.Conv2D(4, 3)(layers.ZeroPadding2D(1)(image)))
    x = layers.Concatenate()([layers.UpSampling2D(2)(layers.AveragePooling2D(2)(x)), x])
    network = randomise(keras.Model(image, layers.Conv2D(1, 3, padding="same")(x)))
    network.compile(loss="mse")
    images = noise(32, 64)
    config, weights, said = network.get_config(), network.get_weights(), answer(network, images)
    again = rewrite(network)
    for weight in again.weights:
        weight.assign(keras.ops.zeros_like(weight))
    assert network.get_config() == config
    for now, before in zip(network.get_weights(), weights, strict=True):
        np.testing.assert_array_equal(now, before)
    np.testing.assert_array_equal(answer(network, images), said)
    assert network.compiled
    assert not again.compiled
    assert all(layer.output is not None for layer in network.layers)  # which a layer called again would refuse


def test_what_else_reads_the_enlarged_or_normalised_map_still_gets_it():
    image = keras.Input((10, 14, 3))
    x = layers.Conv2D(4, 3, padding="same")(image)  # read by its normalisation and by the last sum
    y = layers.UpSampling2D(2)(layers.BatchNormalization()(x))  # read by two convolutions
    both = [layers.Conv2D(4, 3, padding="same")(y) for _ in range(2)]
    y = layers.Add()([*both, layers.UpSampling2D(2)(x)])
    network = randomise(keras.Model(image, y))
    again = rewrite(network)
    assert largest_difference(again, network, noise(10, 14)) < 1e-6
    assert kinds(again) == kinds(network)


def test_an_output_in_the_middle_is_still_given():
    image = keras.Input((10, 14, 3))
    x = layers.Conv2D(4, 3, padding="same")(image)
    up = layers.UpSampling2D(2)(layers.BatchNormalization()(x))
    network = randomise(keras.Model(image, [layers.Conv2D(4, 3, padding="same")(up), up, x]))
    again = rewrite(network)
    assert largest_difference(again, network, noise(10, 14)) < 1e-6
    assert kinds(again) == kinds(network)


def test_shared_layers_and_models_inside_stay():
    inner_image = keras.Input((10, 14, 3))
    inner = layers.BatchNormalization()(layers.Conv2D(3, 3, padding="same")(inner_image))
    inner = keras.Model(inner_image, inner, name="inner")
    conv, norm, up = layers.Conv2D(3, 3, padding="same"), layers.BatchNormalization(), layers.UpSampling2D(2)
    image = keras.Input((10, 14, 3))
    x = norm(conv(up(inner(layers.Conv2D(3, 3)(layers.ZeroPadding2D(1)(image))))))
    y = norm(conv(up(layers.BatchNormalization()(inner(x[:, ::2, ::2])))))
    network = randomise(keras.Model(image, x + 2 * y))
    again = rewrite(network)
    assert largest_difference(again, network, noise(10, 14)) < 1e-6
    assert kinds(network) - kinds(again) == {"ZeroPadding2D": 1}
    assert kinds(again.get_layer("inner")) == kinds(inner)
    assert len(again.weights) == len(network.weights)


def test_what_a_shared_layer_reads_later_is_still_given():
    image = keras.Input((10, 14, 3))
    x = layers.Conv2D(3, 3, padding="same")(image)
    shared = layers.PReLU(shared_axes=[1, 2])
    y = layers.Add()([shared(image), shared(x), layers.BatchNormalization()(x)])
    network = randomise(keras.Model(image, layers.BatchNormalization()(layers.Conv2D(3, 3)(y))))
    assert largest_difference(rewrite(network), network, noise(10, 14)) < 1e-6


@pytest.mark.parametrize(
    "take",
    [
        lambda x: layers.Conv2D(4, 3)(layers.ZeroPadding2D(1, data_format="channels_last")(x)),
        lambda x: layers.Conv2D(4, 3, data_format="channels_last")(layers.ZeroPadding2D(1)(x)),
        lambda x: layers.BatchNormalization()(layers.Conv2D(4, 3)(x)),
        lambda x: layers.Conv2D(4, 3, padding="same", data_format="channels_last")(layers.UpSampling2D(2)(x)),
        lambda x: layers.Conv2D(4, 3, padding="same")(layers.UpSampling2D(2, data_format="channels_last")(x)),
    ],
    ids=["padding last", "convolution last", "normalised", "convolved last", "enlarged last"],
)
def test_layers_with_channels_first_stay(take):
    image = keras.Input((6, 6, 6))
    keras.config.set_image_data_format("channels_first")
    try:
        network = keras.Model(image, take(image))
    finally:
        keras.config.set_image_data_format("channels_last")
    assert kinds(rewrite(network)) == kinds(network)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_precision_stays_that_of_the_convolution(policy):
    image = keras.Input((10, 14, 3))
    x = layers.Concatenate(dtype=policy)([layers.UpSampling2D(2, dtype=policy)(image), layers.UpSampling2D(2)(image)])
    x = layers.Conv2D(4, 3, padding="same", activation="relu", dtype=policy, name="half")(x)
    network = randomise(keras.Model(image, layers.Conv2D(2, 3, padding="same", dtype="float32", name="head")(x)))
    again = rewrite(network)
    of_image = [layer for layer in again.layers if layer.name not in ("head", again.layers[0].name)]
    assert {layer.dtype_policy.name for layer in of_image} == {policy}
    assert again.get_layer("head").compute_dtype == "float32"
    assert largest_difference(again, network, noise(10, 14)) < 0.02


def test_a_network_without_a_place_to_rewrite_is_returned():
    image = keras.Input((10, 14, 3))
    network = keras.Model(image, layers.ReLU()(layers.Conv2D(4, 3)(image)))
    assert rewrite(network) is network


@pytest.mark.parametrize(
    "given", [layers.Conv2D(1, 3), keras.Sequential([keras.Input((8, 8, 3)), layers.ReLU()]), None]
)
def test_what_is_no_functional_network_is_refused(given):
    with pytest.raises(WrongArgument, match=r"^network=.*: expected a functional Keras model\.$"):
        rewrite(given)
