"""Whether a whole Keras 2 model is the network built here: what its layers do, weights aside, is compared."""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from typing import Any, Final, NamedTuple

import keras
from keras import layers

from maskwright.errors import InputError
from maskwright.networks.bilinear_upsampling import BilinearUpsampling2D
from maskwright.networks.cell_pooling import CellPooling, ResizeLike
from maskwright.weights.segmentation_models.identify import Description, UnknownNetwork
from maskwright.weights.segmentation_models.names import name_here

# What of a layer's settings changes the masks and is not told by its weights, with Keras' values where one is absent.
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
IDLE: Final = frozenset({"InputLayer", "Dropout", "FixedDropout", "SpatialDropout2D"})  # in a network that predicts
# Keras 3 pads these encoders by a layer where the reference library pads in the convolution, or the reverse.
PADDED_OTHERWISE: Final = ("mobilenet", "efficientnet")
# The reference library's Lambda layers are told by the packages that define them (which old files do not name) and by
# their arguments: slices of channels, a new axis before a gate, and the weighted sums of InceptionResNetV2.
LAMBDA_HOMES: Final = ("classification_models", "segmentation_models", "keras_applications")
GATE_AXIS: Final = (("channels_axis", 3),)


class ForeignLayer(InputError):
    """A layer in a whole model that the reference library's network of that name does not have, or has otherwise."""

    text = (
        "{file}: layer {layer} ({does}) belongs to no {architecture} on {backbone} as segmentation_models 1.0.1 builds "
        "it. Build the network yourself and pass it as network."
    )


class MissingLayers(InputError):
    """A whole model without layers that the reference library's network of that name has."""

    text = (
        "{file}: the model lacks {missing} of a {architecture} on {backbone} as segmentation_models 1.0.1 builds it. "
        "Build the network yourself and pass it as network."
    )


class Deed(NamedTuple):
    """What a layer does to its input; ``layer`` is its name where it has the same one in the file and here."""

    layer: str
    kind: str
    settings: tuple[tuple[str, object], ...] = ()

    def __str__(self) -> str:
        return ", ".join([self.kind, *(f"{name} {value}" for name, value in self.settings)])


def check_layers(network: keras.Model, description: Description, described: Collection[Mapping[str, Any]]) -> None:
    """Refuse a model that the weights do not tell from ``network``, yet whose masks would be others.

    Args:
        network: The network built here.
        description: What was recognised.
        described: The layers in the file's description.

    Raises:
        ForeignLayer: the file has a layer more, or one with other settings.
        MissingLayers: it has fewer.
        UnknownNetwork: its description is not one that Keras wrote.
    """
    try:
        entries = [(layer["config"]["name"], layer["class_name"], layer["config"]) for layer in described]
        shared = shared_names(network, described)
        padded = pads_alike(description)
        theirs = [
            (name, deed)
            for name, kind, settings in entries
            for deed in deeds_there(name_here(name) if name_here(name) in shared else "", kind, settings, padded=padded)
        ]
        found = Counter(deed for _, deed in theirs)
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise UnknownNetwork(file=description.file, found="its description is not one that Keras wrote") from error
    expected = Counter(
        deed
        for layer in network.layers
        for deed in deeds_here(layer.name if layer.name in shared else "", layer, network, description)
    )

    where = {"file": description.file, "architecture": description.architecture, "backbone": description.backbone}
    if more := found - expected:
        layer, deed = next((name, deed) for name, deed in reversed(theirs) if deed in more)  # added ones come last
        raise ForeignLayer(**where, layer=layer, does=deed)
    if fewer := expected - found:
        deed, count = next(iter(fewer.items()))
        raise MissingLayers(**where, missing=f"{count} x {deed}")


def shared_names(network: keras.Model, described: Collection[Mapping[str, Any]]) -> set[str]:
    """Names here of the layers that the file's author named and ``network`` has too."""
    names = ((layer["config"]["name"], layer["class_name"]) for layer in described)
    own = {name_here(name) for name, kind in names if not _named_by_keras(name, kind)}
    return own & {layer.name for layer in network.layers}


def _named_by_keras(name: str, kind: str) -> bool:
    return name.rstrip("0123456789").replace("_", "") == kind.lower()


def pads_alike(description: Description) -> bool:
    """Whether this encoder pads by the same layers there and here."""
    return not description.backbone.startswith(PADDED_OTHERWISE)


def deeds_there(layer: str, kind: str, settings: Mapping[str, Any], *, padded: bool) -> Iterator[Deed]:
    """What a described layer does, in steps: an activation in a convolution is a step of its own.

    Paddings count where ``padded``. ``layer`` is the name that the deeds get.
    """
    if kind in IDLE or (kind == "ZeroPadding2D" and not padded):
        return
    told = {name: _plain(settings.get(name, default)) for name, default in SETTINGS.get(kind, {}).items()}
    if kind == "Lambda":
        home = str(settings.get("module") or LAMBDA_HOMES[0])
        told = dict(settings.get("arguments") or {}) if home.startswith(LAMBDA_HOMES) else {"module": home}
    elif kind == "Concatenate" and told["axis"] == 3:
        told["axis"] = -1
    elif "dilation_rate" in told and not padded:
        del told["padding"]
    yield Deed(layer, kind, tuple((name, _plain(value)) for name, value in sorted(told.items())))
    if kind != "Activation" and (fused := _plain(settings.get("activation") or "linear")) != "linear":
        yield Deed(layer, "Activation", (("activation", fused),))


def _plain(value: Any) -> Any:
    """A setting as both Keras versions may mean it: no lists, and one name for one function."""
    if isinstance(value, list | tuple):
        return tuple(map(_plain, value))
    if isinstance(value, float):  # some come by way of float32
        return float(f"{value:.6g}")
    return "silu" if value == "swish" else value


def deeds_here(name: str, layer: keras.Layer, network: keras.Model, description: Description) -> Iterator[Deed]:
    """As `deeds_there`, of a layer of ``network``, in the words of the file."""
    kind, settings, padded = type(layer).__name__, layer.get_config(), pads_alike(description)
    if layer is network.layers[-1]:  # which the user may have asked to be another
        settings["activation"] = description.activation
    groups = getattr(layer, "groups", 1)
    if isinstance(layer, CellPooling):
        size = _cell(layer.name, description)
        kind = {"avg": "AveragePooling2D", "max": "MaxPooling2D"}[layer.pooling_type]
        settings = {"pool_size": size, "strides": size, "padding": "same"}
    elif isinstance(layer, ResizeLike):
        kind, settings = "UpSampling2D", {"size": _cell(layer.name, description), "interpolation": "bilinear"}
    elif isinstance(layer, BilinearUpsampling2D):
        kind, settings = "UpSampling2D", {"size": (layer.factor,) * 2, "interpolation": "bilinear"}
    elif kind == "CustomScaleLayer":
        kind, settings = "Lambda", {"arguments": {"scale": layer.scale}}
    elif isinstance(layer, layers.GlobalAveragePooling2D) and layer.keepdims:
        yield Deed("", "Lambda", GATE_AXIS)
    elif isinstance(layer, layers.Conv2D) and groups > 1:
        width = layer.input.shape[-1] // groups
        for start in range(0, groups * width, width):
            yield Deed("", "Lambda", (("axis", 3), ("start", start), ("stop", start + width)))
            yield from deeds_there("", "Conv2D", settings, padded=padded)
        kind, settings = "Concatenate", {}
    yield from deeds_there(name, kind, settings, padded=padded)


def _cell(layer: str, description: Description) -> tuple[int, ...]:
    """Height and width, in the encoder's pixels, of the cells that a PSPNet pools, from the size the file gives."""
    cells = int(layer.removeprefix("psp_level").split("_")[0])
    factor = description.options["downsample_factor"]
    return tuple((side or 0) // (factor * cells) for side in description.input_shape[:2] if isinstance(factor, int))
