"""PSPNet: what lies around each pixel, seen through four grids of cells, joined to one map of the encoder.

Sources: Zhao et al., "Pyramid Scene Parsing Network", CVPR 2017; arguments and layer names of the reference library
segmentation_models 1.0.1, whose networks these equal on the sizes it takes: multiples of six cells.
"""

from typing import Final

import keras
from keras import layers

from maskwright.networks.argument_checks import check_at_least_one, check_dropout
from maskwright.networks.bilinear_upsampling import BilinearUpsampling2D
from maskwright.networks.blocks import Norm, batch_norm, conv_bn_relu
from maskwright.networks.cell_pooling import CellPooling, Pooling, ResizeLike
from maskwright.networks.encoder_ends import ends
from maskwright.networks.head import Activation, mask_head
from maskwright.networks.skips import Skip, skip_tensors

GRIDS: Final = (1, 2, 3, 6)  # cells each way


def context_block(
    x: keras.KerasTensor, *, cells: int, pooling: Pooling, filters: int, norm: Norm | None
) -> keras.KerasTensor:
    """Pool (n, h, w, c) to ``cells`` x ``cells``, convolve each cell, enlarge to (n, h, w, filters)."""
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
    """A PSPNet on any functional or built sequential Keras model, of which it uses the layers up to ``psp_layer``.

    Takes the backbone's images, (n, height, width, channels); returns (n, height, width, classes) in float32, when
    ``psp_layer`` gives maps of 1/``final_upsampling_factor`` of the images' size.

    Args:
        backbone: The encoder.
        classes: Maps in the output.
        psp_layer: The layer the pyramid stands on, by name or by index in ``backbone.layers``.
        pooling_type: ``"avg"`` takes a cell's mean, ``"max"`` its largest value.
        conv_filters: Filters of the convolution of each grid and of the one that merges them.
        final_upsampling_factor: How many times the mask is enlarged, bilinearly.
        dropout: Share of the merged channels to drop in training, in [0, 1); None for no such layer.
        activation: Keras activation of the output, by name or as a function; None is linear.
        use_batchnorm: Normalise after the pyramid; without it the convolutions there have a bias.
        norm: The normalisation, a factory called as ``norm(name=...)``.

    Raises:
        UnknownChoice: ``pooling_type`` or ``activation`` is unknown.
        WrongArgument: another argument cannot be used.

    >>> from maskwright.networks import ResNet18
    >>> encoder = ResNet18(include_top=False, input_shape=(96, 144, 3))
    >>> build_pspnet(encoder, 2, "stage3_unit1_relu1", activation="softmax").output_shape
    (None, 96, 144, 2)
    """
    images, _ = ends(backbone)
    check_at_least_one("conv_filters", conv_filters)
    check_at_least_one("final_upsampling_factor", final_upsampling_factor)
    check_dropout("dropout", dropout)
    (x,) = skip_tensors(backbone, [psp_layer], argument="psp_layer", most=1)
    norm_or_none = norm if use_batchnorm else None

    grids = [
        context_block(x, cells=cells, pooling=pooling_type, filters=conv_filters, norm=norm_or_none) for cells in GRIDS
    ]
    x = layers.Concatenate(name="psp_concat")([x, *grids])
    x = conv_bn_relu(x, conv_filters, size=1, norm=norm_or_none, name="aggregation")
    if dropout:
        x = layers.SpatialDropout2D(dropout, name="spatial_dropout")(x)
    enlarge = BilinearUpsampling2D(final_upsampling_factor, dtype="float32", name="final_upsampling")
    return keras.Model(images, mask_head(x, classes, activation=activation, upsampling=enlarge), name="pspnet")
