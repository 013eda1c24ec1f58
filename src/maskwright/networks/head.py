"""Head of a segmentation network, with one output channel per class in float32."""

from collections.abc import Callable
from inspect import getmembers, isfunction

import keras
from keras import layers

from maskwright.errors import unknown_choice
from maskwright.networks.argument_checks import check_classes

Activation = str | Callable[[keras.KerasTensor], keras.KerasTensor] | None


def activation_layer(activation: Activation, *, name: str | None = None) -> layers.Activation:
    """Create the float32 output layer, which is named ``name`` or after ``activation`` (None means linear).

    Raises:
        UnknownChoice: Keras has no activation of this name.
    """
    try:
        function = keras.activations.get(activation)
    except ValueError as error:
        utilities = {"deserialize", "get", "serialize"}
        known = [name for name, _ in getmembers(keras.activations, isfunction) if name not in utilities]
        raise unknown_choice("activation", activation, known) from error
    default_name = activation if isinstance(activation, str) else getattr(function, "__name__", type(function).__name__)
    return layers.Activation(activation, dtype="float32", name=name or default_name)


def mask_head(
    x: keras.KerasTensor,
    classes: int,
    *,
    activation: Activation,
    size: int = 3,
    upsampling: layers.Layer | None = None,
    name: str = "final_conv",
    output_name: str | None = None,
) -> keras.KerasTensor:
    """Apply a convolution with ``classes`` filters and the activation, both in float32 under any precision policy.

    Args:
        x: Feature map of shape (n, h, w, c).
        classes: Number of output channels.
        activation: Keras activation of the output, as a name or a function; None means linear.
        size: Height and width of the convolution kernel, in pixels.
        upsampling: Upsampling layer with ``dtype="float32"`` between convolution and activation; None omits it.
        name: Name of the convolution layer.
        output_name: Name of the activation layer; by default, the name of the activation.

    Raises:
        UnknownChoice: ``activation`` is not the name of a Keras activation.
        WrongArgument: ``classes`` is not a positive integer.

    >>> features = keras.Input((16, 24, 8))
    >>> mask_head(features, 2, activation="softmax", upsampling=layers.UpSampling2D(4, dtype="float32")).shape
    (None, 64, 96, 2)
    """
    check_classes(classes)
    output = activation_layer(activation, name=output_name)
    conv = layers.Conv2D(classes, size, padding="same", kernel_initializer="glorot_uniform", dtype="float32", name=name)
    x = conv(x)
    return output(x if upsampling is None else upsampling(x))
