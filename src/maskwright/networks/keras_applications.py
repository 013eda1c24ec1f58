"""Encoders that Keras itself provides, in the form of the reference library segmentation_models 1.0.1.

Each is built from `keras.applications`, with any number of input channels, and then put right where the two differ:
layers that prepare pixels are left out (pixels come prepared, see `get_preprocessing`), the Inceptions pad everywhere
so that sides halve exactly, and the same layer has the same name whatever was built before it.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, Protocol

import keras
from keras import applications, layers

from maskwright.errors import InputError, one_of
from maskwright.networks.argument_checks import ImageShape, check_image_format, check_input_shape

PREPARES_PIXELS: Final = (layers.Rescaling, layers.Normalization)


class UnfitPublishedLayer(InputError):
    """A layer of Keras' published weights that has no counterpart in the encoder."""

    text = (
        "{encoder}: the published layer {layer} holds arrays of shapes {found}, the encoder's {expected}. "
        "This version of Keras builds another network; install the one this package was tested with."
    )


class UnreadablePublishedFile(InputError):
    """A file in the cache that does not hold what Keras publishes."""

    text = (
        "{file}: found {found}, expected the weights that Keras publishes for {encoder}. Remove the file, and "
        "{file}.sha256 beside it, and it is downloaded afresh."
    )


class Maker(Protocol):
    """A function of `keras.applications`."""

    def __call__(self, *, weights: str | None, include_top: bool, **inputs: Any) -> keras.Model:
        """Build the network on ``input_shape`` or ``input_tensor``."""
        ...


@dataclass(frozen=True)
class Application:
    """A network of Keras, and whether the reference library pads where Keras does not."""

    make: Maker
    pad_everywhere: bool = False


def _unprepared(make: Maker) -> Application:
    return Application(partial(make, include_preprocessing=False))


APPLICATIONS: Final[Mapping[str, Application]] = {
    "vgg16": Application(applications.VGG16),
    "vgg19": Application(applications.VGG19),
    "densenet121": Application(applications.DenseNet121),
    "densenet169": Application(applications.DenseNet169),
    "densenet201": Application(applications.DenseNet201),
    "inceptionv3": Application(applications.InceptionV3, pad_everywhere=True),
    "inceptionresnetv2": Application(applications.InceptionResNetV2, pad_everywhere=True),
    "mobilenet": Application(applications.MobileNet),
    "mobilenetv2": Application(applications.MobileNetV2),
    **{f"efficientnetb{size}": Application(getattr(applications, f"EfficientNetB{size}")) for size in range(8)},
    "mobilenetv3small": _unprepared(applications.MobileNetV3Small),
    "mobilenetv3large": _unprepared(applications.MobileNetV3Large),
    **{f"efficientnetv2b{size}": _unprepared(getattr(applications, f"EfficientNetV2B{size}")) for size in range(4)},
    "efficientnetv2s": _unprepared(applications.EfficientNetV2S),
    "efficientnetv2m": _unprepared(applications.EfficientNetV2M),
    "efficientnetv2l": _unprepared(applications.EfficientNetV2L),
    "convnexttiny": _unprepared(applications.ConvNeXtTiny),
    "convnextsmall": _unprepared(applications.ConvNeXtSmall),
    "convnextbase": _unprepared(applications.ConvNeXtBase),
    "convnextlarge": _unprepared(applications.ConvNeXtLarge),
    "convnextxlarge": _unprepared(applications.ConvNeXtXLarge),
}


def build_application(name: str, *, input_shape: ImageShape = (None, None, 3)) -> keras.Model:
    """The encoder ``name`` of `APPLICATIONS`, without a classifier and with random weights.

    Takes prepared images (n, height, width, channels); returns features (n, height / 32, width / 32, filters). Layers
    have the names that Keras gives them in a fresh session.

    Args:
        name: A key of `APPLICATIONS`.
        input_shape: Height, width and channels, any number of them; height and width may be None.

    Raises:
        UnknownChoice: no application has this name.
        WrongArgument: ``input_shape`` cannot be used, or Keras is set to channels first.

    >>> build_application("mobilenet", input_shape=(64, 96, 4)).output_shape
    (None, 2, 3, 1024)
    """
    application = one_of("name", name, APPLICATIONS)
    check_image_format()
    check_input_shape(input_shape, argument="input_shape")
    images = keras.Input(input_shape, name="data")
    # Without its padding an Inception has no place for small images: it is built for any size first.
    source = keras.Input((None, None, input_shape[2]), name="data") if application.pad_everywhere else images
    # A tensor rather than a shape: Keras warns of shapes with other than one or three channels.
    made = application.make(weights=None, include_top=False, input_tensor=source)
    named = keras.Model(source, made.outputs[0], name=name)
    return _settled(named, images, pad_everywhere=application.pad_everywhere)


def published(name: str, file: Path) -> keras.Model:
    """The encoder ``name`` for RGB images, holding the ImageNet weights that Keras publishes for it in ``file``.

    The numbers are copied layer by layer, by name.

    Raises:
        UnknownChoice: no application has this name.
        UnreadablePublishedFile: ``file`` is damaged, or another network's.
        UnfitPublishedLayer: a published layer is not in the encoder, or has other shapes.
    """
    application = one_of("name", name, APPLICATIONS)
    source = application.make(weights=None, include_top=False, input_shape=(224, 224, 3))
    try:
        source.load_weights(file)
    except (OSError, KeyError, ValueError) as error:
        raise UnreadablePublishedFile(encoder=name, file=file, found=str(error).strip("'\"").rstrip(".")) from error
    encoder = build_application(name)
    copy_layers(source, encoder)
    return encoder


def copy_layers(source: keras.Model, encoder: keras.Model) -> None:
    """Give every layer of ``encoder`` the numbers of the layer of its name in ``source``, a network of Keras' own.

    Raises:
        UnfitPublishedLayer: a layer of either has no counterpart in the other, or one of other shapes.
    """
    names = _numbered_names(source.operations)
    numbers = {
        names.get(layer.name, layer.name): layer.get_weights()
        for layer in source.layers
        if not isinstance(layer, PREPARES_PIXELS)
    }
    own = {layer.name: layer for layer in encoder.layers}
    for name in sorted(numbers.keys() | own.keys()):
        found = [array.shape for array in numbers.get(name, [])]
        expected = [tuple(weight.shape) for weight in own[name].weights] if name in own else []
        if found != expected:
            raise UnfitPublishedLayer(encoder=encoder.name, layer=name, found=found, expected=expected)
        if found:
            own[name].set_weights(numbers[name])


def _settled(made: keras.Model, images: keras.KerasTensor, *, pad_everywhere: bool) -> keras.Model:
    """A copy of ``made`` on ``images``, with new weights, changed as the head of this file says."""
    names = _numbered_names(made.operations)
    if not names:
        return made  # every network with something to change has a layer that Keras numbers

    def copy(op: keras.Operation) -> keras.Operation:
        config = op.get_config() | {"name": names.get(op.name, op.name)}
        if pad_everywhere and config.get("padding") == "valid":
            config["padding"] = "same"
        return type(op).from_config(config)

    def call(op: keras.Operation, *args: Any, **kwargs: Any) -> Any:
        if isinstance(op, PREPARES_PIXELS):
            return args[0]
        if not isinstance(op, keras.Layer) and all(isinstance(arg, keras.KerasTensor) for arg in args):
            return layers.Add(name=op.name)(list(args))  # the bare sums of the ConvNeXts are no layers to be tapped
        return op(*args, **kwargs)

    return keras.models.clone_model(made, images, clone_function=copy, call_function=call)


def _numbered_names(operations: Iterable[keras.Operation]) -> dict[str, str]:
    """For operations that Keras named by their class and a running number: the name in a fresh session.

    Paddings are left out: nobody taps them, and a copy of a DenseNet for their sake would take as long as building it.
    """
    by_class: defaultdict[str, list[tuple[int, str]]] = defaultdict(list)
    for operation in operations:
        word = re.sub(r"_\d+$", "", operation.name)
        number = operation.name[len(word) + 1 :]
        named_by_class = word.replace("_", "") == type(operation).__name__.lower()
        if named_by_class and not isinstance(operation, layers.ZeroPadding2D):
            by_class[word].append((int(number or 0), operation.name))
    return {
        name: f"{word}_{count}" if count else word
        for word, numbered in by_class.items()
        for count, (_, name) in enumerate(sorted(numbered))
    }
