"""The two ends of a backbone that a decoder is tied to: the images it takes and the deepest map it gives."""

import keras
from keras import layers

from maskwright.errors import wrong_argument
from maskwright.networks.argument_checks import MAP, check_image_format, is_map
from maskwright.networks.blocks import Norm, conv_bn_relu


def ends(backbone: keras.Model) -> tuple[keras.KerasTensor, keras.KerasTensor]:
    """Images (n, height, width, channels) that ``backbone`` takes, and the map (n, h, w, c) it gives.

    Raises:
        WrongArgument: ``backbone`` is no Keras model with one output, a map, or Keras is set to channels first.
    """
    outputs = getattr(backbone, "outputs", None)
    if not isinstance(backbone, keras.Model) or not outputs or len(outputs) > 1 or not is_map(outputs[0]):
        expected = f"a functional or built sequential Keras model with one output, a map {MAP}"
        raise wrong_argument("backbone", backbone, expected=expected, hint="Build it with include_top=False.")
    check_image_format()
    # A Sequential has no `input` and `output` before it is called.
    return (backbone.inputs[0] if isinstance(backbone, keras.Sequential) else backbone.input), outputs[0]


def centre(backbone: keras.Model, x: keras.KerasTensor, *, norm: Norm | None) -> keras.KerasTensor:
    """``x``, the end of ``backbone``, after two more convolutions of 512 where that is a bare max pooling.

    A VGG ends so: the two take the place of the convolutions that a deeper stage would have.
    """
    if isinstance(backbone.layers[-1], layers.MaxPooling2D):
        x = conv_bn_relu(x, 512, norm=norm, name="center_block1")
        x = conv_bn_relu(x, 512, norm=norm, name="center_block2")
    return x
