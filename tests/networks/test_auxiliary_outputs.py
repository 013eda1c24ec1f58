"""Hypercolumns, auxiliary outputs for training, and the network without them."""

from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from maskwright.errors import WrongArgument
from maskwright.networks import build_unet
from maskwright.networks.auxiliary_outputs import deep_supervision_masks, hypercolumn_features, mask_only, presence_head
from tests.networks.numpy_unet import logistic
from tests.networks.randomise import infer, randomise

FILTERS = (12, 8, 4)
ALL: dict[str, Any] = {
    "attention": "scse",
    "hypercolumn": True,
    "deep_supervision": True,
    "classification_head": True,
    "dropout": 0.3,
}


def build(*, size: tuple[int | None, int | None] = (32, 48), classes: int = 1, **options: Any) -> keras.Model:
    images = keras.Input((*size, 3), name="images")
    half = layers.Conv2D(4, 3, 2, padding="same", activation="relu", name="half")(images)
    quarter = layers.Conv2D(6, 3, 2, padding="same", activation="relu", name="quarter")(half)
    deepest = layers.Conv2D(10, 3, 2, padding="same", activation="relu", name="deepest")(quarter)
    encoder = keras.Model(images, deepest, name="tiny")
    return build_unet(encoder, classes, ["quarter", "half"], FILTERS, n_upsample_blocks=3, **options)


@pytest.fixture(scope="module")
def trained_with_all() -> keras.Model:
    return randomise(build(**ALL))


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(3).normal(size=(2, 32, 48, 3)).astype("float32")


def upsampled(x: np.ndarray, scale: int) -> np.ndarray:
    """Upsample bilinearly: output pixel i is at (i + 1/2) / scale - 1/2 of the input, clipped at the borders."""
    for axis in (1, 2):
        length = x.shape[axis]
        places = np.clip((np.arange(length * scale) + 0.5) / scale - 0.5, 0, length - 1)
        low = np.floor(places).astype(int)
        high = np.minimum(low + 1, length - 1)
        share = (places - low).reshape([-1 if i == axis else 1 for i in range(4)])
        x = x.take(low, axis) * (1 - share) + x.take(high, axis) * share
    return x


def test_hypercolumn_concatenates_all_feature_maps_at_the_last_size():
    rng = np.random.default_rng(4)
    maps = [
        rng.normal(size=(2, 24 // scale, 12 // scale, c)).astype("float32") for scale, c in ((6, 5), (2, 3), (1, 2))
    ]
    sources = [keras.Input(x.shape[1:]) for x in maps]
    network = keras.Model(sources, hypercolumn_features(sources, scales=(6, 2, 1)))
    expected = np.concatenate([upsampled(maps[0], 6), upsampled(maps[1], 2), maps[2]], axis=-1)
    np.testing.assert_allclose(infer(network, maps), expected, atol=1e-5)


def test_head_takes_the_hypercolumn_of_all_blocks():
    network = build(hypercolumn=True, upsample_rates=(2, 2, 2))
    stacked = network.get_layer("hypercolumn_concat")
    assert network.get_layer("final_conv").input is stacked.output
    assert stacked.output.shape == (None, 32, 48, sum(FILTERS))
    assert [network.get_layer(f"hypercolumn_upsampling{i}").factor for i in (0, 1)] == [4, 2]
    for level in (0, 1):
        enlarging = network.get_layer(f"hypercolumn_upsampling{level}")
        assert enlarging.input is network.get_layer(f"decoder_stage{level}b_relu").output


def test_stage_output_is_a_1x1_convolution_upsampled_before_its_activation():
    x = np.random.default_rng(6).normal(size=(2, 3, 4, 5)).astype("float32")
    source = keras.Input(x.shape[1:])
    network = randomise(
        keras.Model(source, deep_supervision_masks([source], scales=[4], classes=2, activation="sigmoid"))
    )
    kernel, bias = (np.asarray(keras.ops.convert_to_numpy(weight)) for weight in network.weights)
    found = np.asarray(keras.ops.convert_to_numpy(network(x)["mask_stage0"]))
    np.testing.assert_allclose(found, logistic(upsampled(x @ kernel[0, 0] + bias, 4)), atol=1e-5)


def test_presence_is_a_logistic_regression_on_feature_means():
    x = np.random.default_rng(7).normal(size=(3, 4, 2, 6)).astype("float32")
    source = keras.Input(x.shape[1:])
    network = randomise(keras.Model(source, presence_head(source)))
    kernel, bias = (np.asarray(keras.ops.convert_to_numpy(weight)) for weight in network.weights)
    np.testing.assert_allclose(infer(network, x), logistic(x.mean(axis=(1, 2)) @ kernel + bias), atol=1e-6)


def test_presence_takes_the_output_of_the_encoder(trained_with_all):
    assert trained_with_all.get_layer("presence_pool").input is trained_with_all.get_layer("deepest").output


def test_outputs_have_names_and_masks_have_full_size(trained_with_all):
    shapes = {name: output.shape for name, output in trained_with_all.output.items()}
    assert shapes == {
        **dict.fromkeys(["mask", "mask_stage0", "mask_stage1"], (None, 32, 48, 1)),
        "presence": (None, 1),
    }


@pytest.mark.parametrize(
    ("option", "names"),
    [("deep_supervision", {"mask", "mask_stage0", "mask_stage1"}), ("classification_head", {"mask", "presence"})],
)
def test_each_auxiliary_output_can_be_enabled_alone(option, names):
    network = build(size=(None, None), classes=3, activation="softmax", **{option: True})
    outputs = network(np.zeros((1, 16, 8, 3), "float32"))
    assert set(outputs) == names
    assert {outputs[name].shape for name in names - {"presence"}} == {(1, 16, 8, 3)}
    assert mask_only(network).output_shape == (None, None, None, 3)


def test_network_of_variable_size_predicts_several_sizes():
    network = build(size=(None, None), hypercolumn=True, deep_supervision=True)
    for side in (16, 24):
        outputs = network.predict(np.zeros((1, side, 32, 3), "float32"), verbose=0)
        assert {output.shape for output in outputs.values()} == {(1, side, 32, 1)}


@pytest.mark.parametrize("option", [{"hypercolumn": True}, {"dropout": 0.3}, {"attention": "scse"}])
def test_other_options_keep_a_single_unnamed_output(option):
    network = build(**option)
    assert network.output_shape == (None, 32, 48, 1)
    assert mask_only(network) is network


def test_auxiliary_outputs_do_not_change_layers_and_mask():
    plain, further = build(), build(deep_supervision=True, classification_head=True)
    pruned = mask_only(further)
    assert [layer.name for layer in pruned.layers] == [layer.name for layer in plain.layers]
    assert pruned.count_params() == plain.count_params()


def test_mask_only_returns_the_mask_and_shares_the_weights(trained_with_all, images):
    alone = mask_only(trained_with_all)
    mask = np.asarray(keras.ops.convert_to_numpy(trained_with_all(images)["mask"]))
    np.testing.assert_array_equal(infer(alone, images), mask)
    of_all = {id(weight) for weight in trained_with_all.weights}
    assert {id(weight) for weight in alone.weights} < of_all


def test_mask_only_of_a_network_without_a_mask_is_an_error():
    source = keras.Input((4, 4, 1))
    with pytest.raises(WrongArgument, match=r"^network=.*'mask'"):
        mask_only(keras.Model(source, {"map": source}))


def test_dropout_drops_whole_channels_and_only_in_training(trained_with_all):
    dropout = trained_with_all.get_layer("final_dropout")
    assert dropout.output is trained_with_all.get_layer("final_conv").input
    ones = np.ones((8, 4, 6, 24), "float32")
    found = np.asarray(keras.ops.convert_to_numpy(dropout(ones, training=True)))
    assert 0.1 < (found == 0).mean() < 0.5
    np.testing.assert_array_equal(found, np.broadcast_to(found[:, :1, :1], found.shape))
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(dropout(ones, training=False)), ones)


def test_one_step_with_all_options_changes_every_weight(images):
    network = randomise(build(**ALL))
    for layer in network.layers:
        if layer.name.endswith("se_reduce"):
            layer.bias.assign([3.0])  # keeps the only unit of the ReLU active
    loss = "binary_crossentropy"
    network.compile(optimizer=keras.optimizers.SGD(1.0), loss=dict.fromkeys(network.output, loss))
    masks = np.random.default_rng(8).integers(0, 2, size=(2, 32, 48, 1)).astype("float32")
    truth = dict.fromkeys(network.output, masks) | {"presence": np.float32([[1], [0]])}
    weights = network.trainable_weights
    before = [np.array(keras.ops.convert_to_numpy(weight)) for weight in weights]
    losses = network.train_on_batch(images, truth, return_dict=True)
    assert set(losses) == {"loss", *(f"{name}_loss" for name in truth)}
    assert np.isfinite(list(losses.values())).all()
    after = [np.array(keras.ops.convert_to_numpy(weight)) for weight in weights]
    assert not [w.path for w, one, other in zip(weights, before, after, strict=True) if (one == other).all()]


def test_saved_network_has_the_same_outputs(trained_with_all, images, tmp_path):
    trained_with_all.save(tmp_path / "all.keras")
    mask_only(trained_with_all).save(tmp_path / "mask.keras")
    again = keras.saving.load_model(tmp_path / "all.keras")
    expected, found = trained_with_all(images), again(images)
    assert set(found) == set(expected)
    for name in expected:
        np.testing.assert_allclose(*map(keras.ops.convert_to_numpy, (found[name], expected[name])), atol=1e-6)
    alone = keras.saving.load_model(tmp_path / "mask.keras")
    np.testing.assert_allclose(infer(alone, images), infer(mask_only(again), images), atol=1e-6)


def test_every_output_is_float32_in_mixed_precision():
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        network = build(**ALL)
    finally:
        keras.config.set_dtype_policy(before)
    precision = {layer.name: layer.compute_dtype for layer in network.layers}
    assert (precision["decoder_stage0a_conv"], precision["hypercolumn_upsampling0"]) == ("bfloat16", "bfloat16")
    assert (precision["mask_stage0_conv"], precision["mask_stage0_upsampling"]) == ("float32", "float32")
    assert {output.dtype for output in network.output.values()} == {"float32"}
