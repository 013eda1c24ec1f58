"""Networks of other libraries, opened as networks of this one."""

import warnings
from collections.abc import Collection, Mapping
from typing import Any, Final

import keras

from maskwright.errors import InputError, wrong_argument
from maskwright.models import ARCHITECTURES
from maskwright.networks.backbones import BACKBONES
from maskwright.weights.legacy import fill
from maskwright.weights.legacy_file import LegacyFile, LegacyPath, read_legacy
from maskwright.weights.legacy_names import name_here
from maskwright.weights.recognise import Description, describe

# What Keras 3 networks may lack or call otherwise, and the kinds that the reference library leaves to Keras to name.
ANY_NAME: Final = frozenset({"InputLayer", "ZeroPadding2D"})
UNNAMED: Final = frozenset(
    {
        *("Activation", "Add", "AveragePooling2D", "BatchNormalization", "Concatenate", "Conv2D"),
        *("GlobalAveragePooling2D", "Lambda", "MaxPooling2D", "Multiply"),
    }
)
# Where its two kinds of Lambda layers are defined: slices of channels, and a new axis before a gate.
LAMBDA_HOME: Final = "classification_models"


class ForeignLayer(InputError):
    """A layer in a whole model that the reference library's network of that name does not have."""

    text = (
        "{file}: layer {layer} ({kind}) belongs to no {architecture} on {backbone} as segmentation_models 1.0.1 builds "
        "it. Build the network yourself and pass it as network."
    )


class UntoldArguments(InputError):
    """Weights without the network's description, which do not tell all that decides the masks."""

    text = "{file} holds weights only, which do not tell {untold}; give them, as in load_legacy(file, {example})."


def load_legacy(file: LegacyPath, network: keras.Model | None = None, **overrides: Any) -> keras.Model:
    """The network of a Keras 2 ``.h5`` file of segmentation_models 1.0.1, weights only or whole model.

    The masks are those it gave there. Code stored in a whole model is not run: the network is recognised, built anew
    and filled. A Lambda layer therefore cannot be converted unless it is one the reference library's encoders have.

    Args:
        file: Path of the file.
        network: What to fill. By default it is recognised from the file: a Unet, FPN, Linknet or PSPNet.
        **overrides: Arguments of its builder that the file does not tell or tells otherwise: ``activation`` for
            weights only (and ``psp_pooling_type``, ``downsample_factor`` for a PSPNet), ``backbone_name``,
            ``encoder_features``, ``first_unit``, ...

    Returns:
        ``network``, or the one built, filled. The input has the file's size; other sizes: ``input_shape``.

    Warns:
        UserWarning: the file also holds an optimizer's state, which is not read.

    Raises:
        NotLegacyFile, DamagedLegacyFile, UnsafeLegacyFile, NestedNetwork: the file cannot be read.
        UnknownNetwork: the network is not recognised.
        UntoldArguments: the file holds weights only, and an argument that decides the masks is not given.
        ForeignLayer: a whole model has a layer that the network built here has not.
        LayerMismatch, DifferentLayers: the weights do not fit.
        WrongArgument: ``network`` and arguments to build one are both given.

    >>> load_legacy("missing.h5")
    Traceback (most recent call last):
    maskwright.weights.legacy_file.NotLegacyFile: file='missing.h5' is not there; expected a Keras 2 .h5 file, ...
    """
    if network is not None and overrides:
        expected = "no arguments to build a network when one is given"
        raise wrong_argument("overrides", sorted(overrides), expected=expected)
    legacy = read_legacy(file)
    if network is None:
        network = _rebuilt(legacy, overrides)
    fill(network, legacy)
    if legacy.has_optimizer:
        warnings.warn(f"{legacy.path}: the optimizer's state is not read; training starts a new one", stacklevel=2)
    return network


def _rebuilt(legacy: LegacyFile, overrides: Mapping[str, Any]) -> keras.Model:
    description = describe(legacy)
    if untold := [name for name in description.untold if name not in overrides]:
        example = ", ".join(f"{name}={EXAMPLES[name]!r}" for name in untold)
        raise UntoldArguments(file=legacy.path, untold=" and ".join(untold), example=example)
    network = _built(description, overrides)
    if legacy.config:
        _check_layers(legacy.config["config"]["layers"], description, known={layer.name for layer in network.layers})
    return network


EXAMPLES: Final[Mapping[str, object]] = {"activation": "sigmoid", "psp_pooling_type": "avg", "downsample_factor": 8}


def _built(description: Description, overrides: Mapping[str, Any]) -> keras.Model:
    arguments = {
        "backbone_name": description.backbone,
        "input_shape": description.input_shape,
        "classes": description.classes,
        "activation": description.activation,
        **description.options,
        **overrides,
    }
    first_unit = arguments.pop("first_unit", description.first_unit)
    if first_unit == "identity":  # the doors build what published weights fit, the projection
        row = BACKBONES[arguments["backbone_name"]]
        arguments["backbone_name"] = row.build(input_shape=arguments["input_shape"], first_unit=first_unit)
        arguments.setdefault("encoder_features", row.skips)
    return ARCHITECTURES[description.architecture](**arguments)


def _check_layers(described: Collection[Mapping[str, Any]], description: Description, *, known: set[str]) -> None:
    """Refuse what the weights do not show: an added layer that has none, yet changes the masks."""
    for layer in described:
        name, kind = layer["config"]["name"], layer["class_name"]
        unnamed = name.rstrip("0123456789").replace("_", "") == kind.lower()
        usual = kind in ANY_NAME or (kind in UNNAMED if unnamed else name_here(name) in known)
        if kind == "Lambda" and unnamed:
            usual = str(layer["config"].get("module", LAMBDA_HOME)).startswith(LAMBDA_HOME)
        if not usual:
            raise ForeignLayer(
                file=description.file,
                layer=name,
                kind=kind,
                architecture=description.architecture,
                backbone=description.backbone,
            )
