"""Build and compile the networks of a recipe: the training network and the inference model."""

from collections.abc import Collection
from functools import partial
from typing import Any, Final

import keras
import numpy as np
from numpy.typing import NDArray

from maskwright.errors import InputError, one_of
from maskwright.images.labels import IGNORED
from maskwright.inference.bundle import Bundle
from maskwright.losses.base import FunctionLoss, SegmentationLoss
from maskwright.losses.catalogue import loss_from_names
from maskwright.losses.cross_entropy import binary_cross_entropy
from maskwright.losses.targets import Tensor
from maskwright.models import ARCHITECTURES
from maskwright.networks.auxiliary_outputs import MASK, PRESENCE
from maskwright.networks.backbones import BACKBONES, encoder_of, freeze_encoder
from maskwright.rewrite.graph import heads
from maskwright.training.muon import Muon
from maskwright.training.optimizer import FusedAdamW
from maskwright.training.precision import ComputePrecision, dtype_policy
from maskwright.training.recipe import ARCHITECTURE_OPTIONS, NetworkRecipe, TrainingRecipe
from maskwright.weights.encoder import load_encoder_weights
from maskwright.weights.input_channels import clone_for_rgb, copy_adapted, reverse_image_channels, unit_statistics

_AUXILIARY_OUTPUTS: Final = frozenset({"deep_supervision", "classification_head"})  # used in training only
_OUTPUT_STRIDE: Final = 16  # for DeepLabV3+ with an encoder that supports dilation
_AUXILIARY_LOSS_WEIGHT: Final = 0.1  # the loss of the mask has weight 1


class NoBackground(InputError):
    """Raised if a classification head is requested for data without a background class."""

    text = "network.classification_head: the masks have no background, so no image can be empty; leave the field out."


class UnsupportedBackboneOption(InputError):
    """Raised if the recipe sets an option that the backbone does not support."""

    text = "network.{option}: {backbone} does not support this option; leave it out, or choose another backbone."


def build_network(
    recipe: NetworkRecipe,
    bundle: Bundle,
    *,
    precision: ComputePrecision = "float32",
    training: bool = False,
) -> keras.Model:
    """Build the network of a recipe for images of any size that is a multiple of its stride.

    Args:
        recipe: Network section of the recipe.
        bundle: Bundle that contains the numbers of input and output channels and the activation.
        precision: Precision of the computations in the network.
        training: Whether to add pretrained weights, frozen layers and auxiliary outputs, which only training needs.

    Raises:
        UnknownChoice: The backbone or the decoder block does not exist.
        UnsupportedBackboneOption: The recipe sets an option that the backbone does not support.
        NoBackground: The recipe has a classification head, and the data has no background.
        InputError: The encoder's weights cannot be loaded.
    """
    backbone = one_of("network.backbone", recipe.backbone, BACKBONES)
    with dtype_policy(precision):
        if recipe.first_unit != "projection" and "first_unit" not in backbone.options:
            raise UnsupportedBackboneOption(option="first_unit", backbone=recipe.backbone)
        options: dict[str, Any] = {"first_unit": recipe.first_unit} if "first_unit" in backbone.options else {}
        if recipe.architecture == "deeplabv3plus" and "output_stride" in backbone.options:
            options["output_stride"] = _OUTPUT_STRIDE
        encoder = encoder_of(recipe.backbone, input_shape=(None, None, bundle.inputs), **options)
        if training and recipe.pretrained is not None:
            _load_pretrained_weights(encoder.model, recipe)
        if training and recipe.encoder_freeze:
            freeze_encoder(encoder.model)
        if training and recipe.classification_head and not bundle.background:
            raise NoBackground
        arguments = {
            argument: getattr(recipe, name)
            for name, argument in ARCHITECTURE_OPTIONS[recipe.architecture].items()
            if training or name not in _AUXILIARY_OUTPUTS
        }
        return ARCHITECTURES[recipe.architecture](
            encoder,
            classes=bundle.outputs,
            activation=bundle.activation,
            **{name: value for name, value in arguments.items() if value is not None},
        )


def encoder_layers(recipe: NetworkRecipe, bundle: Bundle) -> frozenset[str]:
    """Return the names of the encoder layers in a network of ``recipe``."""
    encoder = encoder_of(recipe.backbone, input_shape=(None, None, bundle.inputs))
    return frozenset(layer.name for layer in encoder.model.layers)


def _load_pretrained_weights(encoder: keras.Model, recipe: NetworkRecipe) -> None:
    if BACKBONES[recipe.backbone].preprocessing.channels == "RGB":
        _load_weights(encoder, recipe)
        return
    # For weights that were trained on BGR images, such as those of VGG, the kernels of the first layer are reversed.
    rgb_encoder = clone_for_rgb(encoder)
    _load_weights(rgb_encoder, recipe)
    reverse_image_channels(rgb_encoder)
    copy_adapted(rgb_encoder, encoder)


def _load_weights(encoder: keras.Model, recipe: NetworkRecipe) -> None:
    load_encoder_weights(
        encoder,
        recipe.backbone,
        recipe.encoder_weights,
        sha256=recipe.encoder_weights_sha256,
        argument="network.encoder_weights",
    )


def with_encoder_normalisation(recipe: NetworkRecipe, bundle: Bundle) -> Bundle:
    """Return ``bundle`` with the normalisation of the encoder's pretrained weights, or unchanged if there are no such
    weights.

    If images do not have three channels, means and standard deviations are averaged or repeated, as are the weights of
    the first layer.
    """
    if recipe.pretrained is None:
        return bundle
    preprocessing = one_of("network.backbone", recipe.backbone, BACKBONES).preprocessing
    mean, std = unit_statistics(preprocessing, bundle.channels)
    normalisation = bundle.normalisation.model_copy(update={"mean": mean, "std": std})
    return bundle.model_copy(update={"normalisation": normalisation})


def compile_for_training(
    network: keras.Model,
    recipe: TrainingRecipe,
    bundle: Bundle,
    *,
    encoder: Collection[str] = (),
    pretrained: bool = False,
    loss: SegmentationLoss | None = None,
    optimizer: FusedAdamW | None = None,
) -> None:
    """Compile the network with the recipe's optimizer and a loss for each output; see `training_targets`.

    Args:
        network: Network to train.
        recipe: Training section of the recipe.
        bundle: Bundle of the network, with the labels of the outputs.
        encoder: Names of the encoder layers, which have a separate learning rate.
        pretrained: Whether the encoder has pretrained weights, which AdamW updates even if the optimizer is Muon.
        loss: Loss that replaces the loss of the recipe.
        optimizer: Existing optimizer to use instead of a new one.

    Raises:
        UnknownChoice: The recipe names a loss or a class that does not exist.
    """
    is_new = optimizer is None
    if optimizer is None:
        options: dict[str, Any] = {
            "decay": recipe.weight_decay,
            "encoder": encoder,
            "global_clipnorm": recipe.clip_norm,
            "gradient_accumulation_steps": recipe.gradient_accumulation if recipe.gradient_accumulation > 1 else None,
        }
        if recipe.optimizer == "muon":
            by_adamw = _adamw_variables(network, layers=encoder if pretrained else ())
            optimizer = Muon(recipe.learning_rate, adamw_variables=by_adamw, **options)
        else:
            optimizer = FusedAdamW(recipe.learning_rate, **options)
        optimizer.exclude_from_weight_decay(var_names=["gamma", "beta", "bias"])
    if recipe.final_loss is not None:  # so that an unknown name raises an error before training starts
        loss_from_names(recipe.final_loss.loss, channels=bundle.outputs)
    if loss is None:
        pixel_weights = _class_weights(recipe, bundle)
        loss = loss_from_names(recipe.loss, channels=bundle.outputs, pixel_weights=pixel_weights, ignore=IGNORED)
    if isinstance(network.output, dict):
        auxiliary = FunctionLoss(partial(_loss_at_lower_resolution, loss=loss), name="loss_at_lower_resolution")
        losses: dict[str, Any] = dict.fromkeys(network.output, auxiliary) | {MASK: loss}
        if PRESENCE in losses:
            losses[PRESENCE] = presence_loss
        weights = {name: 1.0 if name == MASK else _AUXILIARY_LOSS_WEIGHT for name in losses}
        network.compile(optimizer=optimizer, loss=losses, loss_weights=weights)
    else:
        network.compile(optimizer=optimizer, loss=loss)
    if is_new:
        optimizer.build(network.trainable_variables)


def _adamw_variables(network: keras.Model, *, layers: Collection[str]) -> list[str]:
    """Return the paths of variables that AdamW updates instead of Muon: those of heads, of grouped convolutions and of
    the given layers."""
    others = [layer for layer in network.layers if getattr(layer, "groups", 1) > 1 or layer.name in layers]
    return [variable.path for layer in (*heads(network), *others) for variable in layer.weights]


def _class_weights(recipe: TrainingRecipe, bundle: Bundle) -> list[float] | None:
    """Return the loss weight of each output channel.

    Raises:
        UnknownChoice: The recipe specifies a weight for a class that does not exist.
    """
    if recipe.class_weights is None:
        return None
    names = {label.name: label for label in bundle.labels}
    for name in recipe.class_weights:
        one_of("training.class_weights", name, names)
    return [recipe.class_weights.get(name, 1.0) for name in names][-bundle.outputs :]


def _loss_at_lower_resolution(y_true: Tensor, y_pred: Tensor, *, loss: SegmentationLoss) -> Tensor:
    """Compute ``loss`` from probabilities (n, h, w, c) and labels (n, m h, m w) that are sampled at the block
    centres."""
    size = keras.ops.shape(y_pred)[:3]
    stride = keras.ops.shape(y_true)[1] // size[1]
    centres = y_true[:, stride // 2 :: stride, stride // 2 :: stride]
    return loss(keras.ops.reshape(centres, size), y_pred)


def presence_loss(y_true: Tensor, y_pred: Tensor) -> Tensor:
    """Compute the mean binary cross-entropy (a scalar) of image-level presence.

    Both arguments have the shape (n, 1): labels 0, 1 or `IGNORED`, and probabilities. Ignored images are excluded from
    the mean; if all images are ignored, the loss is 0.

    >>> round(float(presence_loss(np.array([[1], [IGNORED]]), np.array([[0.5], [0.1]]))), 4)  # -log(0.5)
    0.6931
    """
    return binary_cross_entropy(y_true[:, None, None], y_pred[:, None, None], ignore=IGNORED)


def training_targets(network: keras.Model, masks: NDArray[np.generic]) -> Any:
    """Return the target of each output of ``network``: the label indices ``masks`` (n, h, w) or the presence.

    The presence (n, 1) of an image is 1 if any valid pixel has a class other than the background, and 0 otherwise. It
    is `IGNORED` if the image has no valid pixels.
    """
    if not isinstance(network.output, dict):
        return masks
    valid = masks != IGNORED
    present = np.where(valid.any(axis=(1, 2)), (valid & (masks != 0)).any(axis=(1, 2)), IGNORED)
    present = present[:, None].astype(np.float32)
    return {name: present if name == PRESENCE else masks for name in network.output}
