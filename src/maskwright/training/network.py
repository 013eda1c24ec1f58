"""From the recipe to a network that learns, and to its twin that is saved."""

import contextlib
import platform
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import keras

from maskwright.errors import one_of
from maskwright.images.labels import IGNORED
from maskwright.inference.bundle import Bundle
from maskwright.losses.combinations import loss_of_words
from maskwright.networks.backbones import BACKBONES
from maskwright.networks.unet import build_unet
from maskwright.training.recipe import NetworkRecipe, TrainingRecipe

Precision = Literal["float32", "mixed_bfloat16"]


def build_network(
    recipe: NetworkRecipe, bundle: Bundle, *, precision: Precision = "float32", size: tuple[int, int] | None = None
) -> keras.Model:
    """The network a recipe describes, for images of ``size`` (height, width), or of any size.

    Raises:
        UnknownChoice: The recipe names a backbone or a decoder block that does not exist.
    """
    backbone = one_of("network.backbone", recipe.backbone, BACKBONES)
    height, width = size or (None, None)
    with _dtype_policy(precision):
        shape = (height, width, bundle.channels)
        return build_unet(
            backbone.build(first_unit=recipe.first_unit, input_shape=shape, include_top=False),
            classes=bundle.outputs,
            skip_connection_layers=backbone.skips,
            decoder_filters=recipe.decoder_filters,
            block_type=recipe.decoder_block,
            activation=bundle.activation,
        )


def compile_for_training(network: keras.Model, recipe: TrainingRecipe) -> None:
    """Give the network its optimizer and loss.

    Raises:
        UnknownChoice: The recipe names a loss that does not exist.
    """
    optimizer = keras.optimizers.AdamW(
        recipe.learning_rate, weight_decay=recipe.weight_decay, global_clipnorm=recipe.clip_norm
    )
    optimizer.exclude_from_weight_decay(var_names=["gamma", "beta", "bias"])
    loss = loss_of_words(recipe.loss, channels=network.output_shape[-1], ignore=IGNORED)
    network.compile(optimizer=optimizer, loss=loss)
    optimizer.build(network.trainable_variables)


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
def _dtype_policy(name: str) -> Iterator[None]:
    previous = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(previous)
