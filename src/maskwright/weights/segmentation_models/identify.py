"""Which network a Keras 2 file holds: architecture, encoder and the arguments that build the same one here."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple

from maskwright.errors import InputError
from maskwright.weights.segmentation_models.file import LegacyFile, LegacyPath, Shapes, read_legacy, shapes_of
from maskwright.weights.segmentation_models.identify_encoder import Layers, identify_encoder
from maskwright.weights.segmentation_models.names import named_as_here, numbered


class UnknownNetwork(InputError):
    """A file whose network is none that can be built from the file alone."""

    text = (
        "{file}: {found}; expected a Unet, FPN, Linknet or PSPNet as segmentation_models 1.0.1 builds them. "
        "Build the network yourself and pass it as network."
    )


@dataclass(frozen=True)
class Description:
    """A network in a Keras 2 file.

    Attributes:
        file: The file.
        architecture: Its row in `maskwright.models.ARCHITECTURES`.
        backbone: Its encoder's name in `maskwright.backbones()`.
        input_shape: Height, width and channels; height and width are None where the file leaves them open.
        classes: Maps in the output.
        activation: Of the output, by name; None where the file does not tell.
        first_unit: ``"identity"`` or ``"projection"`` for a pre-activation ResNet, else None.
        options: The architecture's own arguments, as far as the file tells them.
        not_stored: Names of the arguments that decide the masks and that the file, being weights only, does not tell.
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
    """The network in a Keras 2 ``.h5`` file.

    Names and shapes of the layers tell most. A whole model tells the rest; of weights only, the activation (and for
    a PSPNet the pooling and the place of its tap) cannot be known, which ``not_stored`` lists.

    Args:
        file: Path of the file.
        argument: What the user calls ``file``, for the errors.

    Raises:
        NotLegacyFile, DamagedLegacyFile, UnsafeLegacyFile, NestedNetwork: the file cannot be read.
        UnknownNetwork: it is none of segmentation_models' networks.
        SameName: two of its layers have one name here.

    >>> identify(".", argument="checkpoint")
    Traceback (most recent call last):
    maskwright.weights.segmentation_models.file.NotLegacyFile: checkpoint='.' is a folder; ...
    """
    return describe(read_legacy(file, argument=argument))


def describe(legacy: LegacyFile) -> Description:
    """As `identify`, of a file that has been read."""
    try:
        return _described(legacy)
    except InputError:
        raise
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:  # an edited file may lack anything
        found = f"its layers are not those of one network ({type(error).__name__}: {error})"
        raise UnknownNetwork(file=legacy.path, found=found) from error


def _described(legacy: LegacyFile) -> Description:
    by_name = {name: arrays for name, arrays in legacy.layers.items() if not numbered(name)}
    named = {name: shapes_of(arrays) for name, arrays in named_as_here(by_name, file=legacy.path).items()}
    by_number = sorted((name for name in legacy.layers if numbered(name)), key=lambda name: numbered(name) or ())
    unnamed = {name: shapes_of(legacy.layers[name]) for name in by_number}

    architecture = next((name for name, row in DECODERS.items() if row.mark in named), None)
    if architecture is None:
        raise UnknownNetwork(file=legacy.path, found="it has no decoder that is known here")
    encoder = identify_encoder(named, unnamed)
    if encoder is None:
        raise UnknownNetwork(file=legacy.path, found=f"a {architecture} whose encoder is not known here")
    decoder = DECODERS[architecture]
    *_, last_unnamed = [{}, *(unnamed[name] for name in by_number if (numbered(name) or ("", 0))[0] == "conv2d")]
    head: Shapes = named.get(decoder.head) or last_unnamed
    if "kernel" not in head:
        raise UnknownNetwork(file=legacy.path, found=f"a {architecture} without its last convolution")

    told = _Config(legacy) if legacy.config is not None else None
    first_unit = "projection" if "stage1_unit1_sc" in named else "identity"
    return Description(
        file=legacy.path,
        architecture=architecture,
        backbone=encoder.name,
        input_shape=told.input_shape() if told else (None, None, encoder.channels),
        classes=head["kernel"][-1],
        activation=told.activation() if told else None,
        first_unit=first_unit if encoder.name.removeprefix("se") in ("resnet18", "resnet34") else None,
        options=decoder.options(named) | (decoder.told(told) if told else {}),
        not_stored=() if told else ("activation", *decoder.not_stored),
    )


class _Config:
    """The description in a whole model, asked for what weights do not tell."""

    def __init__(self, legacy: LegacyFile) -> None:
        self._file = legacy.path
        try:
            network = (legacy.config or {})["config"]
            self._layers: dict[str, dict[str, Any]] = {
                layer["config"]["name"]: layer for layer in network["layers"] if layer["class_name"]
            }
            self._output: str = network["output_layers"][0][0]
        except (KeyError, TypeError, IndexError) as error:
            raise UnknownNetwork(file=self._file, found="its description is not that of a functional model") from error

    def setting(self, layer: str, key: str) -> Any:
        """One setting of a layer, None where there is no such layer."""
        return self._layers.get(layer, {}).get("config", {}).get(key)

    def kind(self, layer: str) -> str | None:
        """Class of a layer, None where there is no such layer."""
        return self._layers.get(layer, {}).get("class_name")

    def input_shape(self) -> tuple[int | None, int | None, int]:
        inputs = [layer["config"] for layer in self._layers.values() if layer["class_name"] == "InputLayer"]
        shapes = [settings.get("batch_input_shape") or settings.get("batch_shape") for settings in inputs]
        if len(shapes) != 1 or len(shapes[0] or ()) != 4:
            raise UnknownNetwork(file=self._file, found=f"its inputs are of shape {shapes}")
        _, height, width, channels = shapes[0]
        return height, width, channels

    def activation(self) -> str:
        if self.kind(self._output) != "Activation":
            found = f"its last layer, {self._output}, is a {self.kind(self._output)}"
            raise UnknownNetwork(file=self._file, found=found)
        return str(self.setting(self._output, "activation"))


class Decoder(NamedTuple):
    """How a decoder is known and what its layers tell.

    ``mark`` is a layer that only it has, ``head`` the last convolution (none: the last that has no name), ``options``
    reads arguments from the layers' shapes and ``told`` from a whole model; ``not_stored`` are those only ``told`` finds.
    """

    mark: str
    head: str
    options: Callable[[Layers], dict[str, object]]
    told: Callable[[_Config], dict[str, object]]
    not_stored: tuple[str, ...] = ()


def _blocks(layers: Layers, last: str) -> tuple[int, ...]:
    """Filters of the decoder blocks, whose last convolutions are called decoder_stage{i} and ``last``."""
    stages = range(len(layers))
    names = (f"decoder_stage{stage}{last}_conv" for stage in stages)
    return tuple(layers[name]["kernel"][-1] for name in names if name in layers)


def _unet_options(layers: Layers) -> dict[str, object]:
    return {
        "decoder_block_type": "transpose" if "decoder_stage0a_transpose" in layers else "upsampling",
        "decoder_filters": _blocks(layers, "b"),
        "decoder_use_batchnorm": "decoder_stage0b_bn" in layers,
    }


def _linknet_options(layers: Layers) -> dict[str, object]:
    return {
        "decoder_block_type": "transpose" if "decoder_stage0b_transpose" in layers else "upsampling",
        "decoder_filters": _blocks(layers, "c"),
        "decoder_use_batchnorm": "decoder_stage0a_bn" in layers,
    }


def _fpn_options(layers: Layers) -> dict[str, object]:
    *_, joined, filters = layers["final_stage_conv"]["kernel"]
    return {
        "pyramid_block_filters": layers["fpn_stage_p5_conv"]["kernel"][-1],
        "pyramid_use_batchnorm": "final_stage_bn" in layers,
        "pyramid_aggregation": "sum" if joined == filters else "concat",
    }


def _pspnet_options(layers: Layers) -> dict[str, object]:
    return {
        "psp_conv_filters": layers["psp_level1_conv"]["kernel"][-1],
        "psp_use_batchnorm": "psp_level1_bn" in layers,
    }


def _told_by_pspnet(config: _Config) -> dict[str, object]:
    factor = config.setting("final_upsampling", "size")
    return {
        "psp_pooling_type": "max" if config.kind("psp_level1_pooling") == "MaxPooling2D" else "avg",
        "downsample_factor": factor[0] if isinstance(factor, list) else factor,
        "psp_dropout": config.setting("spatial_dropout", "rate"),
    }


DECODERS: Final[Mapping[str, Decoder]] = {
    "fpn": Decoder(
        "fpn_stage_p5_conv",
        "head_conv",
        _fpn_options,
        lambda config: {"pyramid_dropout": config.setting("pyramid_dropout", "rate")},
    ),
    "pspnet": Decoder(
        "psp_level1_conv", "final_conv", _pspnet_options, _told_by_pspnet, ("psp_pooling_type", "downsample_factor")
    ),
    "linknet": Decoder("decoder_stage0c_conv", "", _linknet_options, lambda config: {}),
    "unet": Decoder("decoder_stage0b_conv", "final_conv", _unet_options, lambda config: {}),
}
