"""A network rewritten for export has the same outputs and the expected layers; the original is unchanged."""

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
from maskwright.rewrite.for_export import rewrite_for_export
from tests.networks.randomise import infer, randomise
from tests.networks.tiny import SKIPS, noise, pooled_encoder, tiny_encoder
from tests.rewrite.graphs import SIZE, RandomGraph

FILTERS = (24, 16, 12, 8, 6)
SEEDS = range(12)
TAKEN_IN = ("ZeroPadding2D", "BatchNormalization", "UpSampling2D", "Concatenate", "GroupedConv2D")


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
        tiny_encoder(None, None), 2, SKIPS, FILTERS, deep_supervision=True, classification_head=True, hypercolumn=True
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
    "fpn with concatenation": lambda: build_fpn(
        tiny_encoder(None, None), 2, SKIPS, pyramid_block_filters=8, pyramid_aggregation="concat"
    ),
}


@cache
def original_and_rewritten(name):
    network = randomise(NETWORKS[name]())
    return network, rewrite_for_export(network)


@cache
def random_original_and_rewritten(seed):
    network = RandomGraph(seed).network()
    return network, rewrite_for_export(network)


def largest_difference(ours, theirs, images):
    """Return the largest difference of two networks' outputs, as a fraction of the largest value."""
    outputs = [keras.tree.flatten(network(images, training=False)) for network in (ours, theirs)]
    pairs = [[keras.ops.convert_to_numpy(x) for x in pair] for pair in zip(*outputs, strict=True)]
    return max(float(np.abs(ours - theirs).max() / np.abs(theirs).max()) for ours, theirs in pairs)


def layer_classes(network):
    return Counter(type(layer).__name__ for layer in network.layers)


@pytest.mark.parametrize("name", NETWORKS)
def test_every_architecture_has_the_same_outputs(name):
    network, rewritten = original_and_rewritten(name)
    assert largest_difference(rewritten, network, noise(96, 160)) < 1e-5  # the smallest feature maps are 3 x 5
    assert rewritten.name == network.name
    assert [(x.name, x.shape) for x in rewritten.inputs] == [(x.name, x.shape) for x in network.inputs]


@pytest.mark.parametrize("seed", SEEDS)
def test_random_networks_have_the_same_outputs(seed):
    network, rewritten = random_original_and_rewritten(seed)
    assert largest_difference(rewritten, network, noise(*SIZE)) < 1e-5


def test_every_rule_applies_to_the_random_networks():
    """Otherwise they would test less than they seem to."""
    removed = Counter()
    for network, rewritten in map(random_original_and_rewritten, SEEDS):
        removed.update(layer_classes(network) - layer_classes(rewritten))
    assert min(removed[kind] for kind in TAKEN_IN) > 2


def test_unet_keeps_only_the_layers_that_cannot_be_merged():
    network, rewritten = original_and_rewritten("unet on a resnet")
    remaining = layer_classes(rewritten)
    assert remaining["UpSampling2D"] == remaining["Concatenate"] == 0
    assert remaining["Conv2DTranspose"] == 5
    assert remaining["Add"] == layer_classes(network)["Add"] + 4  # one for each skip
    # Normalisations of the image, of the first layer of each unit, and of the last sum.
    assert remaining["BatchNormalization"] == 1 + 4 + 1
    # Paddings before a stride of two: at the first convolution, at the pooling and in three of the units.
    assert remaining["ZeroPadding2D"] == 2 + 3


def test_layers_keep_their_names_and_weights():
    network, rewritten = original_and_rewritten("unet")
    upsampling, skip = rewritten.get_layer("decoder_stage0_upsampling"), rewritten.get_layer("decoder_stage0a_conv")
    assert upsampling.kernel.shape == (4, 4, 24, 20)
    assert skip.kernel.shape == (3, 3, 14, 24)
    for name in ("half", "final_conv"):
        for ours, theirs in zip(
            rewritten.get_layer(name).get_weights(), network.get_layer(name).get_weights(), strict=True
        ):
            np.testing.assert_array_equal(ours, theirs)


def test_original_network_is_unchanged():
    image = keras.Input((None, None, 3))
    x = layers.BatchNormalization()(layers.Conv2D(4, 3)(layers.ZeroPadding2D(1)(image)))
    x = layers.Concatenate()([layers.UpSampling2D(2)(layers.AveragePooling2D(2)(x)), x])
    network = randomise(keras.Model(image, layers.Conv2D(1, 3, padding="same")(x)))
    network.compile(loss="mse")
    images = noise(32, 64)
    config, weights, outputs = network.get_config(), network.get_weights(), infer(network, images)
    rewritten = rewrite_for_export(network)
    for weight in rewritten.weights:
        weight.assign(keras.ops.zeros_like(weight))
    assert network.get_config() == config
    for new, old in zip(network.get_weights(), weights, strict=True):
        np.testing.assert_array_equal(new, old)
    np.testing.assert_array_equal(infer(network, images), outputs)
    assert network.compiled
    assert not rewritten.compiled
    assert all(layer.output is not None for layer in network.layers)  # an error for a layer that is called twice


def test_layers_with_several_consumers_are_kept():
    image = keras.Input((10, 14, 3))
    x = layers.Conv2D(4, 3, padding="same")(image)  # consumed by its normalisation and by the last sum
    y = layers.UpSampling2D(2)(layers.BatchNormalization()(x))  # consumed by two convolutions
    both = [layers.Conv2D(4, 3, padding="same")(y) for _ in range(2)]
    y = layers.Add()([*both, layers.UpSampling2D(2)(x)])
    network = randomise(keras.Model(image, y))
    rewritten = rewrite_for_export(network)
    assert largest_difference(rewritten, network, noise(10, 14)) < 1e-6
    assert layer_classes(rewritten) == layer_classes(network)


def test_intermediate_outputs_are_kept():
    image = keras.Input((10, 14, 3))
    x = layers.Conv2D(4, 3, padding="same")(image)
    up = layers.UpSampling2D(2)(layers.BatchNormalization()(x))
    network = randomise(keras.Model(image, [layers.Conv2D(4, 3, padding="same")(up), up, x]))
    rewritten = rewrite_for_export(network)
    assert largest_difference(rewritten, network, noise(10, 14)) < 1e-6
    assert layer_classes(rewritten) == layer_classes(network)


def test_shared_layers_and_nested_models_are_kept():
    inner_image = keras.Input((10, 14, 3))
    inner = layers.BatchNormalization()(layers.Conv2D(3, 3, padding="same")(inner_image))
    inner = keras.Model(inner_image, inner, name="inner")
    conv, norm, up = layers.Conv2D(3, 3, padding="same"), layers.BatchNormalization(), layers.UpSampling2D(2)
    image = keras.Input((10, 14, 3))
    x = norm(conv(up(inner(layers.Conv2D(3, 3)(layers.ZeroPadding2D(1)(image))))))
    y = norm(conv(up(layers.BatchNormalization()(inner(x[:, ::2, ::2])))))
    network = randomise(keras.Model(image, x + 2 * y))
    rewritten = rewrite_for_export(network)
    assert largest_difference(rewritten, network, noise(10, 14)) < 1e-6
    assert layer_classes(network) - layer_classes(rewritten) == {"ZeroPadding2D": 1}
    assert layer_classes(rewritten.get_layer("inner")) == layer_classes(inner)
    assert len(rewritten.weights) == len(network.weights)


def test_inputs_of_a_shared_layer_are_kept():
    image = keras.Input((10, 14, 3))
    x = layers.Conv2D(3, 3, padding="same")(image)
    shared = layers.PReLU(shared_axes=[1, 2])
    y = layers.Add()([shared(image), shared(x), layers.BatchNormalization()(x)])
    network = randomise(keras.Model(image, layers.BatchNormalization()(layers.Conv2D(3, 3)(y))))
    assert largest_difference(rewrite_for_export(network), network, noise(10, 14)) < 1e-6


@pytest.mark.parametrize(
    "build",
    [
        lambda x: layers.Conv2D(4, 3)(layers.ZeroPadding2D(1, data_format="channels_last")(x)),
        lambda x: layers.Conv2D(4, 3, data_format="channels_last")(layers.ZeroPadding2D(1)(x)),
        lambda x: layers.BatchNormalization()(layers.Conv2D(4, 3)(x)),
        lambda x: layers.Conv2D(4, 3, padding="same", data_format="channels_last")(layers.UpSampling2D(2)(x)),
        lambda x: layers.Conv2D(4, 3, padding="same")(layers.UpSampling2D(2, data_format="channels_last")(x)),
    ],
    ids=["padding", "padded convolution", "normalisation", "upsampled convolution", "upsampling"],
)
def test_layers_with_channels_first_are_kept(build):
    image = keras.Input((6, 6, 6))
    keras.config.set_image_data_format("channels_first")
    try:
        network = keras.Model(image, build(image))
    finally:
        keras.config.set_image_data_format("channels_last")
    assert layer_classes(rewrite_for_export(network)) == layer_classes(network)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_new_layers_have_the_precision_of_the_convolution(policy):
    image = keras.Input((10, 14, 3))
    x = layers.Concatenate(dtype=policy)([layers.UpSampling2D(2, dtype=policy)(image), layers.UpSampling2D(2)(image)])
    x = layers.Conv2D(4, 3, padding="same", activation="relu", dtype=policy, name="half")(x)
    network = randomise(keras.Model(image, layers.Conv2D(2, 3, padding="same", dtype="float32", name="head")(x)))
    rewritten = rewrite_for_export(network)
    new_layers = [layer for layer in rewritten.layers if layer.name not in ("head", rewritten.layers[0].name)]
    assert {layer.dtype_policy.name for layer in new_layers} == {policy}
    assert rewritten.get_layer("head").compute_dtype == "float32"
    assert largest_difference(rewritten, network, noise(10, 14)) < 0.02


def test_network_without_rewritable_layers_is_returned():
    image = keras.Input((10, 14, 3))
    network = keras.Model(image, layers.ReLU()(layers.Conv2D(4, 3)(image)))
    assert rewrite_for_export(network) is network


@pytest.mark.parametrize(
    "network", [layers.Conv2D(1, 3), keras.Sequential([keras.Input((8, 8, 3)), layers.ReLU()]), None]
)
def test_anything_but_a_functional_network_is_an_error(network):
    with pytest.raises(WrongArgument, match=r"^network=.*functional"):
        rewrite_for_export(network)
