"""From the recipe to a network that learns, and to its twin that is saved."""

import contextlib
import platform
from collections.abc import Collection, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal

import keras
import numpy as np
from numpy.typing import NDArray

from maskwright.errors import InputError, one_of
from maskwright.images.labels import IGNORED
from maskwright.inference.bundle import Bundle
from maskwright.losses.base import FunctionLoss, SegmentationLoss
from maskwright.losses.catalogue import loss_of_words
from maskwright.losses.pixel import binary_cross_entropy
from maskwright.losses.targets import Tensor
from maskwright.models import ARCHITECTURES
from maskwright.networks.auxiliary_outputs import MASK, PRESENT
from maskwright.networks.backbones import BACKBONES, encoder_of, freeze_encoder
from maskwright.rewrite.graph import heads
from maskwright.training.muon import Muon
from maskwright.training.optimizer import FusedAdamW
from maskwright.training.recipe import DOOR_NAMES, NetworkRecipe, TrainingRecipe
from maskwright.weights.encoder import load_encoder_weights
from maskwright.weights.input_channels import copy_adapted, reverse_image_channels, rgb_twin, unit_statistics

Precision = Literal["float32", "mixed_bfloat16"]

_FURTHER_OUTPUTS: Final = frozenset({"deep_supervision", "empty_head"})  # which only training needs
_DILATED_STRIDE: Final = 16  # of a DeepLabV3+, where the encoder can be dilated
_AUXILIARY_WEIGHT: Final = 0.1  # of each further output's loss, beside the mask's 1


class NothingIsEmpty(InputError):
    """An image-level output asked of data in which every pixel is of a class."""

    text = "network.empty_head: the masks have no background, so no image is empty. Leave it out."


def build_network(
    recipe: NetworkRecipe,
    bundle: Bundle,
    *,
    precision: Precision = "float32",
    learning: bool = False,
) -> keras.Model:
    """The network a recipe describes, for images of any size that its strides divide.

    Args:
        recipe: What to build.
        bundle: Channels in and out, and the activation.
        precision: What it computes in.
        learning: With what only training needs: the encoder's first weights, what is frozen, further outputs.

    Raises:
        UnknownChoice: The recipe names a backbone or a decoder block that does not exist.
        NothingIsEmpty: An output for empty images is asked for, and the data has no background.
        InputError: The encoder's weights cannot be had.
    """
    row = one_of("network.backbone", recipe.backbone, BACKBONES)
    with dtype_policy(precision):
        options: dict[str, Any] = {"first_unit": recipe.first_unit} if "first_unit" in row.options else {}
        if recipe.architecture == "deeplabv3plus" and "output_stride" in row.options:
            options["output_stride"] = _DILATED_STRIDE
        encoder = encoder_of(recipe.backbone, input_shape=(None, None, bundle.inputs), **options)
        if learning and recipe.encoder_weights is not None:
            _load_first_weights(encoder.model, recipe)
        if learning and recipe.encoder_freeze:
            freeze_encoder(encoder.model)
        if learning and recipe.empty_head and not bundle.background:
            raise NothingIsEmpty
        chosen = {
            door: getattr(recipe, name)
            for name, door in DOOR_NAMES[recipe.architecture].items()
            if learning or name not in _FURTHER_OUTPUTS
        }
        return ARCHITECTURES[recipe.architecture](
            encoder,
            classes=bundle.outputs,
            activation=bundle.activation,
            **{name: value for name, value in chosen.items() if value is not None},
        )


def encoder_layers(recipe: NetworkRecipe, bundle: Bundle) -> frozenset[str]:
    """Names of the layers that a network of ``recipe`` has from its encoder."""
    encoder = encoder_of(recipe.backbone, input_shape=(None, None, bundle.inputs))
    return frozenset(layer.name for layer in encoder.model.layers)


def _load_first_weights(encoder: keras.Model, recipe: NetworkRecipe) -> None:
    argument = "network.encoder_weights"
    if BACKBONES[recipe.backbone].preprocessing.channels == "RGB":
        load_encoder_weights(encoder, recipe.backbone, recipe.encoder_weights or "", argument=argument)
        return
    # Learnt on BGR, as the VGGs were; images here are RGB, and a kernel turned round reads them so.
    twin = rgb_twin(encoder)
    load_encoder_weights(twin, recipe.backbone, recipe.encoder_weights or "", argument=argument)
    reverse_image_channels(twin)
    copy_adapted(twin, encoder)


def encoder_pixels(recipe: NetworkRecipe, bundle: Bundle) -> Bundle:
    """``bundle`` with the normalisation that the encoder's first weights were learnt with; as it is without any.

    For images of another number of channels than three, means and deviations are averaged or taken in turn, as the
    first layer's weights are.
    """
    if recipe.encoder_weights is None:
        return bundle
    pixels = one_of("network.backbone", recipe.backbone, BACKBONES).preprocessing
    mean, std = unit_statistics(pixels, bundle.channels)
    normalisation = bundle.normalisation.model_copy(update={"mean": mean, "std": std})
    return bundle.model_copy(update={"normalisation": normalisation})


def compile_for_training(
    network: keras.Model,
    recipe: TrainingRecipe,
    bundle: Bundle,
    *,
    encoder: Collection[str] = (),
    loss: SegmentationLoss | None = None,
    optimizer: FusedAdamW | None = None,
) -> None:
    """Give the network its optimizer, and each of its outputs its loss; `targets` are what they learn.

    Args:
        network: What is to learn.
        recipe: How.
        bundle: What the outputs mean.
        encoder: Names of the encoder's layers, for a learning rate of their own.
        loss: In place of the recipe's.
        optimizer: One that has learnt already, in place of a new one.

    Raises:
        UnknownChoice: The recipe names a loss that does not exist.
    """
    begun = optimizer is not None
    if optimizer is None:
        options: dict[str, Any] = {
            "decay": recipe.weight_decay,
            "encoder": encoder,
            "global_clipnorm": recipe.clip_norm,
            "gradient_accumulation_steps": recipe.accumulate if recipe.accumulate > 1 else None,
        }
        if recipe.optimizer == "muon":
            optimizer = Muon(recipe.learning_rate, plain=_plain(network), **options)
        else:
            optimizer = FusedAdamW(recipe.learning_rate, **options)
        optimizer.exclude_from_weight_decay(var_names=["gamma", "beta", "bias"])
    if loss is None:
        pixel_weights = _weights(recipe, bundle)
        loss = loss_of_words(recipe.loss, channels=bundle.outputs, pixel_weights=pixel_weights, ignore=IGNORED)
    if isinstance(network.output, dict):
        of_masks = dict.fromkeys(network.output, FunctionLoss(partial(_of_any_size, loss=loss), name="of_any_size"))
        losses = of_masks | {MASK: loss} | ({PRESENT: presence_loss} if PRESENT in of_masks else {})
        weights = {name: 1.0 if name == MASK else _AUXILIARY_WEIGHT for name in losses}
        network.compile(optimizer=optimizer, loss=losses, loss_weights=weights)
    else:
        network.compile(optimizer=optimizer, loss=loss)
    if not begun:
        optimizer.build(network.trainable_variables)


def _plain(network: keras.Model) -> list[str]:
    """Paths of the variables that Muon leaves to AdamW: the heads', and those of filters that see unlike channels."""
    grouped = [layer for layer in network.layers if getattr(layer, "groups", 1) > 1]
    return [variable.path for layer in (*heads(network), *grouped) for variable in layer.weights]


def _weights(recipe: TrainingRecipe, bundle: Bundle) -> list[float] | None:
    """A weight for each output.

    Raises:
        UnknownChoice: The recipe weighs a class that does not exist.
    """
    if recipe.class_weights is None:
        return None
    names = {label.name: label for label in bundle.labels}
    for name in recipe.class_weights:
        one_of("training.class_weights", name, names)
    return [recipe.class_weights.get(name, 1.0) for name in names][-bundle.outputs :]


def _of_any_size(y_true: Tensor, y_pred: Tensor, *, loss: SegmentationLoss) -> Tensor:
    """``loss`` of probabilities (n, h, w, c) and the labels in the middle of what each of them stands for.

    Labels are (n, m h, m w), with a whole number m.
    """
    size = keras.ops.shape(y_pred)[:3]
    every = keras.ops.shape(y_true)[1] // size[1]
    middles = y_true[:, every // 2 :: every, every // 2 :: every]
    return loss(keras.ops.reshape(middles, size), y_pred)


def presence_loss(y_true: Tensor, y_pred: Tensor) -> Tensor:
    """The cross entropy (a scalar) of images of which it is known whether they hold anything.

    Takes 0, 1 or `IGNORED`, and probabilities, both (n, 1): like masks of one pixel. An image that is `IGNORED` has
    no say in the mean; of none but such, it is 0.

    >>> round(float(presence_loss(np.array([[1], [IGNORED]]), np.array([[0.5], [0.1]]))), 4)  # -log(0.5)
    0.6931
    """
    return binary_cross_entropy(y_true[:, None, None], y_pred[:, None, None], ignore=IGNORED)


def targets(network: keras.Model, masks: NDArray[np.generic]) -> Any:
    """What each output of ``network`` learns from label indices (n, h, w): the masks, or whether they hold anything.

    The latter is 0 or 1 (n, 1), or `IGNORED` where every pixel is.
    """
    if not isinstance(network.output, dict):
        return masks
    known = masks != IGNORED
    held = np.where(known.any(axis=(1, 2)), (known & (masks != 0)).any(axis=(1, 2)), IGNORED)
    held = held[:, None].astype(np.float32)
    return {name: held if name == PRESENT else masks for name in network.output}


def choose_precision(wanted: Literal["auto", "float32", "mixed_bfloat16"]) -> Precision:
    """What to compute in: bfloat16 where this machine has it in hardware and the backend gains by it."""
    if wanted != "auto":
        return wanted
    fast = keras.backend.backend() in ("tensorflow", "torch") and _has_bfloat16()
    return "mixed_bfloat16" if fast else "float32"


def _has_bfloat16() -> bool:
    """Whether the processor multiplies bfloat16; only Linux tells."""
    if platform.system() != "Linux":
        return False
    flags = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    return "avx512_bf16" in flags or "amx_bf16" in flags


@contextlib.contextmanager
def dtype_policy(name: str) -> Iterator[None]:
    """Let layers that are made meanwhile have this policy."""
    previous = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(previous)
