"""LinkNet of segmentation_models_pytorch, with biased transposed convolutions and a 1x1 head on 32 channels.

Sources: Chaurasia and Culurciello, "LinkNet: Exploiting Encoder Representations for Efficient Semantic
Segmentation", VCIP 2017; graph of segmentation_models_pytorch 0.6.0.

With `torch_batch_norm`, the weights of that library's ``Linknet`` can be loaded. The tensors are mapped as follows:

- ``decoder.blocks.{stage}.block.{i}.0`` and ``.1``: ``decoder_stage{stage}{half}_conv`` and ``_bn``, where i = 0, 1, 2
  is half a, b, c; the convolution of half b is transposed and called ``_transpose``;
- ``segmentation_head.0``: ``final_conv``.
"""

from collections.abc import Sequence

import keras
from keras import layers

from maskwright.networks.argument_checks import check_at_least_one
from maskwright.networks.blocks import Norm, norm_relu, torch_batch_norm
from maskwright.networks.encoder_tensors import input_and_features
from maskwright.networks.head import Activation, mask_head
from maskwright.networks.linknet import decoder_block
from maskwright.networks.skips import Skip, skip_tensors


def biased_transpose(x: keras.KerasTensor, *, norm: Norm | None, name: str) -> keras.KerasTensor:
    """Upsample by a 4x4 transposed convolution that has a bias even if it is normalised."""
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
    """Build a LinkNet on any functional or built sequential Keras model whose output is a feature map.

    The input consists of the images of the backbone, (n, height, width, channels). The output consists of float32 masks
    (n, height, width, classes) if the backbone halves the size ``n_upsample_blocks`` times, and height and width are
    multiples of its stride.

    Args:
        backbone: Encoder, as a Keras model whose output has half the height and width of the first skip connection.
        classes: Number of output channels.
        skip_connection_layers: Layers of the backbone, by name or by index in ``backbone.layers``, each with twice the
            output height and width of the previous one; a decoder block has as many channels as the layer that it adds.
        n_upsample_blocks: Number of decoder blocks, each of which doubles the size.
        prefinal_channels: Number of channels of the decoder blocks without a skip connection.
        activation: Keras activation of the output, as a name or a function; None means linear.
        use_batchnorm: Whether to use normalisation in the decoder; without it, every convolution has a bias.
        norm: Factory of normalisation layers, called as ``norm(name=...)``.

    Raises:
        UnknownChoice: ``activation`` is unknown.
        WrongArgument: Another argument has an invalid value.
        SkipSizeMismatch: The known size of a skip connection is not twice that of the deeper feature map.

    >>> from maskwright.networks.resnet_v1 import RESNET_V1_SKIPS, ResNet18V1
    >>> encoder = ResNet18V1(input_shape=(64, 96, 3))
    >>> build_smp_linknet(encoder, 2, RESNET_V1_SKIPS, activation="softmax").output_shape
    (None, 64, 96, 2)
    """
    images, x = input_and_features(backbone)
    check_at_least_one("n_upsample_blocks", n_upsample_blocks)
    check_at_least_one("prefinal_channels", prefinal_channels)
    skips = skip_tensors(
        backbone, skip_connection_layers, argument="skip_connection_layers", max_count=n_upsample_blocks
    )
    for stage, skip in enumerate([*skips, *[None] * (n_upsample_blocks - len(skips))]):
        x = decoder_block(
            x,
            skip,
            upsample=biased_transpose,
            filters=prefinal_channels if skip is None else skip.shape[-1],
            norm=norm if use_batchnorm else None,
            name=f"decoder_stage{stage}",
        )
    return keras.Model(images, mask_head(x, classes, activation=activation, size=1), name="smp_linknet")
