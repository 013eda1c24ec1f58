"""Identify the architecture, the encoder and the builder arguments of the network in a Keras 2 file."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple

from maskwright.errors import InputError
from maskwright.weights.segmentation_models.file import LegacyFile, LegacyPath, Shapes, read_legacy, shapes_of
from maskwright.weights.segmentation_models.identify_encoder import Layers, identify_encoder
from maskwright.weights.segmentation_models.names import parse_auto_name, rename_layers


class UnknownNetwork(InputError):
    """A file whose network cannot be identified."""

    text = (
        "{file}: {found}; expected a Unet, FPN, Linknet or PSPNet of segmentation_models 1.0.1. "
        "Build the network yourself and pass it as network."
    )


@dataclass(frozen=True)
class Description:
    """Description of the network in a Keras 2 file.

    Attributes:
        file: Path of the file.
        architecture: Name of the architecture, a key of `maskwright.models.ARCHITECTURES`.
        backbone: Name of the encoder, as in `maskwright.backbones()`.
        input_shape: Height, width and number of channels of the images; height and width are None if they are variable.
        classes: Number of output channels.
        activation: Name of the output activation; None if it is not stored in the file.
        first_unit: Shortcut of the first unit of a pre-activation ResNet, ``"identity"`` or ``"projection"``; None for
            other encoders.
        options: Arguments of the architecture that are stored in the file.
        not_stored: Names of arguments that affect predictions but are not stored in a file with weights only.
    """

    file: Path
    architecture: str
    backbone: str
    input_shape: tuple[int | None, int | None, int]
    classes: int
    activation: str | None
    first_unit: str | None
    options: Mapping[str, object] = field(default_factory=dict)
    not_stored: tuple[str, ...] = ()


def identify(file: LegacyPath, *, argument: str = "file") -> Description:
    """Identify the network in a Keras 2 ``.h5`` file.

    Most arguments are inferred from the names and shapes of the layers. The other arguments are stored in a whole
    model. In a file with weights only, the activation and, for a PSPNet, the pooling type and the downsampling factor
    are not stored; they are listed in ``not_stored``.

    Args:
        file: Path of the file.
        argument: Name of the argument ``file`` in error messages.

    Raises:
        NotLegacyFile, DamagedLegacyFile, UnsafeLegacyFile, NestedNetwork: The file cannot be read.
        UnknownNetwork: The file does not contain a network of segmentation_models.
        DuplicateLayerName: Two layers of the file have the same name in this package.

    >>> identify(".", argument="checkpoint")
    Traceback (most recent call last):
    maskwright.weights.segmentation_models.file.NotLegacyFile: checkpoint='.': found a folder; ...
    """
    return describe(read_legacy(file, argument=argument))


def describe(legacy: LegacyFile) -> Description:
    """Identify the network in a file that has already been read, as described in `identify`."""
    try:
        return _describe(legacy)
    except InputError:
        raise
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:  # an edited file may be incomplete
        found = f"the layers do not form one network ({type(error).__name__}: {error})"
        raise UnknownNetwork(file=legacy.path, found=found) from error


def _describe(legacy: LegacyFile) -> Description:
    given_names = {name: arrays for name, arrays in legacy.layers.items() if not parse_auto_name(name)}
    named = {name: shapes_of(arrays) for name, arrays in rename_layers(given_names, file=legacy.path).items()}
    auto_names = sorted(
        (name for name in legacy.layers if parse_auto_name(name)), key=lambda name: parse_auto_name(name) or ()
    )
    auto_named = {name: shapes_of(legacy.layers[name]) for name in auto_names}

    architecture = next((name for name, decoder in DECODERS.items() if decoder.unique_layer in named), None)
    if architecture is None:
        raise UnknownNetwork(file=legacy.path, found="found no known decoder")
    encoder = identify_encoder(named, auto_named)
    if encoder is None:
        raise UnknownNetwork(file=legacy.path, found=f"found a {architecture} with an unknown encoder")
    decoder = DECODERS[architecture]
    convolutions = [auto_named[name] for name in auto_names if (parse_auto_name(name) or ("", 0))[0] == "conv2d"]
    *_, last_auto_named = [{}, *convolutions]
    head: Shapes = named.get(decoder.head) or last_auto_named
    if "kernel" not in head:
        raise UnknownNetwork(file=legacy.path, found=f"found a {architecture} without its final convolution")

    config = _ModelConfig(legacy) if legacy.config is not None else None
    first_unit = "projection" if "stage1_unit1_sc" in named else "identity"
    return Description(
        file=legacy.path,
        architecture=architecture,
        backbone=encoder.name,
        input_shape=config.input_shape() if config else (None, None, encoder.channels),
        classes=head["kernel"][-1],
        activation=config.activation() if config else None,
        first_unit=first_unit if encoder.name.removeprefix("se") in ("resnet18", "resnet34") else None,
        options=decoder.shape_options(named) | (decoder.config_options(config) if config else {}),
        not_stored=() if config else ("activation", *decoder.not_stored),
    )


class _ModelConfig:
    """Arguments of a whole model that are stored only in its configuration."""

    def __init__(self, legacy: LegacyFile) -> None:
        self._file = legacy.path
        try:
            network = (legacy.config or {})["config"]
            self._layers: dict[str, dict[str, Any]] = {
                layer["config"]["name"]: layer for layer in network["layers"] if layer["class_name"]
            }
            self._output: str = network["output_layers"][0][0]
        except (KeyError, TypeError, IndexError) as error:
            found = "model_config does not describe a functional model"
            raise UnknownNetwork(file=self._file, found=found) from error

    def setting(self, layer: str, key: str) -> Any:
        """Return a setting of a layer, or None if the layer or the setting does not exist."""
        return self._layers.get(layer, {}).get("config", {}).get(key)

    def kind(self, layer: str) -> str | None:
        """Return the class name of a layer, or None if the layer does not exist."""
        return self._layers.get(layer, {}).get("class_name")

    def input_shape(self) -> tuple[int | None, int | None, int]:
        inputs = [layer["config"] for layer in self._layers.values() if layer["class_name"] == "InputLayer"]
        shapes = [settings.get("batch_input_shape") or settings.get("batch_shape") for settings in inputs]
        if len(shapes) != 1 or len(shapes[0] or ()) != 4:
            raise UnknownNetwork(file=self._file, found=f"found inputs of the shapes {shapes}, not one image")
        _, height, width, channels = shapes[0]
        return height, width, channels

    def activation(self) -> str:
        if self.kind(self._output) != "Activation":
            found = f"the last layer, {self._output}, is a {self.kind(self._output)}, not an Activation"
            raise UnknownNetwork(file=self._file, found=found)
        return str(self.setting(self._output, "activation"))


class Decoder(NamedTuple):
    """Names of the layers that identify a decoder, and functions that read its arguments.

    Attributes:
        unique_layer: Name of a layer that exists in no other decoder.
        head: Name of the final convolution; empty if the final convolution is the last automatically named one.
        shape_options: Function that infers arguments from the shapes of the layers.
        config_options: Function that reads arguments from the configuration of a whole model.
        not_stored: Names of the arguments that affect predictions and are stored only in the configuration.
    """

    unique_layer: str
    head: str
    shape_options: Callable[[Layers], dict[str, object]]
    config_options: Callable[[_ModelConfig], dict[str, object]]
    not_stored: tuple[str, ...] = ()


def _decoder_filters(layers: Layers, suffix: str) -> tuple[int, ...]:
    """Return the number of filters of ``decoder_stage{i}{suffix}_conv``, the last convolution of each decoder block."""
    stages = range(len(layers))
    names = (f"decoder_stage{stage}{suffix}_conv" for stage in stages)
    return tuple(layers[name]["kernel"][-1] for name in names if name in layers)


def _unet_options(layers: Layers) -> dict[str, object]:
    return {
        "decoder_block_type": "transpose" if "decoder_stage0a_transpose" in layers else "upsampling",
        "decoder_filters": _decoder_filters(layers, "b"),
        "decoder_use_batchnorm": "decoder_stage0b_bn" in layers,
    }


def _linknet_options(layers: Layers) -> dict[str, object]:
    return {
        "decoder_block_type": "transpose" if "decoder_stage0b_transpose" in layers else "upsampling",
        "decoder_filters": _decoder_filters(layers, "c"),
        "decoder_use_batchnorm": "decoder_stage0a_bn" in layers,
    }


def _fpn_options(layers: Layers) -> dict[str, object]:
    *_, merged, filters = layers["final_stage_conv"]["kernel"]
    return {
        "pyramid_block_filters": layers["fpn_stage_p5_conv"]["kernel"][-1],
        "pyramid_use_batchnorm": "final_stage_bn" in layers,
        "pyramid_aggregation": "sum" if merged == filters else "concat",
    }


def _fpn_config_options(config: _ModelConfig) -> dict[str, object]:
    return {"pyramid_dropout": config.setting("pyramid_dropout", "rate")}


def _pspnet_options(layers: Layers) -> dict[str, object]:
    return {
        "psp_conv_filters": layers["psp_level1_conv"]["kernel"][-1],
        "psp_use_batchnorm": "psp_level1_bn" in layers,
    }


def _pspnet_config_options(config: _ModelConfig) -> dict[str, object]:
    factor = config.setting("final_upsampling", "size")
    return {
        "psp_pooling_type": "max" if config.kind("psp_level1_pooling") == "MaxPooling2D" else "avg",
        "downsample_factor": factor[0] if isinstance(factor, list) else factor,
        "psp_dropout": config.setting("spatial_dropout", "rate"),
    }


def _no_options(config: _ModelConfig) -> dict[str, object]:
    return {}


DECODERS: Final[Mapping[str, Decoder]] = {
    "fpn": Decoder("fpn_stage_p5_conv", "head_conv", _fpn_options, _fpn_config_options),
    "pspnet": Decoder(
        "psp_level1_conv",
        "final_conv",
        _pspnet_options,
        _pspnet_config_options,
        not_stored=("psp_pooling_type", "downsample_factor"),
    ),
    "linknet": Decoder("decoder_stage0c_conv", "", _linknet_options, _no_options),
    "unet": Decoder("decoder_stage0b_conv", "final_conv", _unet_options, _no_options),
}
"""Decoders by architecture; the decoder of a file is the first one whose ``unique_layer`` is in the file."""
