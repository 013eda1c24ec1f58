"""PSPNet: a network in which one encoder feature map is pooled to four grids, which provide context.

Sources: Zhao et al., "Pyramid Scene Parsing Network", CVPR 2017; arguments and layer names of
segmentation_models 1.0.1. For image sides that segmentation_models accepts, which are multiples of
``6 * final_upsampling_factor``, both networks are equal.
"""

from typing import Final

import keras
from keras import layers

from maskwright.networks.argument_checks import check_at_least_one, check_dropout
from maskwright.networks.bilinear_upsampling import BilinearUpsampling2D
from maskwright.networks.blocks import Norm, batch_norm, conv_bn_relu
from maskwright.networks.cell_pooling import CellPooling, Pooling, ResizeLike
from maskwright.networks.encoder_tensors import input_and_features
from maskwright.networks.head import Activation, mask_head
from maskwright.networks.skips import Skip, skip_tensors

GRIDS: Final = (1, 2, 3, 6)  # number of cells per side of each grid


def context_block(
    x: keras.KerasTensor, *, cells: int, pooling: Pooling, filters: int, norm: Norm | None
) -> keras.KerasTensor:
    """Pool (n, h, w, c) to ``cells`` x ``cells``, convolve each cell and upsample to (n, h, w, filters)."""
    name = f"psp_level{cells}"
    pooled = CellPooling(cells, pooling, name=f"{name}_pooling")(x)
    pooled = conv_bn_relu(pooled, filters, size=1, norm=norm, name=name)
    return ResizeLike(name=f"{name}_upsampling")([pooled, x])


def build_pspnet(
    backbone: keras.Model,
    classes: int,
    psp_layer: Skip,
    *,
    pooling_type: Pooling = "avg",
    conv_filters: int = 512,
    final_upsampling_factor: int = 8,
    dropout: float | None = None,
    activation: Activation = "sigmoid",
    use_batchnorm: bool = True,
    norm: Norm = batch_norm,
) -> keras.Model:
    """Build a PSPNet on the layers of a functional or built sequential Keras model up to ``psp_layer``.

    The input consists of the images of the backbone, (n, height, width, channels). The output consists of float32 masks
    (n, height, width, classes) if the output of ``psp_layer`` has 1/``final_upsampling_factor`` of the image size.

    Args:
        backbone: Encoder, as a Keras model.
        classes: Number of output channels.
        psp_layer: Layer whose output is pooled, by name or by index in ``backbone.layers``.
        pooling_type: Type of pooling: ``"avg"`` or ``"max"``.
        conv_filters: Number of filters of the convolution of each pooled grid and of the convolution that merges the
            grids.
        final_upsampling_factor: Factor of the bilinear upsampling of the mask to the image size.
        dropout: Spatial dropout rate in [0, 1): fraction of the merged channels that are dropped in training; None
            disables dropout.
        activation: Keras activation of the output, as a name or a function; None means linear.
        use_batchnorm: Whether the convolutions after the pyramid are normalised; without normalisation, they have a
            bias.
        norm: Factory of normalisation layers, called as ``norm(name=...)``.

    Raises:
        UnknownChoice: ``pooling_type`` or ``activation`` is unknown.
        WrongArgument: Another argument has an invalid value.

    >>> from maskwright.networks import ResNet18
    >>> encoder = ResNet18(include_top=False, input_shape=(96, 144, 3))
    >>> build_pspnet(encoder, 2, "stage3_unit1_relu1", activation="softmax").output_shape
    (None, 96, 144, 2)
    """
    images, _ = input_and_features(backbone)
    check_at_least_one("conv_filters", conv_filters)
    check_at_least_one("final_upsampling_factor", final_upsampling_factor)
    check_dropout("dropout", dropout)
    (x,) = skip_tensors(backbone, [psp_layer], argument="psp_layer", max_count=1)
    norm_or_none = norm if use_batchnorm else None

    grids = [
        context_block(x, cells=cells, pooling=pooling_type, filters=conv_filters, norm=norm_or_none) for cells in GRIDS
    ]
    x = layers.Concatenate(name="psp_concat")([x, *grids])
    x = conv_bn_relu(x, conv_filters, size=1, norm=norm_or_none, name="aggregation")
    if dropout:
        x = layers.SpatialDropout2D(dropout, name="spatial_dropout")(x)
    final_upsampling = BilinearUpsampling2D(final_upsampling_factor, dtype="float32", name="final_upsampling")
    return keras.Model(images, mask_head(x, classes, activation=activation, upsampling=final_upsampling), name="pspnet")
