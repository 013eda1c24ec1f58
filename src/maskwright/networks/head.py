"""The end of a segmentation network: one map a class, in float32."""

from collections.abc import Callable
from inspect import getmembers, isfunction

import keras
from keras import layers

from maskwright.errors import unknown_choice
from maskwright.networks.checks import check_classes

Activation = str | Callable[[keras.KerasTensor], keras.KerasTensor] | None


def activation_layer(activation: Activation) -> layers.Activation:
    """The layer that ends a network, in float32 and named after ``activation`` (None is linear).

    Raises:
        UnknownChoice: Keras knows no activation of this name.
    """
    try:
        function = keras.activations.get(activation)
    except ValueError as error:
        utilities = {"deserialize", "get", "serialize"}
        known = [name for name, _ in getmembers(keras.activations, isfunction) if name not in utilities]
        raise unknown_choice("activation", activation, known) from error
    name = activation if isinstance(activation, str) else getattr(function, "__name__", type(function).__name__)
    return layers.Activation(activation, dtype="float32", name=name)


def mask_head(x: keras.KerasTensor, classes: int, *, activation: Activation) -> keras.KerasTensor:
    """A 3x3 convolution to ``classes`` maps and the activation, in float32 whatever the precision before them.

    Raises:
        UnknownChoice: Keras knows no such activation.
        WrongArgument: ``classes`` is not a positive integer.
    """
    check_classes(classes)
    activate = activation_layer(activation)
    conv = layers.Conv2D(
        classes, 3, padding="same", kernel_initializer="glorot_uniform", dtype="float32", name="final_conv"
    )
    return activate(conv(x))
