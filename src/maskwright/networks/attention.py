"""Channel and spatial attention in decoder blocks.

Source: Roy et al., "Concurrent Spatial and Channel Squeeze & Excitation in Fully Convolutional Networks",
MICCAI 2018; the reduction of 16 and the sum of both branches are as in segmentation_models_pytorch with
``decoder_attention_type="scse"``.
"""

from collections.abc import Mapping
from typing import Final, Literal

import keras
from keras import layers

from maskwright.errors import one_of
from maskwright.networks.blocks import Attention, no_attention
from maskwright.networks.residual_blocks import squeeze_and_excite

AttentionName = Literal["scse"]

REDUCTION: Final = 16


def scse(x: keras.KerasTensor, *, name: str) -> keras.KerasTensor:
    """Scale ``x`` (n, h, w, c) by a gate per channel and by a gate per pixel, and return the sum of both results.

    The channel gates are computed from the channel means, through a hidden layer of ``max(1, c // 16)`` units. The gate
    of a pixel is computed from its channels. All gates are in (0, 1). Layers with weights are ``{name}_se_reduce``,
    ``{name}_se_expand`` and ``{name}_pixel_gate``.

    >>> scse(keras.Input((8, 12, 32)), name="attention").shape
    (None, 8, 12, 32)
    """
    channel_scaled = squeeze_and_excite(x, prefix=f"{name}_", reduction=min(REDUCTION, x.shape[-1]))
    gate = layers.Conv2D(1, 1, activation="sigmoid", name=f"{name}_pixel_gate")(x)  # (n, h, w, 1)
    pixel_scaled = layers.Multiply(name=f"{name}_pixel_scale")([x, gate])
    return layers.Add(name=f"{name}_add")([channel_scaled, pixel_scaled])


ATTENTIONS: Final[Mapping[str, Attention]] = {"scse": scse}


def attention_by_name(attention: AttentionName | None) -> Attention:
    """Return the attention function of this name, or `no_attention` for None.

    Raises:
        UnknownChoice: ``attention`` is not a known name.
    """
    return no_attention if attention is None else one_of("attention", attention, ATTENTIONS)
