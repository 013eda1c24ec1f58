"""Names of the devices that compute predictions, and the error for a device that does not exist."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from maskwright.errors import InputError, wrong_argument


@dataclass(frozen=True)
class Device:
    """A device by its kind, such as ``cpu`` or ``gpu``, and its index among the devices of that kind."""

    kind: str
    index: int = 0

    def __str__(self) -> str:
        return self.kind if self == CPU else f"{self.kind}:{self.index}"


CPU: Final = Device("cpu")


class MissingDevice(InputError):
    """Raised if a runtime cannot compute on the requested device."""

    text = "device {device}: {found}; expected {available}.{remedy}"


def parse_device(name: str) -> Device:
    """Parse the name of a device: a kind, or a kind and an index separated by a colon.

    Raises:
        WrongArgument: The text is not the name of a device.

    >>> str(parse_device("gpu")), str(parse_device("GPU:1")), str(parse_device("cpu"))
    ('gpu:0', 'gpu:1', 'cpu')
    """
    match = re.fullmatch(r"([a-z]+)(?::(\d{1,3}))?", name.lower())
    if match is None:
        raise wrong_argument("device", name, expected="cpu, gpu, or a GPU with its index, such as gpu:1")
    return Device(match[1], int(match[2] or 0))


def missing_device(device: Device, available: Sequence[Device], *, found: str, remedy: str) -> MissingDevice:
    """Return a `MissingDevice` error that lists the available devices, with a remedy as its last sentence.

    Args:
        device: Requested device.
        available: Devices on which the runtime can compute.
        found: Clause that states why the device cannot be used.
        remedy: Sentence that states how to make the device available; may be empty.
    """
    names = " or ".join(map(str, available))
    return MissingDevice(device=device, found=found, available=names, remedy=f" {remedy}" if remedy else "")


def check_is_cpu(device: Device | None, *, runtime: str) -> None:
    """Check that no device other than the CPU is requested for a runtime that uses the CPU only.

    Raises:
        MissingDevice: Another device is requested.
    """
    if device is not None and device != CPU:
        found = f"{runtime} engines compute on the CPU only"
        remedy = "To use a GPU, predict with the run, or export it with --to onnx."
        raise missing_device(device, [CPU], found=found, remedy=remedy)
