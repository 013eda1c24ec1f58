"""Devices that TensorFlow, JAX and PyTorch find on this machine; each framework is imported when it is used."""

import re
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from maskwright.inference.device import CPU, Device, missing_device


class _Framework(NamedTuple):
    """Functions that query the devices of a framework."""

    title: str
    list_devices: Callable[[], list[Device]]
    device_of: Callable[[Any], Device]
    """Function that returns the device of a tensor."""
    compute_capability: Callable[[Device], tuple[int, int] | None]
    """Function that returns the CUDA compute capability of a GPU; None for a GPU of another vendor than NVIDIA."""
    gpu_remedy: str


def check_device(device: Device, framework: str) -> None:
    """Check that a framework finds a device.

    Args:
        device: Requested device.
        framework: ``"tensorflow"``, ``"jax"`` or ``"torch"``.

    Raises:
        MissingDevice: The framework does not find the device.
    """
    queries = _FRAMEWORKS[framework]
    available = queries.list_devices()
    if device not in available:
        found = f"{queries.title} finds no such device on this machine"
        has_gpu = any(each.kind == "gpu" for each in available)
        remedy = queries.gpu_remedy if device.kind == "gpu" and not has_gpu else ""
        raise missing_device(device, available, found=found, remedy=remedy)


def current_device() -> Device:
    """Return the device on which Keras computes in the current context."""
    import keras

    return _FRAMEWORKS[keras.backend.backend()].device_of(keras.ops.ones(1))


def compute_capability(device: Device, framework: str) -> tuple[int, int] | None:
    """Return the CUDA compute capability of a device, such as (8, 0); None if it is not an NVIDIA GPU."""
    return _FRAMEWORKS[framework].compute_capability(device) if device.kind == "gpu" else None


def _tensorflow_devices() -> list[Device]:
    import tensorflow as tf

    return [_tensorflow_device(device.name) for device in tf.config.list_logical_devices()]


def _tensorflow_device(name: str) -> Device:
    """Return the device with a full name of TensorFlow, such as ``/device:GPU:0``."""
    kind, index = name.rsplit(":", 2)[-2:]
    return Device(kind.lower(), int(index))


def _tensorflow_capability(device: Device) -> tuple[int, int] | None:
    import tensorflow as tf

    physical = tf.config.get_visible_devices("GPU")[device.index]
    return tf.config.experimental.get_device_details(physical).get("compute_capability")


def _jax_devices() -> list[Device]:
    import jax

    found = [_jax_device(device) for device in jax.local_devices()]
    try:
        cpus = [_jax_device(device) for device in jax.local_devices(backend="cpu")]
    except RuntimeError:  # JAX_PLATFORMS excludes the CPU
        cpus = []
    return list(dict.fromkeys([*cpus, *found]))


def _jax_device(device: Any) -> Device:
    return Device(device.platform, device.id)


def _jax_capability(device: Device) -> tuple[int, int] | None:
    import jax

    same = (each for each in jax.local_devices() if _jax_device(each) == device)
    match = re.fullmatch(r"(\d+)\.(\d+)", str(getattr(next(same), "compute_capability", "")))
    return None if match is None else (int(match[1]), int(match[2]))


def _torch_devices() -> list[Device]:
    import torch

    gpus = [Device("gpu", index) for index in range(torch.cuda.device_count())]
    others = [Device("mps")] if torch.backends.mps.is_available() else []
    return [CPU, *gpus, *others]


def _torch_device(device: Any) -> Device:
    return Device("gpu" if device.type == "cuda" else device.type, device.index or 0)


def _torch_capability(device: Device) -> tuple[int, int] | None:
    import torch

    return None if torch.version.cuda is None else torch.cuda.get_device_capability(device.index)


_FRAMEWORKS: Final[Mapping[str, _Framework]] = {
    "tensorflow": _Framework(
        "TensorFlow",
        _tensorflow_devices,
        lambda tensor: _tensorflow_device(tensor.device),
        _tensorflow_capability,
        "For an NVIDIA GPU, install its driver and: pip install 'tensorflow[and-cuda]'.",
    ),
    "jax": _Framework(
        "JAX",
        _jax_devices,
        lambda tensor: _jax_device(tensor.device),
        _jax_capability,
        "For an NVIDIA GPU, install its driver and: pip install 'jax[cuda12]'.",
    ),
    "torch": _Framework(
        "PyTorch",
        _torch_devices,
        lambda tensor: _torch_device(tensor.device),
        _torch_capability,
        "For an NVIDIA GPU, install its driver and a CUDA build of torch (https://pytorch.org/get-started/locally).",
    ),
}
