"""From a recipe to a network: every architecture, first weights with the pixels they want, further outputs."""

from inspect import signature
from typing import get_args

import keras
import numpy as np
import pytest

from maskwright.errors import InputError
from maskwright.images.labels import IGNORED, Label
from maskwright.images.normalise import Normalisation
from maskwright.inference.bundle import Bundle
from maskwright.losses.catalogue import loss_of_words
from maskwright.models import ARCHITECTURES
from maskwright.networks import build_backbone, mask_only
from maskwright.rewrite.for_training import rewrite_for_training
from maskwright.training.network import (
    build_network,
    compile_for_training,
    encoder_layers,
    encoder_pixels,
    targets,
)
from maskwright.training.recipe import DOOR_NAMES, NetworkRecipe, Recipe, TrainingRecipe, WrongRecipe
from maskwright.training.train_step import step_of
from tests.networks.randomise import randomise

SMALL = (16, 8, 8, 8, 8)


def bundle_of(channels=3, background=True):
    labels = [Label(name=name, value=value, colour=(value, 0, 0)) for value, name in enumerate("abc")]
    labels[0] = labels[0].model_copy(update={"background": background})
    return Bundle(
        channels=channels,
        pixels=("uint8",),
        normalisation=Normalisation(mean=(0.5,) * channels, std=(0.2,) * channels),
        labels=tuple(labels),
        activation="softmax",
    )


@pytest.mark.parametrize(
    ("architecture", "options"),
    [
        ("unet", {"decoder_filters": SMALL, "decoder_block": "transpose", "dropout": 0.1}),
        ("fpn", {"dropout": 0.1}),
        ("linknet", {"decoder_filters": SMALL}),
        ("pspnet", {}),
        ("unetplusplus", {"decoder_filters": SMALL, "attention": "scse"}),
        ("deeplabv3plus", {}),
    ],
)
def test_every_architecture_of_the_recipe_is_built_for_any_size(architecture, options):
    recipe = NetworkRecipe(architecture=architecture, backbone="resnet18", **options)
    network = build_network(recipe, bundle_of())
    assert network.name == architecture
    assert network.output_shape == (None, None, None, 3)


def test_what_a_recipe_may_ask_of_an_architecture_its_door_takes():
    assert list(DOOR_NAMES) == list(get_args(NetworkRecipe.model_fields["architecture"].annotation))
    for architecture, door in DOOR_NAMES.items():
        assert door.keys() <= NetworkRecipe.model_fields.keys()
        assert set(door.values()) <= set(signature(ARCHITECTURES[architecture]).parameters)
    for name, field in NetworkRecipe.model_fields.items():  # whose descriptions say which architectures take them
        if takers := [architecture for architecture, door in DOOR_NAMES.items() if name in door]:
            assert field.description.split(": ")[0].split(", ") == takers


def test_attention_weighs_the_maps_of_a_unetplusplus():
    recipe = NetworkRecipe(architecture="unetplusplus", backbone="resnet18", decoder_filters=SMALL, attention="scse")
    weighed = build_network(recipe, bundle_of()).count_params()
    plain = build_network(recipe.model_copy(update={"attention": None}), bundle_of()).count_params()
    assert weighed > plain


def test_an_option_of_another_architecture_is_refused():
    with pytest.raises(WrongRecipe, match="attention is an option of unet and unetplusplus, not of fpn"):
        Recipe.from_dict(
            {"data": {"images": "i", "masks": "m"}, "network": {"architecture": "fpn", "attention": "scse"}}
        )


def test_first_weights_come_with_their_pixels(tmp_path):
    encoder = randomise(build_backbone("resnet18_v1"), seed=7)
    encoder.save_weights(tmp_path / "encoder.weights.h5")
    recipe = NetworkRecipe(backbone="resnet18_v1", encoder_weights=str(tmp_path / "encoder.weights.h5"))
    assert encoder_pixels(recipe, bundle_of()).normalisation.mean == pytest.approx((0.485, 0.456, 0.406))
    assert encoder_pixels(recipe, bundle_of(1)).normalisation.std == pytest.approx((0.226,))
    assert encoder_pixels(NetworkRecipe(), bundle_of()) == bundle_of()

    learning = build_network(recipe, bundle_of(), learning=True)
    np.testing.assert_array_equal(learning.get_layer("conv1").kernel, encoder.get_layer("conv1").kernel)
    grey = build_network(recipe, bundle_of(1), learning=True)
    summed = np.sum(encoder.get_layer("conv1").kernel, axis=2, keepdims=True)
    np.testing.assert_allclose(grey.get_layer("conv1").kernel, summed, rtol=1e-6)


def test_a_vgg_learnt_on_bgr_reads_rgb(tmp_path):
    encoder = randomise(build_backbone("vgg16"), seed=7)
    encoder.save_weights(tmp_path / "encoder.weights.h5")
    recipe = NetworkRecipe(backbone="vgg16", encoder_weights=str(tmp_path / "encoder.weights.h5"))
    learning = build_network(recipe, bundle_of(), learning=True)
    kernel = np.array(encoder.get_layer("block1_conv1").kernel)
    np.testing.assert_array_equal(learning.get_layer("block1_conv1").kernel, kernel[:, :, ::-1])
    assert encoder_pixels(recipe, bundle_of()).normalisation.mean == pytest.approx(
        (123.68 / 255, 116.779 / 255, 103.939 / 255)
    )


def test_weights_that_do_not_exist_are_named_by_the_recipes_field():
    with pytest.raises(InputError, match=r"network\.encoder_weights='imagnet'.*Did you mean 'imagenet'"):
        build_network(NetworkRecipe(encoder_weights="imagnet"), bundle_of(), learning=True)


def test_a_frozen_encoder_learns_nothing_but_normalisation():
    network = build_network(
        NetworkRecipe(backbone="resnet18", encoder_freeze=True, decoder_filters=SMALL), bundle_of(), learning=True
    )
    assert not network.get_layer("conv0").trainable_weights
    assert network.get_layer("bn0").trainable_weights
    assert network.get_layer("final_conv").trainable_weights


def test_further_outputs_learn_and_are_left_behind():
    recipe = NetworkRecipe(backbone="resnet18", decoder_filters=SMALL, deep_supervision=True, empty_head=True)
    bundle = bundle_of()
    learning = build_network(recipe, bundle, learning=True)
    compile_for_training(learning, TrainingRecipe(), bundle)
    masks = np.zeros((3, 64, 64), "uint8")
    masks[1, 5, 5] = 2
    masks[2] = IGNORED
    wanted = targets(learning, masks)
    assert set(wanted) == set(learning.output)
    np.testing.assert_array_equal(wanted["present"], [[0], [1], [IGNORED]])
    images = np.random.default_rng(0).normal(size=(3, 64, 64, 3)).astype("float32")
    named = learning.predict_on_batch(images)
    assert float(learning.compute_loss(y=wanted, y_pred=named)) > float(
        learning.compute_loss(y=wanted, y_pred={**named, "present": np.float32([[0], [1], [0.5]])})
    )

    serving = build_network(recipe, bundle)
    serving.set_weights(mask_only(learning).get_weights())
    assert not isinstance(serving.output, dict)
    np.testing.assert_allclose(serving.predict_on_batch(images), named["mask"], atol=1e-5)


@pytest.mark.parametrize("last", [0.01, 0.99])
def test_a_patch_of_which_nothing_is_known_has_no_say_in_whether_patches_are_empty(last):
    recipe = NetworkRecipe(backbone="resnet18", decoder_filters=SMALL, empty_head=True)
    learning = build_network(recipe, bundle_of(), learning=True)
    compile_for_training(learning, TrainingRecipe(loss={"dice": 1.0}), bundle_of())
    masks = np.zeros((3, 32, 32), "uint8")
    masks[0, 5, 5] = 1
    masks[1, 5, 5] = IGNORED  # the rest is background: an empty patch
    masks[2] = IGNORED

    def loss(present):
        prediction = {"mask": np.full((3, 32, 32, 3), 1 / 3, "float32"), "present": np.float32(present)}
        return float(learning.compute_loss(y=targets(learning, masks), y_pred=prediction))

    difference = loss([[0.25], [0.5], [last]]) - loss([[1], [0], [1 - last]])
    assert difference == pytest.approx(0.1 * (np.log(4) + np.log(2)) / 2, rel=1e-4)


def test_no_image_is_empty_without_a_background():
    recipe = NetworkRecipe(backbone="resnet18", decoder_filters=SMALL, empty_head=True)
    with pytest.raises(InputError, match="the masks have no background, so no image is empty"):
        build_network(recipe, bundle_of(background=False), learning=True)


def test_the_recipes_page_reads_back():
    recipe = Recipe.from_dict({"data": {"images": "i", "masks": "m"}, "network": {"dropout": 0.25}})
    assert keras.config.dtype_policy().name == "float32"
    assert "dropout: 0.25" in recipe.to_yaml()


def learning_by(steps, **recipe):
    """A network of one convolution, trained on batches of inputs and masks."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((8, 8, 1))
    network = keras.Model(inputs, keras.layers.Conv2D(3, 3, padding="same", activation="softmax")(inputs))
    compile_for_training(network, TrainingRecipe(**recipe), bundle_of())
    for images, masks in steps:
        network.train_on_batch(images, masks)
    return network


def some_pixels(images, seed):
    generator = np.random.default_rng(seed)
    shape = (images, 8, 8)
    return generator.normal(size=(*shape, 1)).astype(np.float32), generator.integers(0, 3, shape).astype(np.uint8)


def test_two_small_steps_accumulated_are_a_large_one():
    images, masks = some_pixels(4, seed=0)
    options = {"loss": {"cross_entropy": 1.0}, "weight_decay": 0.1, "clip_norm": 0.05, "learning_rate": 0.1}
    large = learning_by([(images, masks)], **options)
    small = learning_by([(images[:2], masks[:2]), (images[2:], masks[2:])], accumulate=2, **options)
    unfinished = learning_by([(images[:2], masks[:2])], accumulate=2, **options)
    fresh = learning_by([], **options)
    for one, two, none, first in zip(*(net.get_weights() for net in (large, small, unfinished, fresh)), strict=True):
        np.testing.assert_allclose(two, one, rtol=1e-4, atol=1e-6)
        np.testing.assert_array_equal(none, first)  # nothing is learnt before the second
        assert np.abs(one - first).max() > 0.01


@pytest.mark.parametrize(("clip_norm", "clipped"), [(0.02, True), (1000.0, False)])
def test_the_gradient_of_all_weights_together_is_clipped(clip_norm, clipped):
    batch = some_pixels(2, seed=1)
    network = learning_by([batch], loss={"cross_entropy": 1.0}, clip_norm=clip_norm, weight_decay=0.0)
    moments = [one for one in network.optimizer.variables if "momentum" in one.path]
    assert len(moments) == 2
    # After one step the first moment of AdamW is a tenth of the gradient (its beta is 0.9).
    norm = np.sqrt(sum(np.sum(np.square(keras.ops.convert_to_numpy(one) / 0.1)) for one in moments))
    assert norm == pytest.approx(clip_norm, rel=1e-3) if clipped else 0.02 < norm < 1000


@pytest.mark.parametrize("name", ["adamw", "muon"])
def test_the_recipe_says_whether_kernels_go_by_muon(name):
    recipe, bundle = NetworkRecipe(backbone="resnet18", decoder_filters=(32, 16, 16, 16, 16)), bundle_of()
    network = rewrite_for_training(build_network(recipe, bundle, learning=True))
    compile_for_training(network, TrainingRecipe(optimizer=name), bundle)
    paths = [one.path for one in network.optimizer.variables]
    firsts = [path for path in paths if path.endswith("_momentum")]
    seconds = [path for path in paths if path.endswith("_velocity")]
    kernels = [one for one in network.trainable_weights if one.path.endswith("kernel")]
    assert len(firsts) == len(network.trainable_weights)
    assert len(firsts) - len(seconds) == (len(kernels) - 1 if name == "muon" else 0)  # all but the head's


def test_filters_that_see_unlike_channels_are_left_to_adamw():
    recipe, bundle = NetworkRecipe(backbone="resnext50", decoder_filters=SMALL), bundle_of()
    network = rewrite_for_training(build_network(recipe, bundle, learning=True))
    compile_for_training(network, TrainingRecipe(optimizer="muon"), bundle)
    squares = {one.path.split("/")[-1].removesuffix("_velocity") for one in network.optimizer.variables}
    grouped = [layer.kernel.path.replace("/", "_") for layer in network.layers if getattr(layer, "groups", 1) > 1]
    assert len(grouped) > 10
    assert set(grouped) <= squares


def test_a_quickened_network_learns_as_the_plain_one_does():
    recipe = NetworkRecipe(backbone="resnet18", decoder_filters=SMALL, empty_head=True)
    bundle = bundle_of()
    plain = randomise(build_network(recipe, bundle, learning=True))
    quick = rewrite_for_training(plain)
    assert [layer.name for layer in quick.layers if layer.weights] == [
        layer.name for layer in plain.layers if layer.weights
    ]
    rng = np.random.default_rng(0)
    images, masks = rng.normal(size=(2, 64, 64, 3)).astype("float32"), rng.integers(0, 3, (2, 64, 64)).astype("uint8")
    losses = []
    for network in (plain, quick):
        compile_for_training(network, TrainingRecipe(learning_rate=1e-3), bundle)
        step = step_of(network)
        losses.append([step(images, targets(network, masks)) for _ in range(2)])
    assert losses[1] == pytest.approx(losses[0], rel=1e-3)


@pytest.mark.parametrize("fuse", [False, True])
def test_masks_of_deep_supervision_are_scored_as_small_as_they_are_made(fuse):
    recipe, bundle = NetworkRecipe(backbone="resnet18", decoder_filters=SMALL, deep_supervision=True), bundle_of()
    network = rewrite_for_training(build_network(recipe, bundle, learning=True))
    compile_for_training(network, TrainingRecipe(learning_rate=1e-9), bundle)
    rng = np.random.default_rng(0)
    step = step_of(network, fuse_loss=fuse)
    for rows, columns in ((64, 96), (96, 64)):
        images = rng.normal(size=(2, rows, columns, 3)).astype("float32")
        masks = rng.integers(0, 3, (2, rows, columns)).astype("uint8")
        masks[0, :20] = IGNORED
        answers = {name: keras.ops.convert_to_numpy(answer) for name, answer in network(images, training=True).items()}
        alone, loss = loss_of_words(TrainingRecipe().loss, channels=3, ignore=IGNORED), 0.0
        for name, every in {"mask": 1, **{f"mask_stage{level}": 16 >> level for level in range(4)}}.items():
            middles = masks[:, every // 2 :: every, every // 2 :: every]
            assert answers[name].shape[1:3] == middles.shape[1:]
            loss += (1.0 if name == "mask" else 0.1) * float(alone(middles, answers[name]))
        assert step(images, targets(network, masks)) == pytest.approx(loss, rel=1e-3)


def test_a_slower_encoder_is_the_encoder_and_nothing_else():
    recipe, bundle = NetworkRecipe(backbone="resnet18", decoder_filters=SMALL), bundle_of()
    network = rewrite_for_training(build_network(recipe, bundle, learning=True))
    compile_for_training(network, TrainingRecipe(), bundle, encoder=encoder_layers(recipe, bundle))
    network.optimizer.encoder_rate.assign(0.0)
    before = {weight.path: keras.ops.convert_to_numpy(weight) for weight in network.trainable_weights}
    rng = np.random.default_rng(0)
    step_of(network)(rng.normal(size=(2, 64, 64, 3)).astype("float32"), rng.integers(0, 3, (2, 64, 64)).astype("uint8"))
    moved = {
        weight.path.split("/")[0]
        for weight in network.trainable_weights
        if (keras.ops.convert_to_numpy(weight) != before[weight.path]).any()
    }
    assert all(name.startswith(("decoder_", "final_conv")) for name in moved)
    assert {"decoder_stage0a_conv", "decoder_stage4b_bn", "final_conv"} <= moved
