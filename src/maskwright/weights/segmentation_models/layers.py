"""Check that a whole Keras 2 model has the same layers as the rebuilt network, apart from the values of weights."""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from typing import Any, Final, NamedTuple

import keras
from keras import layers

from maskwright.errors import InputError
from maskwright.networks.bilinear_upsampling import BilinearUpsampling2D
from maskwright.networks.cell_pooling import CellPooling, ResizeLike
from maskwright.weights.segmentation_models.identify import Description, UnknownNetwork
from maskwright.weights.segmentation_models.names import current_name

# Settings, with the defaults of Keras, that affect predictions and cannot be inferred from weights.
POOLING: Final[Mapping[str, object]] = {"pool_size": (2, 2), "strides": (2, 2), "padding": "valid"}
CONVOLUTION: Final[Mapping[str, object]] = {"strides": (1, 1), "dilation_rate": (1, 1), "padding": "valid"}
SETTINGS: Final[Mapping[str, Mapping[str, object]]] = {
    "Activation": {"activation": "linear"},
    "AveragePooling2D": POOLING,
    "BatchNormalization": {"epsilon": 1e-3},
    "Concatenate": {"axis": -1},
    "Conv2D": CONVOLUTION,
    "Conv2DTranspose": CONVOLUTION,
    "DepthwiseConv2D": CONVOLUTION,
    "MaxPooling2D": POOLING,
    "ReLU": {"max_value": None, "negative_slope": 0.0, "threshold": 0.0},
    "UpSampling2D": {"size": (2, 2), "interpolation": "nearest"},
    "ZeroPadding2D": {"padding": ((1, 1), (1, 1))},
}
INFERENCE_NO_OPS: Final = frozenset({"InputLayer", "Dropout", "FixedDropout", "SpatialDropout2D"})
# In these encoders, Keras 3 pads in a separate layer where segmentation_models pads in the convolution, or vice versa.
BACKBONES_WITH_OTHER_PADDING: Final = ("mobilenet", "efficientnet")
# Lambda layers of segmentation_models slice channels, add an axis before a gate, or compute the weighted sums of
# InceptionResNetV2. They are identified by their arguments and by the package that defines them, if it is stated in the
# file.
LAMBDA_PACKAGES: Final = ("classification_models", "segmentation_models", "keras_applications")
EXPAND_DIMS_SETTINGS: Final = (("channels_axis", 3),)  # arguments of the Lambda layer that adds an axis before a gate


class UnexpectedLayer(InputError):
    """A layer of a whole model that differs from all layers of the network in segmentation_models."""

    text = (
        "{file}: the layer {layer} ({operation}) is not in the {architecture} on {backbone} of segmentation_models "
        "1.0.1. Build the network yourself and pass it as network."
    )


class MissingLayers(InputError):
    """A whole model in which layers of the network in segmentation_models are missing."""

    text = (
        "{file}: the model lacks {missing}; expected the layers of the {architecture} on {backbone} of "
        "segmentation_models 1.0.1. Build the network yourself and pass it as network."
    )


class Operation(NamedTuple):
    """Operation that is computed by a layer.

    Attributes:
        layer: Name of the layer if it is in both the file and the network, otherwise empty.
        kind: Class name of the layer.
        settings: Settings that affect predictions.
    """

    layer: str
    kind: str
    settings: tuple[tuple[str, object], ...] = ()

    def __str__(self) -> str:
        return ", ".join([self.kind, *(f"{name} {value}" for name, value in self.settings)])


def check_layers(network: keras.Model, description: Description, layer_configs: Collection[Mapping[str, Any]]) -> None:
    """Check that the layers of a whole model have the same types and settings as those of ``network``.

    This check is needed because layers without weights, and settings such as strides, cannot be inferred from weights.

    Args:
        network: Network that was rebuilt from the description.
        description: Description of the network in the file.
        layer_configs: Configurations of the layers in the file.

    Raises:
        UnexpectedLayer: The file contains a layer that is not in ``network``, or a layer with different settings.
        MissingLayers: A layer of ``network`` is missing in the file.
        UnknownNetwork: The configuration of the file does not have the format of Keras.
    """
    try:
        entries = [(layer["config"]["name"], layer["class_name"], layer["config"]) for layer in layer_configs]
        shared = shared_names(network, layer_configs)
        compare_padding = has_equal_padding_layers(description)
        named_operations = [
            (name, operation)
            for name, kind, settings in entries
            for operation in file_operations(
                current_name(name) if current_name(name) in shared else "",
                kind,
                settings,
                compare_padding=compare_padding,
            )
        ]
        found = Counter(operation for _, operation in named_operations)
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise UnknownNetwork(file=description.file, found="model_config was not written by Keras") from error
    expected = Counter(
        operation
        for layer in network.layers
        for operation in network_operations(layer.name if layer.name in shared else "", layer, network, description)
    )

    context = {"file": description.file, "architecture": description.architecture, "backbone": description.backbone}
    if unexpected := found - expected:
        # Layers that were added to a network are the last layers in its file.
        layer, operation = next((name, item) for name, item in reversed(named_operations) if item in unexpected)
        raise UnexpectedLayer(**context, layer=layer, operation=operation)
    if missing := expected - found:
        operation, count = next(iter(missing.items()))
        raise MissingLayers(**context, missing=f"{count} x {operation}")


def shared_names(network: keras.Model, layer_configs: Collection[Mapping[str, Any]]) -> set[str]:
    """Return the names of the explicitly named layers that are in both the file and ``network``."""
    names = ((layer["config"]["name"], layer["class_name"]) for layer in layer_configs)
    given_names = {current_name(name) for name, kind in names if not _is_auto_name(name, kind)}
    return given_names & {layer.name for layer in network.layers}


def _is_auto_name(name: str, kind: str) -> bool:
    return name.rstrip("0123456789").replace("_", "") == kind.lower()


def has_equal_padding_layers(description: Description) -> bool:
    """Return whether the encoder has the same padding layers in segmentation_models and in Keras 3."""
    return not description.backbone.startswith(BACKBONES_WITH_OTHER_PADDING)


def file_operations(
    layer: str, kind: str, settings: Mapping[str, Any], *, compare_padding: bool
) -> Iterator[Operation]:
    """Yield the operations of a layer in the file, with the activation of a convolution as a separate operation.

    Args:
        layer: Name of the layer, which is stored in the operations.
        kind: Class name of the layer.
        settings: Configuration of the layer.
        compare_padding: Whether the operations include padding.
    """
    if kind in INFERENCE_NO_OPS or (kind == "ZeroPadding2D" and not compare_padding):
        return
    compared = {name: _normalised(settings.get(name, default)) for name, default in SETTINGS.get(kind, {}).items()}
    if kind == "Lambda":
        package = str(settings.get("module") or LAMBDA_PACKAGES[0])
        is_known = package.startswith(LAMBDA_PACKAGES)
        compared = dict(settings.get("arguments") or {}) if is_known else {"module": package}
    elif kind == "Concatenate" and compared["axis"] == 3:
        compared["axis"] = -1
    elif "dilation_rate" in compared and not compare_padding:
        del compared["padding"]
    yield Operation(layer, kind, tuple((name, _normalised(value)) for name, value in sorted(compared.items())))
    if kind != "Activation" and (activation := _normalised(settings.get("activation") or "linear")) != "linear":
        yield Operation(layer, "Activation", (("activation", activation),))


def _normalised(value: Any) -> Any:
    """Return a setting in a form that is the same for Keras 2 and Keras 3."""
    if isinstance(value, list | tuple):
        return tuple(map(_normalised, value))
    if isinstance(value, float):  # some values are stored as float32 in files
        return float(f"{value:.6g}")
    return "silu" if value == "swish" else value


def network_operations(
    name: str, layer: keras.Layer, network: keras.Model, description: Description
) -> Iterator[Operation]:
    """Yield the operations of a layer of ``network``, as `file_operations` does for the same layer in a file."""
    kind, settings = type(layer).__name__, layer.get_config()
    compare_padding = has_equal_padding_layers(description)
    if layer is network.layers[-1]:  # the caller may have replaced the stored activation
        settings["activation"] = description.activation
    groups = getattr(layer, "groups", 1)
    if isinstance(layer, CellPooling):
        size = _pool_size(layer.name, description)
        kind = {"avg": "AveragePooling2D", "max": "MaxPooling2D"}[layer.pooling_type]
        settings = {"pool_size": size, "strides": size, "padding": "same"}
    elif isinstance(layer, ResizeLike):
        kind, settings = "UpSampling2D", {"size": _pool_size(layer.name, description), "interpolation": "bilinear"}
    elif isinstance(layer, BilinearUpsampling2D):
        kind, settings = "UpSampling2D", {"size": (layer.factor,) * 2, "interpolation": "bilinear"}
    elif kind == "CustomScaleLayer":
        kind, settings = "Lambda", {"arguments": {"scale": layer.scale}}
    elif isinstance(layer, layers.GlobalAveragePooling2D) and layer.keepdims:
        yield Operation("", "Lambda", EXPAND_DIMS_SETTINGS)
    elif isinstance(layer, layers.Conv2D) and groups > 1:
        width = layer.input.shape[-1] // groups
        for start in range(0, groups * width, width):
            yield Operation("", "Lambda", (("axis", 3), ("start", start), ("stop", start + width)))
            yield from file_operations("", "Conv2D", settings, compare_padding=compare_padding)
        kind, settings = "Concatenate", {}
    yield from file_operations(name, kind, settings, compare_padding=compare_padding)


def _pool_size(layer: str, description: Description) -> tuple[int, ...]:
    """Return the height and width of a pooling cell of a PSPNet, in pixels of the feature map of the encoder."""
    cells = int(layer.removeprefix("psp_level").split("_")[0])
    factor = description.options["downsample_factor"]
    return tuple((side or 0) // (factor * cells) for side in description.input_shape[:2] if isinstance(factor, int))
