"""Identify a network of segmentation_models_pytorch (smp) from its state dict, and build it in Keras."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import keras

from maskwright.errors import InputError, one_of
from maskwright.networks.head import Activation
from maskwright.networks.resnet_v1 import ResNet18V1, ResNet34V1, ResNet50V1, ResNet101V1, ResNet152V1
from maskwright.weights.smp.architectures import ARCHITECTURES, Options, Shapes, matched_numbers
from maskwright.weights.torch.names import Source

# Number of units in each stage, and whether the units are bottlenecks -> name of the encoder in smp, and its builder.
ENCODERS: Final[Mapping[tuple[tuple[int, ...], bool], tuple[str, Callable[..., keras.Model]]]] = {
    ((2, 2, 2, 2), False): ("resnet18", ResNet18V1),
    ((3, 4, 6, 3), False): ("resnet34", ResNet34V1),
    ((3, 4, 6, 3), True): ("resnet50", ResNet50V1),
    ((3, 4, 23, 3), True): ("resnet101", ResNet101V1),
    ((3, 8, 36, 3), True): ("resnet152", ResNet152V1),
}


class UnknownSmpNetwork(InputError):
    """Tensors that do not belong to a supported network."""

    text = "{argument}={given!r}: {found}; expected a supported network of segmentation_models_pytorch."


@dataclass(frozen=True)
class SmpNetwork:
    """Description of a network of smp, without its output activation."""

    architecture: str
    encoder: str
    channels: int
    classes: int
    options: Options

    @property
    def config(self) -> dict[str, Any]:
        """Content of ``config.json`` for smp's ``from_pretrained``: the name and the arguments of the class."""
        encoder = {"encoder_name": self.encoder, "encoder_weights": None, "in_channels": self.channels}
        return {"_model_class": self.architecture, **encoder, "classes": self.classes, **self.options}

    @property
    def unused_tensors(self) -> Shapes:
        """Shapes of the tensors that smp stores but does not use, by name."""
        return ARCHITECTURES[self.architecture].unused_tensors(self.options)

    def build(self, activation: Activation) -> keras.Model:
        """Build the network with random weights."""
        row = ARCHITECTURES[self.architecture]
        builder = dict(ENCODERS.values())[self.encoder]
        encoder = builder(input_shape=(None, None, self.channels), output_stride=row.output_stride)
        arguments = {row.arguments[name]: value for name, value in self.options.items() if name in row.arguments}
        return row.build(encoder, self.classes, row.skips, activation=activation, **arguments)


def identify(shapes: Shapes, *, architecture: str | None = None, source: Source) -> SmpNetwork:
    """Identify a network from the names and shapes of its tensors.

    Args:
        shapes: Shapes of the tensors by name.
        architecture: Name of the architecture, a key of `ARCHITECTURES`; if None, it is inferred.
        source: Values of the fields ``argument`` and ``given`` in error messages.

    Raises:
        UnknownChoice: ``architecture`` is unknown.
        UnknownSmpNetwork: The tensors do not belong to a supported network.
    """
    candidates = list(ARCHITECTURES) if architecture is None else [architecture]
    unique_tensors = {one_of("architecture", name, ARCHITECTURES).unique_tensor: name for name in candidates}
    found = next((name for tensor, name in unique_tensors.items() if tensor in shapes), None)
    if found is None:
        raise UnknownSmpNetwork(**source, found=f"found no tensor {' or '.join(unique_tensors)}")
    units = tuple(len(matched_numbers(rf"encoder\.layer{stage}\.(\d+)\..*", shapes)) for stage in (1, 2, 3, 4))
    if (encoder := ENCODERS.get((units, "encoder.layer1.0.conv3.weight" in shapes))) is None:
        names = ", ".join(name for name, _ in ENCODERS.values())
        raise UnknownSmpNetwork(**source, found=f"the encoder is none of {names}")
    stem, head = (f"{module}.weight" for module in ("encoder.conv1", "segmentation_head.0"))
    for kernel in (stem, head):
        if len(shapes.get(kernel, ())) != 4:
            raise UnknownSmpNetwork(**source, found=f"{kernel} is not the kernel of a convolution")
    options = ARCHITECTURES[found].read_options(shapes)
    check_options(found, options, source=source)
    channels, classes = shapes[stem][1], shapes[head][0]
    if 0 in _sizes({**options, "channels": channels, "classes": classes}):
        raise UnknownSmpNetwork(**source, found="a kernel is missing or has no channels")
    return SmpNetwork(found, encoder[0], channels=channels, classes=classes, options=options)


def _sizes(options: Options) -> list[int]:
    """Return all integers, which are numbers of channels, in the values of ``options`` and in lists in these values."""
    values = [value for given in options.values() for value in (given if isinstance(given, list) else [given])]
    return [value for value in values if isinstance(value, int) and not isinstance(value, bool)]


def check_options(architecture: str, options: Options, *, source: Source) -> None:
    """Check that smp's arguments have supported values.

    Raises:
        UnknownSmpNetwork: The value of an argument is not supported.
    """
    for name, supported in ARCHITECTURES[architecture].supported.items():
        if name in options and options[name] not in supported:
            values = " or ".join(map(repr, supported))
            raise UnknownSmpNetwork(**source, found=f"{name} is {options[name]!r}, not {values}")
