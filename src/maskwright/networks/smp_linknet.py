"""LinkNet as segmentation_models_pytorch builds it: learned enlargements with a bias, and a 1x1 head on 32 maps.

Sources: Chaurasia and Culurciello, "LinkNet: Exploiting Encoder Representations for Efficient Semantic
Segmentation", VCIP 2017; graph of segmentation_models_pytorch 0.6.0.

With a `torch_batch_norm` the weights of that library's ``Linknet`` fit. Its tensors are found here by one rule:

- ``decoder.blocks.{stage}.block.{i}.0`` and ``.1``: ``decoder_stage{stage}{half}_conv`` and ``_bn``, where i = 0, 1, 2
  is half a, b, c; the convolution of half b is transposed and called ``_transpose``;
- ``segmentation_head.0``: ``final_conv``.
"""

from collections.abc import Sequence

import keras
from keras import layers

from maskwright.networks.argument_checks import check_at_least_one
from maskwright.networks.blocks import Norm, norm_relu, torch_batch_norm
from maskwright.networks.encoder_ends import ends
from maskwright.networks.head import Activation, mask_head
from maskwright.networks.linknet import decoder_block
from maskwright.networks.skips import Skip, skip_tensors


def biased_transpose(x: keras.KerasTensor, *, norm: Norm | None, name: str) -> keras.KerasTensor:
    """Enlarge by a learned 4x4 transposed convolution that has a bias, normalised or not."""
    x = layers.Conv2DTranspose(x.shape[-1], 4, strides=2, padding="same", name=f"{name}b_transpose")(x)
    return norm_relu(x, norm=norm, name=f"{name}b")


def build_smp_linknet(
    backbone: keras.Model,
    classes: int,
    skip_connection_layers: Sequence[Skip],
    *,
    n_upsample_blocks: int = 5,
    prefinal_channels: int = 32,
    activation: Activation = "sigmoid",
    use_batchnorm: bool = True,
    norm: Norm = torch_batch_norm,
) -> keras.Model:
    """A LinkNet on any functional or built sequential Keras model whose output is a feature map.

    Takes the backbone's images, (n, height, width, channels); returns (n, height, width, classes) in float32, when
    the backbone halves ``n_upsample_blocks`` times and its stride divides height and width.

    Args:
        backbone: The encoder, whose output is half as high and wide as the first skip.
        classes: Maps in the output.
        skip_connection_layers: Layers of the backbone, by name or by index in ``backbone.layers``, each twice as high
            and wide as the one before; each decides the channels of the block that adds it.
        n_upsample_blocks: How many blocks, each doubling the size; those beyond the last skip only enlarge.
        prefinal_channels: Channels of the blocks without a skip.
        activation: Keras activation of the output, by name or as a function; None is linear.
        use_batchnorm: Normalise in the decoder; without it every convolution has a bias.
        norm: The normalisation, a factory called as ``norm(name=...)``.

    Raises:
        UnknownChoice: ``activation`` is unknown.
        WrongArgument: another argument cannot be used.
        SkipSizeMismatch: a skip's known size is not twice that of the map below.

    >>> from maskwright.networks.resnet_v1 import RESNET_V1_SKIPS, ResNet18V1
    >>> encoder = ResNet18V1(input_shape=(64, 96, 3))
    >>> build_smp_linknet(encoder, 2, RESNET_V1_SKIPS, activation="softmax").output_shape
    (None, 64, 96, 2)
    """
    images, x = ends(backbone)
    check_at_least_one("n_upsample_blocks", n_upsample_blocks)
    check_at_least_one("prefinal_channels", prefinal_channels)
    skips = skip_tensors(backbone, skip_connection_layers, argument="skip_connection_layers", most=n_upsample_blocks)
    for stage, skip in enumerate([*skips, *[None] * (n_upsample_blocks - len(skips))]):
        x = decoder_block(
            x,
            skip,
            enlarge=biased_transpose,
            filters=prefinal_channels if skip is None else skip.shape[-1],
            norm=norm if use_batchnorm else None,
            name=f"decoder_stage{stage}",
        )
    return keras.Model(images, mask_head(x, classes, activation=activation, size=1), name="smp_linknet")
