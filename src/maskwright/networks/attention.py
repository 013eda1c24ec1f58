"""Attention in decoder blocks: gates in (0, 1) that weigh a map by channel and by place.

Source: Roy et al., "Concurrent Spatial and Channel Squeeze & Excitation in Fully Convolutional Networks",
MICCAI 2018; the reduction of 16 and the sum of both branches are those of smp's ``decoder_attention_type="scse"``.
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
    """``x`` (n, h, w, c) weighed by a gate for each channel, plus ``x`` weighed by a gate for each pixel.

    The channels' gates come from all channels' means, through a hidden layer of ``c // 16`` units, at least one;
    a pixel's gate comes from its own channels. Layers that hold weights: ``{name}_se_reduce``, ``{name}_se_expand``
    and ``{name}_pixel_gate``.

    >>> scse(keras.Input((8, 12, 32)), name="attention").shape
    (None, 8, 12, 32)
    """
    by_channel = squeeze_and_excite(x, prefix=f"{name}_", reduction=min(REDUCTION, x.shape[-1]))
    gate = layers.Conv2D(1, 1, activation="sigmoid", name=f"{name}_pixel_gate")(x)  # (n, h, w, 1)
    by_pixel = layers.Multiply(name=f"{name}_pixel_scale")([x, gate])
    return layers.Add(name=f"{name}_add")([by_channel, by_pixel])


ATTENTIONS: Final[Mapping[str, Attention]] = {"scse": scse}


def attention_called(attention: AttentionName | None) -> Attention:
    """The attention of this name; None is `no_attention`.

    Raises:
        UnknownChoice: there is no such attention.
    """
    return no_attention if attention is None else one_of("attention", attention, ATTENTIONS)
