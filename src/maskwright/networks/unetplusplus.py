"""U-Net++: a U-Net with nested, densely connected skip connections.

Sources: Zhou et al., "UNet++: A Nested U-Net Architecture for Medical Image Segmentation", DLMIA 2018; arguments and
graph of segmentation_models_pytorch 0.6.0.

With `torch_batch_norm`, the weights of that library's ``UnetPlusPlus`` can be loaded. The tensors are mapped by the
same rule as those of ``Unet``, with block ``x_0_1`` instead of block ``1``:

- ``decoder.blocks.x_{column}_{level}.conv1.0`` and ``.1``: ``decoder_x_{column}_{level}a_conv`` and ``_bn``,
  those of ``conv2``: ``decoder_x_{column}_{level}b_conv`` and ``_bn``;
- ``decoder.blocks.x_{column}_{level}.attention1`` and ``2``: ``decoder_x_{column}_{level}_attention1`` and ``2``;
- ``segmentation_head.0``: ``final_conv``.
"""

from collections.abc import Sequence

import keras
from keras import layers

from maskwright.errors import wrong_argument
from maskwright.networks.argument_checks import are_positive_integers
from maskwright.networks.attention import AttentionName, attention_by_name
from maskwright.networks.blocks import Attention, Norm, torch_batch_norm, upsampling_block
from maskwright.networks.encoder_tensors import input_and_features
from maskwright.networks.head import Activation, mask_head
from maskwright.networks.skips import Skip, skip_tensors


def dense_level(
    deeper: Sequence[keras.KerasTensor],
    skip: keras.KerasTensor,
    *,
    level: int,
    filters: int,
    norm: Norm | None,
    attention: Attention,
) -> list[keras.KerasTensor]:
    """Compute the decoder blocks of one resolution.

    In column c, ``deeper[c]`` is upsampled and concatenated with all later columns and the skip connection. Column 0 is
    the decoder and has ``filters`` channels; every other column has as many channels as the skip connection.
    """
    columns: list[keras.KerasTensor] = []
    for column in reversed(range(len(deeper))):
        name = f"decoder_x_{column}_{level}"
        columns.insert(
            0,
            upsampling_block(
                deeper[column],
                layers.Concatenate(name=f"{name}_dense")([*columns, skip]) if columns else skip,
                filters=skip.shape[-1] if column else filters,
                rate=2,
                norm=norm,
                name=name,
                attention=attention,
            ),
        )
    return columns


def build_unetplusplus(
    backbone: keras.Model,
    classes: int,
    skip_connection_layers: Sequence[Skip],
    *,
    decoder_filters: Sequence[int] = (256, 128, 64, 32, 16),
    attention: AttentionName | None = None,
    activation: Activation = "sigmoid",
    use_batchnorm: bool = True,
    norm: Norm = torch_batch_norm,
) -> keras.Model:
    """Build a U-Net++ on any functional or built sequential Keras model whose output is a feature map.

    The input consists of the images of the backbone, (n, height, width, channels). The output consists of float32 masks
    (n, height, width, classes) if the backbone halves the size once for each entry of ``decoder_filters``, and height
    and width are multiples of its stride.

    Args:
        backbone: Encoder, as a Keras model whose output has half the height and width of the first skip connection.
        classes: Number of output channels.
        skip_connection_layers: Layers of the backbone, by name or by index in ``backbone.layers``, each with twice the
            output height and width of the previous one; there may be fewer layers than decoder blocks.
        decoder_filters: Number of filters of each decoder block; every block doubles the size.
        attention: ``"scse"`` adds channel and spatial attention to every block, see `scse`; None adds no attention.
        activation: Keras activation of the output, as a name or a function; None means linear.
        use_batchnorm: Whether to use normalisation in the decoder; without it, the decoder's convolutions have a bias.
        norm: Factory of normalisation layers, called as ``norm(name=...)``.

    Raises:
        UnknownChoice: ``activation`` or ``attention`` is unknown.
        WrongArgument: Another argument has an invalid value.
        SkipSizeMismatch: The known size of a skip connection is not twice that of the deeper feature map.

    >>> from maskwright.networks.resnet_v1 import RESNET_V1_SKIPS, ResNet18V1
    >>> encoder = ResNet18V1(input_shape=(64, 96, 3))
    >>> build_unetplusplus(encoder, 2, RESNET_V1_SKIPS, activation="softmax").output_shape
    (None, 64, 96, 2)
    """
    images, features = input_and_features(backbone)
    if not are_positive_integers(decoder_filters) or not decoder_filters:
        expected = "a list with an integer of at least 1 per decoder block"
        raise wrong_argument("decoder_filters", decoder_filters, expected=expected)
    skips = skip_tensors(
        backbone, skip_connection_layers, argument="skip_connection_layers", max_count=len(decoder_filters)
    )
    attention_layer = attention_by_name(attention)
    norm_or_none = norm if use_batchnorm else None

    x, deeper = features, [features]
    for level, (skip, filters) in enumerate(zip(skips, decoder_filters, strict=False)):
        columns = dense_level(deeper, skip, level=level, filters=filters, norm=norm_or_none, attention=attention_layer)
        x, deeper = columns[0], [*columns, skip]  # each (n, 2h, 2w, c)
    for level, filters in list(enumerate(decoder_filters))[len(skips) :]:
        name = f"decoder_x_0_{level}"
        x = upsampling_block(x, None, filters=filters, rate=2, norm=norm_or_none, name=name, attention=attention_layer)
    return keras.Model(images, mask_head(x, classes, activation=activation), name="unetplusplus")
