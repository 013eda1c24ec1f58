"""A network of segmentation_models_pytorch, told by the tensors of its state dict, and its twin here."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import keras

from maskwright.errors import InputError, one_of
from maskwright.networks.head import Activation
from maskwright.networks.resnet_v1 import ResNet18V1, ResNet34V1, ResNet50V1, ResNet101V1, ResNet152V1
from maskwright.weights.smp.architectures import ARCHITECTURES, Options, Shapes, numbers
from maskwright.weights.torch.names import Source

# Units a stage, and whether they are bottlenecks -> the encoder's name in smp, and its builder here.
ENCODERS: Final[Mapping[tuple[tuple[int, ...], bool], tuple[str, Callable[..., keras.Model]]]] = {
    ((2, 2, 2, 2), False): ("resnet18", ResNet18V1),
    ((3, 4, 6, 3), False): ("resnet34", ResNet34V1),
    ((3, 4, 6, 3), True): ("resnet50", ResNet50V1),
    ((3, 4, 23, 3), True): ("resnet101", ResNet101V1),
    ((3, 8, 36, 3), True): ("resnet152", ResNet152V1),
}


class UnknownSmpNetwork(InputError):
    """Tensors of no network that can be built here."""

    text = "{argument}={given!r} holds no network of segmentation_models_pytorch that can be built here: {found}."


@dataclass(frozen=True)
class SmpNetwork:
    """All that makes a network in smp, but the activation at its end."""

    architecture: str
    encoder: str
    channels: int
    classes: int
    options: Options

    @property
    def config(self) -> dict[str, Any]:
        """Arguments of smp's class and its name, as its ``from_pretrained`` reads them from ``config.json``."""
        encoder = {"encoder_name": self.encoder, "encoder_weights": None, "in_channels": self.channels}
        return {"_model_class": self.architecture, **encoder, "classes": self.classes, **self.options}

    @property
    def idle(self) -> Shapes:
        """Tensors that it has in smp and never computes with."""
        return ARCHITECTURES[self.architecture].idle(self.options)

    def build(self, activation: Activation) -> keras.Model:
        """The same network here, its weights random."""
        row = ARCHITECTURES[self.architecture]
        builder = dict(ENCODERS.values())[self.encoder]
        encoder = builder(input_shape=(None, None, self.channels), output_stride=row.output_stride)
        arguments = {row.arguments[name]: value for name, value in self.options.items() if name in row.arguments}
        return row.build(encoder, self.classes, row.skips, activation=activation, **arguments)


def identify(shapes: Shapes, *, architecture: str | None = None, source: Source) -> SmpNetwork:
    """The network whose state dict has tensors of these names and ``shapes``.

    Args:
        shapes: Of tensors, by name.
        architecture: A key of `ARCHITECTURES`; None finds it.
        source: The fields ``argument`` and ``given`` of an error: where the tensors are from.

    Raises:
        UnknownChoice: there is no such ``architecture``.
        UnknownSmpNetwork: the tensors are of something else.
    """
    wanted = list(ARCHITECTURES) if architecture is None else [architecture]
    marks = {one_of("architecture", name, ARCHITECTURES).mark: name for name in wanted}
    found = next((name for mark, name in marks.items() if mark in shapes), None)
    if found is None:
        raise UnknownSmpNetwork(**source, found=f"there is no tensor {' or '.join(marks)}")
    units = tuple(len(numbers(rf"encoder\.layer{stage}\.(\d+)\..*", shapes)) for stage in (1, 2, 3, 4))
    if (encoder := ENCODERS.get((units, "encoder.layer1.0.conv3.weight" in shapes))) is None:
        known = ", ".join(name for name, _ in ENCODERS.values())
        raise UnknownSmpNetwork(**source, found=f"its encoder is none of {known}")
    stem, head = (f"{module}.weight" for module in ("encoder.conv1", "segmentation_head.0"))
    for kernel in (stem, head):
        if len(shapes.get(kernel, ())) != 4:
            raise UnknownSmpNetwork(**source, found=f"{kernel} is no kernel of a convolution")
    options = ARCHITECTURES[found].told(shapes)
    check_options(found, options, source=source)
    return SmpNetwork(found, encoder[0], channels=shapes[stem][1], classes=shapes[head][0], options=options)


def check_options(architecture: str, options: Options, *, source: Source) -> None:
    """Require of smp's arguments that the network they make can be built here.

    Raises:
        UnknownSmpNetwork: one has a value that only smp builds.
    """
    for name, built in ARCHITECTURES[architecture].only.items():
        if name in options and options[name] not in built:
            expected = " or ".join(map(repr, built))
            raise UnknownSmpNetwork(**source, found=f"its {name} is {options[name]!r}, expected {expected}")
