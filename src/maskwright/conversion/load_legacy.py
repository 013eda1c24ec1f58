"""Networks of other libraries, opened as networks of this one."""

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
from maskwright.weights.segmentation_models.fill import fill
from maskwright.weights.segmentation_models.identify import Description, describe
from maskwright.weights.segmentation_models.layers import check_layers


class UntoldArguments(InputError):
    """Weights without the network's description, which do not tell all that decides the masks."""

    text = "{file} holds weights only, which do not tell {untold}; give them, such as {example} (in a command: --set)."


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
        ForeignLayer, MissingLayers, OtherConnections: a whole model's layers are not those of the network built here,
            or joined otherwise.
        UnknownChoice: the builder has no such argument, or ``first_unit`` is unknown.
        LayerMismatch, DifferentLayers, SameName: the weights do not fit.
        WrongArgument: ``network`` and arguments to build one are both given, or an argument cannot be used.

    >>> load_legacy("missing.h5")
    Traceback (most recent call last):
    maskwright.weights.segmentation_models.file.NotLegacyFile: file='missing.h5' is not there; ...
    """
    if network is not None and overrides:
        expected = "no arguments to build a network when one is given"
        raise wrong_argument("overrides", sorted(overrides), expected=expected)
    legacy = read_legacy(file)
    if network is None:
        network = _rebuilt(legacy, overrides)
    else:
        fill(network, legacy)
    if legacy.has_optimizer:
        warnings.warn(f"{legacy.path}: the optimizer's state is not read; training starts a new one", stacklevel=2)
    return network


def _rebuilt(legacy: LegacyFile, overrides: Mapping[str, Any]) -> keras.Model:
    description = describe(legacy)
    allowed = (*inspect.signature(ARCHITECTURES[description.architecture]).parameters, "first_unit")
    for name in overrides:
        if name not in allowed:
            raise unknown_choice("argument", name, allowed)
    if untold := [name for name in description.untold if name not in overrides]:
        example = ", ".join(f"{name}={EXAMPLES[name]!r}" for name in untold)
        raise UntoldArguments(file=legacy.path, untold=" and ".join(untold), example=example)
    network = _built(description, overrides)
    if legacy.config is not None:
        check_layers(network, description, legacy.config["config"]["layers"])
    fill(network, legacy)
    if legacy.config is not None:
        check_connections(network, description, legacy)
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
    if "first_unit" not in overrides and arguments["backbone_name"] == description.backbone and description.first_unit:
        arguments["first_unit"] = description.first_unit
    if "first_unit" in arguments:  # the doors themselves build what published weights fit, the projection
        arguments["backbone_name"] = encoder_of(
            arguments["backbone_name"],
            input_shape=arguments["input_shape"],
            first_unit=arguments.pop("first_unit"),
        )
    return ARCHITECTURES[description.architecture](**arguments)
