"""Load networks of segmentation_models 1.0.1 (Keras 2) as networks of this package."""

import inspect
import warnings
from collections.abc import Mapping
from typing import Any, Final

import keras

from maskwright.errors import InputError, unknown_choice, wrong_argument
from maskwright.models import ARCHITECTURES
from maskwright.networks.backbones import encoder_of
from maskwright.weights.segmentation_models.connections import check_connections
from maskwright.weights.segmentation_models.file import LegacyFile, LegacyPath, read_legacy
from maskwright.weights.segmentation_models.identify import Description, describe
from maskwright.weights.segmentation_models.layers import check_layers
from maskwright.weights.segmentation_models.load import load_layers


class MissingArguments(InputError):
    """A weights file that does not store all arguments of the network."""

    text = (
        "{file}: contains only weights and does not store {missing}. Set them, for instance {example} (command: --set)."
    )


def load_legacy(file: LegacyPath, network: keras.Model | None = None, **overrides: Any) -> keras.Model:
    """Load a network from a Keras 2 ``.h5`` file of segmentation_models 1.0.1.

    The file may contain a whole model or only weights.

    The network predicts the same masks as in segmentation_models. Code that is stored in a whole model is not run;
    instead, the network is identified and rebuilt, and its weights are loaded. Lambda layers cannot be converted,
    except for those in the encoders of segmentation_models.

    Args:
        file: Path of the ``.h5`` file.
        network: Network to load the weights into. By default, a Unet, FPN, Linknet or PSPNet is identified and built.
        **overrides: Arguments of the builder that are not stored in the file or that replace stored ones. A file
            with weights only requires ``activation`` and, for a PSPNet, also ``psp_pooling_type`` and
            ``downsample_factor``. The other arguments are ``backbone_name``, ``encoder_features``, ``first_unit`` and
            ``input_shape``.

    Returns:
        Network with the weights of the file. Its input has the size stored in the file unless ``input_shape`` is given.

    Warns:
        UserWarning: The file also contains an optimizer state, which is not loaded.

    Raises:
        NotLegacyFile, DamagedLegacyFile, UnsafeLegacyFile, NestedNetwork: The file cannot be read.
        UnknownNetwork: The network cannot be identified.
        MissingArguments: The file contains only weights, and a required argument is not given.
        UnexpectedLayer, MissingLayers, DifferentConnections: The layers of a whole model or their connections differ
            from those of the rebuilt network.
        UnknownChoice: The builder has no argument of a given name, or ``first_unit`` is unknown.
        LayerMismatch, DifferentLayers, DuplicateLayerName: The weights do not match the network.
        WrongArgument: ``network`` and arguments of a builder are both given, or an argument has an invalid value.

    >>> load_legacy("missing.h5")
    Traceback (most recent call last):
    maskwright.weights.segmentation_models.file.NotLegacyFile: file='missing.h5': the file does not exist; ...
    """
    if network is not None and overrides:
        expected = "none if a network is given"
        raise wrong_argument("overrides", sorted(overrides), expected=expected)
    legacy = read_legacy(file)
    if network is None:
        network = _rebuild(legacy, overrides)
    else:
        load_layers(network, legacy)
    if legacy.has_optimizer:
        warnings.warn(f"{legacy.path}: the optimizer state is not loaded; training starts with a new one", stacklevel=2)
    return network


def _rebuild(legacy: LegacyFile, overrides: Mapping[str, Any]) -> keras.Model:
    description = describe(legacy)
    allowed = (*inspect.signature(ARCHITECTURES[description.architecture]).parameters, "first_unit")
    for name in overrides:
        if name not in allowed:
            raise unknown_choice("argument", name, allowed)
    if missing := [name for name in description.not_stored if name not in overrides]:
        example = ", ".join(f"{name}={EXAMPLE_VALUES[name]!r}" for name in missing)
        raise MissingArguments(file=legacy.path, missing=" and ".join(missing), example=example)
    network = _build(description, overrides)
    if legacy.config is not None:
        check_layers(network, description, legacy.config["config"]["layers"])
    load_layers(network, legacy)
    if legacy.config is not None:
        check_connections(network, description, legacy)
    return network


EXAMPLE_VALUES: Final[Mapping[str, object]] = {
    "activation": "sigmoid",
    "psp_pooling_type": "avg",
    "downsample_factor": 8,
}


def _build(description: Description, overrides: Mapping[str, Any]) -> keras.Model:
    arguments = {
        "backbone_name": description.backbone,
        "input_shape": description.input_shape,
        "classes": description.classes,
        "activation": description.activation,
        **description.options,
        **overrides,
    }
    if "first_unit" not in overrides and arguments["backbone_name"] == description.backbone and description.first_unit:
        arguments["first_unit"] = description.first_unit
    if "first_unit" in arguments:  # the functions in `models` build only the projection form
        arguments["backbone_name"] = encoder_of(
            arguments["backbone_name"],
            input_shape=arguments["input_shape"],
            first_unit=arguments.pop("first_unit"),
        )
    return ARCHITECTURES[description.architecture](**arguments)
