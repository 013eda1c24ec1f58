"""Encoders from `keras.applications`, adapted to match those of segmentation_models 1.0.1.

Each encoder accepts any number of input channels. Preprocessing layers are removed because the images are already
preprocessed (see `get_preprocessing`). The Inception networks use same padding everywhere, so that sides are halved
exactly. Layer names do not depend on the networks that were built earlier in the session.
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

PREPROCESSING_LAYERS: Final = (layers.Rescaling, layers.Normalization)


class PublishedLayerMismatch(InputError):
    """A published layer of Keras that does not match the encoder."""

    text = (
        "{encoder}: the published layer {layer} has weights of shapes {found}, the encoder's layer {expected}. "
        "This version of Keras builds a different network; install the version that Maskwright was tested with."
    )


class UnreadablePublishedFile(InputError):
    """A cached file that does not contain the weights published by Keras."""

    text = (
        "{file}: found {found}, expected the weights published by Keras for {encoder}. Remove the file and "
        "{file}.sha256 to download it again."
    )


class ApplicationBuilder(Protocol):
    """Function of `keras.applications` that builds a network."""

    def __call__(self, *, weights: str | None, include_top: bool, **inputs: Any) -> keras.Model:
        """Build the network on ``input_shape`` or ``input_tensor``."""
        ...


@dataclass(frozen=True)
class Application:
    """Builder of a Keras network, and whether segmentation_models uses same padding where Keras does not."""

    build: ApplicationBuilder
    pad_everywhere: bool = False


def _without_preprocessing(build: ApplicationBuilder) -> Application:
    return Application(partial(build, include_preprocessing=False))


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
    "mobilenetv3small": _without_preprocessing(applications.MobileNetV3Small),
    "mobilenetv3large": _without_preprocessing(applications.MobileNetV3Large),
    **{
        f"efficientnetv2b{size}": _without_preprocessing(getattr(applications, f"EfficientNetV2B{size}"))
        for size in range(4)
    },
    "efficientnetv2s": _without_preprocessing(applications.EfficientNetV2S),
    "efficientnetv2m": _without_preprocessing(applications.EfficientNetV2M),
    "efficientnetv2l": _without_preprocessing(applications.EfficientNetV2L),
    "convnexttiny": _without_preprocessing(applications.ConvNeXtTiny),
    "convnextsmall": _without_preprocessing(applications.ConvNeXtSmall),
    "convnextbase": _without_preprocessing(applications.ConvNeXtBase),
    "convnextlarge": _without_preprocessing(applications.ConvNeXtLarge),
    "convnextxlarge": _without_preprocessing(applications.ConvNeXtXLarge),
}


def build_application(name: str, *, input_shape: ImageShape = (None, None, 3)) -> keras.Model:
    """Build the encoder ``name`` of `APPLICATIONS` without a classifier and with random weights.

    The input consists of preprocessed images (n, height, width, channels), and the output consists of features (n,
    height / 32, width / 32, filters). Layers have the names that Keras assigns in a new session.

    Args:
        name: Name of the encoder, a key of `APPLICATIONS`.
        input_shape: Height, width and number of channels of the images; height and width may be None.

    Raises:
        UnknownChoice: No application has this name.
        WrongArgument: ``input_shape`` is invalid, or Keras is set to channels first.

    >>> build_application("mobilenet", input_shape=(64, 96, 4)).output_shape
    (None, 2, 3, 1024)
    """
    application = one_of("name", name, APPLICATIONS)
    check_image_format()
    check_input_shape(input_shape, argument="input_shape")
    images = keras.Input(input_shape, name="data")
    # Without same padding, an Inception network cannot be built for small images, so it is first built for a variable
    # size.
    source = keras.Input((None, None, input_shape[2]), name="data") if application.pad_everywhere else images
    # A tensor is passed instead of a shape because Keras warns about shapes that do not have one or three channels.
    network = application.build(weights=None, include_top=False, input_tensor=source)
    named = keras.Model(source, network.outputs[0], name=name)
    return _standardise(named, images, pad_everywhere=application.pad_everywhere)


def published_encoder(name: str, file: Path) -> keras.Model:
    """Build the encoder ``name`` for RGB images with the ImageNet weights published by Keras in ``file``.

    Weights are copied by layer name.

    Raises:
        UnknownChoice: No application has this name.
        UnreadablePublishedFile: ``file`` is damaged or belongs to another network.
        PublishedLayerMismatch: A published layer is not in the encoder, or its weights have other shapes.
    """
    application = one_of("name", name, APPLICATIONS)
    source = application.build(weights=None, include_top=False, input_shape=(224, 224, 3))
    try:
        source.load_weights(file)
    except (OSError, KeyError, ValueError) as error:
        raise UnreadablePublishedFile(encoder=name, file=file, found=str(error).strip("'\"").rstrip(".")) from error
    encoder = build_application(name)
    copy_layers(source, encoder)
    return encoder


def copy_layers(source: keras.Model, encoder: keras.Model) -> None:
    """Copy the weights of ``source``, a network of `keras.applications`, to the layers of ``encoder`` by name.

    Raises:
        PublishedLayerMismatch: A layer is missing from one of the networks, or its weights have other shapes.
    """
    names = _numbered_names(source.operations)
    weights = {
        names.get(layer.name, layer.name): layer.get_weights()
        for layer in source.layers
        if not isinstance(layer, PREPROCESSING_LAYERS)
    }
    targets = {layer.name: layer for layer in encoder.layers}
    for name in sorted(weights.keys() | targets.keys()):
        found = [array.shape for array in weights.get(name, [])]
        expected = [tuple(weight.shape) for weight in targets[name].weights] if name in targets else []
        if found != expected:
            raise PublishedLayerMismatch(encoder=encoder.name, layer=name, found=found, expected=expected)
        if found:
            targets[name].set_weights(weights[name])


def _standardise(network: keras.Model, images: keras.KerasTensor, *, pad_everywhere: bool) -> keras.Model:
    """Copy ``network``, with new weights and adapted as described in the module docstring, to the input ``images``."""
    names = _numbered_names(network.operations)
    if not names:
        return network  # every network that needs changes contains a layer with a number in its name

    def copy(op: keras.Operation) -> keras.Operation:
        config = op.get_config() | {"name": names.get(op.name, op.name)}
        if pad_everywhere and config.get("padding") == "valid":
            config["padding"] = "same"
        return type(op).from_config(config)

    def call(op: keras.Operation, *args: Any, **kwargs: Any) -> Any:
        if isinstance(op, PREPROCESSING_LAYERS):
            return args[0]
        if not isinstance(op, keras.Layer) and all(isinstance(arg, keras.KerasTensor) for arg in args):
            return layers.Add(name=op.name)(list(args))  # only a layer, not an operation, can be a skip connection
        return op(*args, **kwargs)

    return keras.models.clone_model(network, images, clone_function=copy, call_function=call)


def _numbered_names(operations: Iterable[keras.Operation]) -> dict[str, str]:
    """Map the names of operations that Keras named by class and number to their names in a new session.

    Padding layers are excluded because they are not used as skip connections, and copying a DenseNet only to rename
    them would take as long as building it.
    """
    by_class: defaultdict[str, list[tuple[int, str]]] = defaultdict(list)
    for operation in operations:
        stem = re.sub(r"_\d+$", "", operation.name)
        number = operation.name[len(stem) + 1 :]
        named_by_class = stem.replace("_", "") == type(operation).__name__.lower()
        if named_by_class and not isinstance(operation, layers.ZeroPadding2D):
            by_class[stem].append((int(number or 0), operation.name))
    return {
        name: f"{stem}_{count}" if count else stem
        for stem, numbered in by_class.items()
        for count, (_, name) in enumerate(sorted(numbered))
    }
