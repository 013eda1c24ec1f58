"""Networks of a recipe: every architecture, pretrained weights with their normalisation, auxiliary outputs, losses."""

from inspect import signature
from typing import get_args

import keras
import numpy as np
import pytest

from maskwright.errors import InputError, UnknownChoice
from maskwright.images.labels import IGNORED, Label
from maskwright.images.normalise import Normalisation
from maskwright.inference.bundle import Bundle
from maskwright.losses.catalogue import loss_from_names
from maskwright.models import ARCHITECTURES
from maskwright.networks import build_backbone, mask_only
from maskwright.rewrite.for_training import rewrite_for_training
from maskwright.training.network import (
    NoBackground,
    UnsupportedBackboneOption,
    build_network,
    compile_for_training,
    encoder_layers,
    training_targets,
    with_encoder_normalisation,
)
from maskwright.training.recipe import ARCHITECTURE_OPTIONS, FinalLoss, NetworkRecipe, Recipe, TrainingRecipe
from maskwright.training.recipe_text import WrongRecipe
from maskwright.training.train_step import make_train_step
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


def test_recipe_options_are_arguments_of_their_architecture():
    assert list(ARCHITECTURE_OPTIONS) == list(get_args(NetworkRecipe.model_fields["architecture"].annotation))
    for architecture, arguments in ARCHITECTURE_OPTIONS.items():
        assert arguments.keys() <= NetworkRecipe.model_fields.keys()
        assert set(arguments.values()) <= set(signature(ARCHITECTURES[architecture]).parameters)
    for name, field in NetworkRecipe.model_fields.items():  # the description lists the architectures
        if takers := [architecture for architecture, arguments in ARCHITECTURE_OPTIONS.items() if name in arguments]:
            assert field.description.split(": ")[0].split(", ") == takers


def test_an_option_the_backbone_does_not_support_is_an_error():
    assert build_network(NetworkRecipe(backbone="resnet18", first_unit="identity"), bundle_of())
    with pytest.raises(UnsupportedBackboneOption, match=r"network\.first_unit: .*mobilenetv2"):
        build_network(NetworkRecipe(backbone="mobilenetv2", first_unit="identity"), bundle_of())


def test_attention_adds_parameters_to_a_unetplusplus():
    recipe = NetworkRecipe(architecture="unetplusplus", backbone="resnet18", decoder_filters=SMALL, attention="scse")
    attentive = build_network(recipe, bundle_of()).count_params()
    plain = build_network(recipe.model_copy(update={"attention": None}), bundle_of()).count_params()
    assert attentive > plain


def test_an_option_of_another_architecture_is_an_error():
    with pytest.raises(WrongRecipe, match="attention is an option of unet and unetplusplus, not of fpn"):
        Recipe.from_dict(
            {"data": {"images": "i", "masks": "m"}, "network": {"architecture": "fpn", "attention": "scse"}}
        )


def test_pretrained_weights_are_loaded_with_their_normalisation(tmp_path):
    encoder = randomise(build_backbone("resnet18_v1"), seed=7)
    encoder.save_weights(tmp_path / "encoder.weights.h5")
    recipe = NetworkRecipe(backbone="resnet18_v1", encoder_weights=str(tmp_path / "encoder.weights.h5"))
    assert with_encoder_normalisation(recipe, bundle_of()).normalisation.mean == pytest.approx((0.485, 0.456, 0.406))
    assert with_encoder_normalisation(recipe, bundle_of(1)).normalisation.std == pytest.approx((0.226,))
    assert with_encoder_normalisation(NetworkRecipe(), bundle_of()) == bundle_of()

    learning = build_network(recipe, bundle_of(), training=True)
    np.testing.assert_array_equal(learning.get_layer("conv1").kernel, encoder.get_layer("conv1").kernel)
    grey = build_network(recipe, bundle_of(1), training=True)
    summed = np.sum(encoder.get_layer("conv1").kernel, axis=2, keepdims=True)
    np.testing.assert_allclose(grey.get_layer("conv1").kernel, summed, rtol=1e-6)


def test_vgg_weights_trained_on_bgr_are_reversed_for_rgb(tmp_path):
    encoder = randomise(build_backbone("vgg16"), seed=7)
    encoder.save_weights(tmp_path / "encoder.weights.h5")
    recipe = NetworkRecipe(backbone="vgg16", encoder_weights=str(tmp_path / "encoder.weights.h5"))
    learning = build_network(recipe, bundle_of(), training=True)
    kernel = np.array(encoder.get_layer("block1_conv1").kernel)
    np.testing.assert_array_equal(learning.get_layer("block1_conv1").kernel, kernel[:, :, ::-1])
    assert with_encoder_normalisation(recipe, bundle_of()).normalisation.mean == pytest.approx(
        (123.68 / 255, 116.779 / 255, 103.939 / 255)
    )


def test_unknown_weights_are_an_error_that_names_the_recipe_field():
    with pytest.raises(InputError, match=r"network\.encoder_weights='imagnet'.*Did you mean 'imagenet'"):
        build_network(NetworkRecipe(encoder_weights="imagnet"), bundle_of(), training=True)


def test_a_frozen_encoder_trains_only_its_normalisation():
    network = build_network(
        NetworkRecipe(backbone="resnet18", encoder_freeze=True, decoder_filters=SMALL), bundle_of(), training=True
    )
    assert not network.get_layer("conv0").trainable_weights
    assert network.get_layer("bn0").trainable_weights
    assert network.get_layer("final_conv").trainable_weights


def test_auxiliary_outputs_are_trained_and_not_in_the_inference_model():
    recipe = NetworkRecipe(backbone="resnet18", decoder_filters=SMALL, deep_supervision=True, classification_head=True)
    bundle = bundle_of()
    learning = build_network(recipe, bundle, training=True)
    compile_for_training(learning, TrainingRecipe(), bundle)
    masks = np.zeros((3, 64, 64), "uint8")
    masks[1, 5, 5] = 2
    masks[2] = IGNORED
    expected = training_targets(learning, masks)
    assert set(expected) == set(learning.output)
    np.testing.assert_array_equal(expected["presence"], [[0], [1], [IGNORED]])
    images = np.random.default_rng(0).normal(size=(3, 64, 64, 3)).astype("float32")
    named = learning.predict_on_batch(images)
    assert float(learning.compute_loss(y=expected, y_pred=named)) > float(
        learning.compute_loss(y=expected, y_pred={**named, "presence": np.float32([[0], [1], [0.5]])})
    )

    inference_model = build_network(recipe, bundle)
    inference_model.set_weights(mask_only(learning).get_weights())
    assert not isinstance(inference_model.output, dict)
    np.testing.assert_allclose(inference_model.predict_on_batch(images), named["mask"], atol=1e-5)


@pytest.mark.parametrize("last", [0.01, 0.99])
def test_a_patch_without_valid_pixels_is_not_in_the_presence_loss(last):
    recipe = NetworkRecipe(backbone="resnet18", decoder_filters=SMALL, classification_head=True)
    learning = build_network(recipe, bundle_of(), training=True)
    compile_for_training(learning, TrainingRecipe(loss={"dice": 1.0}), bundle_of())
    masks = np.zeros((3, 32, 32), "uint8")
    masks[0, 5, 5] = 1
    masks[1, 5, 5] = IGNORED  # the rest is background: an empty patch
    masks[2] = IGNORED

    def loss(present):
        prediction = {"mask": np.full((3, 32, 32, 3), 1 / 3, "float32"), "presence": np.float32(present)}
        return float(learning.compute_loss(y=training_targets(learning, masks), y_pred=prediction))

    difference = loss([[0.25], [0.5], [last]]) - loss([[1], [0], [1 - last]])
    assert difference == pytest.approx(0.1 * (np.log(4) + np.log(2)) / 2, rel=1e-4)


def test_a_classification_head_needs_a_background():
    recipe = NetworkRecipe(backbone="resnet18", decoder_filters=SMALL, classification_head=True)
    with pytest.raises(NoBackground, match=r"network\.classification_head"):
        build_network(recipe, bundle_of(background=False), training=True)


def test_building_networks_restores_the_dtype_policy():
    recipe = Recipe.from_dict({"data": {"images": "i", "masks": "m"}, "network": {"dropout": 0.25}})
    assert keras.config.dtype_policy().name == "float32"
    assert "dropout: 0.25" in recipe.to_yaml()


def trained_on(steps, **recipe):
    """Return a network of one convolution, trained on batches of inputs and masks."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((8, 8, 1))
    network = keras.Model(inputs, keras.layers.Conv2D(3, 3, padding="same", activation="softmax")(inputs))
    compile_for_training(network, TrainingRecipe(**recipe), bundle_of())
    for images, masks in steps:
        network.train_on_batch(images, masks)
    return network


def random_batch(images, seed):
    generator = np.random.default_rng(seed)
    shape = (images, 8, 8)
    return generator.normal(size=(*shape, 1)).astype(np.float32), generator.integers(0, 3, shape).astype(np.uint8)


def test_two_accumulated_steps_equal_one_step_on_both_batches():
    images, masks = random_batch(4, seed=0)
    options = {"loss": {"cross_entropy": 1.0}, "weight_decay": 0.1, "clip_norm": 0.05, "learning_rate": 0.1}
    large = trained_on([(images, masks)], **options)
    small = trained_on([(images[:2], masks[:2]), (images[2:], masks[2:])], gradient_accumulation=2, **options)
    unfinished = trained_on([(images[:2], masks[:2])], gradient_accumulation=2, **options)
    fresh = trained_on([], **options)
    for expected, accumulated, pending, initial in zip(
        *(net.get_weights() for net in (large, small, unfinished, fresh)), strict=True
    ):
        np.testing.assert_allclose(accumulated, expected, rtol=1e-4, atol=1e-6)
        np.testing.assert_array_equal(pending, initial)  # no update before the second batch
        assert np.abs(expected - initial).max() > 0.01


def test_an_unknown_final_loss_is_an_error_when_compiling():
    with pytest.raises(UnknownChoice, match=r"lovas.*lovasz"):
        trained_on([], final_loss=FinalLoss(loss={"lovas": 1}))


@pytest.mark.parametrize(("clip_norm", "clipped"), [(0.02, True), (1000.0, False)])
def test_the_global_gradient_norm_is_clipped(clip_norm, clipped):
    batch = random_batch(2, seed=1)
    network = trained_on([batch], loss={"cross_entropy": 1.0}, clip_norm=clip_norm, weight_decay=0.0)
    moments = [variable for variable in network.optimizer.variables if "momentum" in variable.path]
    assert len(moments) == 2
    # After one step the first moment of AdamW is a tenth of the gradient (its beta is 0.9).
    norm = np.sqrt(sum(np.sum(np.square(keras.ops.convert_to_numpy(moment) / 0.1)) for moment in moments))
    assert norm == pytest.approx(clip_norm, rel=1e-3) if clipped else 0.02 < norm < 1000


@pytest.mark.parametrize("name", ["adamw", "muon"])
def test_the_recipe_chooses_between_adamw_and_muon(name):
    recipe, bundle = NetworkRecipe(backbone="resnet18", decoder_filters=(32, 16, 16, 16, 16)), bundle_of()
    network = rewrite_for_training(build_network(recipe, bundle, training=True))
    compile_for_training(network, TrainingRecipe(optimizer=name), bundle)
    paths = [one.path for one in network.optimizer.variables]
    firsts = [path for path in paths if path.endswith("_momentum")]
    seconds = [path for path in paths if path.endswith("_velocity")]
    kernels = [one for one in network.trainable_weights if one.path.endswith("kernel")]
    assert len(firsts) == len(network.trainable_weights)
    assert len(firsts) - len(seconds) == (len(kernels) - 1 if name == "muon" else 0)  # all but the head's


def test_grouped_convolutions_are_left_to_adamw():
    recipe, bundle = NetworkRecipe(backbone="resnext50", decoder_filters=SMALL), bundle_of()
    network = rewrite_for_training(build_network(recipe, bundle, training=True))
    compile_for_training(network, TrainingRecipe(optimizer="muon"), bundle)
    squares = {one.path.split("/")[-1].removesuffix("_velocity") for one in network.optimizer.variables}
    grouped = [layer.kernel.path.replace("/", "_") for layer in network.layers if getattr(layer, "groups", 1) > 1]
    assert len(grouped) > 10
    assert set(grouped) <= squares


def test_a_network_rewritten_for_training_trains_like_the_original():
    recipe = NetworkRecipe(backbone="resnet18", decoder_filters=SMALL, classification_head=True)
    bundle = bundle_of()
    plain = randomise(build_network(recipe, bundle, training=True))
    rewritten = rewrite_for_training(plain)
    assert [layer.name for layer in rewritten.layers if layer.weights] == [
        layer.name for layer in plain.layers if layer.weights
    ]
    rng = np.random.default_rng(0)
    images, masks = rng.normal(size=(2, 64, 64, 3)).astype("float32"), rng.integers(0, 3, (2, 64, 64)).astype("uint8")
    losses = []
    for network in (plain, rewritten):
        compile_for_training(network, TrainingRecipe(learning_rate=1e-3), bundle)
        step = make_train_step(network)
        losses.append([step(images, training_targets(network, masks)) for _ in range(2)])
    assert losses[1] == pytest.approx(losses[0], rel=1e-3)


@pytest.mark.parametrize("fuse", [False, True])
def test_deep_supervision_compares_masks_at_their_own_resolution(fuse):
    recipe, bundle = NetworkRecipe(backbone="resnet18", decoder_filters=SMALL, deep_supervision=True), bundle_of()
    network = rewrite_for_training(build_network(recipe, bundle, training=True))
    compile_for_training(network, TrainingRecipe(learning_rate=1e-9), bundle)
    rng = np.random.default_rng(0)
    step = make_train_step(network, fuse_loss=fuse)
    for rows, columns in ((64, 96), (96, 64)):
        images = rng.normal(size=(2, rows, columns, 3)).astype("float32")
        masks = rng.integers(0, 3, (2, rows, columns)).astype("uint8")
        masks[0, :20] = IGNORED
        outputs = {name: keras.ops.convert_to_numpy(output) for name, output in network(images, training=True).items()}
        loss_of_mask, loss = loss_from_names(TrainingRecipe().loss, channels=3, ignore=IGNORED), 0.0
        for name, stride in {"mask": 1, **{f"mask_stage{level}": 16 >> level for level in range(4)}}.items():
            centres = masks[:, stride // 2 :: stride, stride // 2 :: stride]
            assert outputs[name].shape[1:3] == centres.shape[1:]
            loss += (1.0 if name == "mask" else 0.1) * float(loss_of_mask(centres, outputs[name]))
        assert step(images, training_targets(network, masks)) == pytest.approx(loss, rel=1e-3)


def test_the_encoder_multiplier_affects_only_the_encoder():
    recipe, bundle = NetworkRecipe(backbone="resnet18", decoder_filters=SMALL), bundle_of()
    network = rewrite_for_training(build_network(recipe, bundle, training=True))
    compile_for_training(network, TrainingRecipe(), bundle, encoder=encoder_layers(recipe, bundle))
    network.optimizer.encoder_lr_multiplier.assign(0.0)
    before = {weight.path: keras.ops.convert_to_numpy(weight) for weight in network.trainable_weights}
    rng = np.random.default_rng(0)
    make_train_step(network)(
        rng.normal(size=(2, 64, 64, 3)).astype("float32"), rng.integers(0, 3, (2, 64, 64)).astype("uint8")
    )
    moved = {
        weight.path.split("/")[0]
        for weight in network.trainable_weights
        if (keras.ops.convert_to_numpy(weight) != before[weight.path]).any()
    }
    assert all(name.startswith(("decoder_", "final_conv")) for name in moved)
    assert {"decoder_stage0a_conv", "decoder_stage4b_bn", "final_conv"} <= moved
