"""Tensors of a backbone to which a decoder is connected: the input images and the deepest feature map."""

import keras
from keras import layers

from maskwright.errors import wrong_argument
from maskwright.networks.argument_checks import FEATURE_MAP_SHAPE, check_image_format, is_feature_map
from maskwright.networks.blocks import Norm, conv_bn_relu


def input_and_features(backbone: keras.Model) -> tuple[keras.KerasTensor, keras.KerasTensor]:
    """Return the input (n, height, width, channels) and the output feature map (n, h, w, c) of ``backbone``.

    Raises:
        WrongArgument: ``backbone`` is not a Keras model with a feature map as its only output, or Keras is set to
            channels first.
    """
    outputs = getattr(backbone, "outputs", None)
    if not isinstance(backbone, keras.Model) or not outputs or len(outputs) > 1 or not is_feature_map(outputs[0]):
        expected = f"a functional or built sequential Keras model with one output, a feature map {FEATURE_MAP_SHAPE}"
        raise wrong_argument("backbone", backbone, expected=expected, hint="Build it with include_top=False.")
    check_image_format()
    # A Sequential model has neither `input` nor `output` before it is called.
    return (backbone.inputs[0] if isinstance(backbone, keras.Sequential) else backbone.input), outputs[0]


def center_block(backbone: keras.Model, x: keras.KerasTensor, *, norm: Norm | None) -> keras.KerasTensor:
    """Apply two convolutions with 512 filters to ``x`` if ``backbone`` ends in max pooling, else return ``x``.

    A VGG ends in max pooling, and the convolutions replace those of a deeper stage.
    """
    if isinstance(backbone.layers[-1], layers.MaxPooling2D):
        x = conv_bn_relu(x, 512, norm=norm, name="center_block1")
        x = conv_bn_relu(x, 512, norm=norm, name="center_block2")
    return x
