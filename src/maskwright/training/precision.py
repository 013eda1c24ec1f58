"""Choose the precision in which a network computes during training, and set it while the network is built."""

import platform
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Literal

import keras

from maskwright.inference.framework_devices import compute_capability, current_device

ComputePrecision = Literal["float32", "mixed_bfloat16"]

_CPU_INFO: Final = Path("/proc/cpuinfo")
_MIN_CAPABILITY: Final = (8, 0)  # of NVIDIA GPUs whose tensor cores support bfloat16


def choose_precision(requested: Literal["auto", "float32", "mixed_bfloat16"]) -> ComputePrecision:
    """Return the computation precision; ``"auto"`` selects bfloat16 if it is faster on the device that computes.

    On a CPU, bfloat16 is faster with TensorFlow and PyTorch if the CPU has instructions for it. On a GPU, it is
    selected from compute capability 8.0. On other devices, ``"auto"`` selects float32.
    """
    if requested != "auto":
        return requested
    device, backend = current_device(), keras.backend.backend()
    if device.kind == "cpu":
        is_faster = backend in ("tensorflow", "torch") and _cpu_has_bfloat16()
    else:
        capability = compute_capability(device, backend)
        is_faster = capability is not None and capability >= _MIN_CAPABILITY
    return "mixed_bfloat16" if is_faster else "float32"


def _cpu_has_bfloat16() -> bool:
    """Return whether the CPU has bfloat16 instructions, which are detected on Linux only."""
    if platform.system() != "Linux":
        return False
    flags = _CPU_INFO.read_text(encoding="utf-8", errors="replace")
    return "avx512_bf16" in flags or "amx_bf16" in flags


@contextmanager
def dtype_policy(name: str) -> Iterator[None]:
    """Set the global dtype policy of Keras within the context."""
    previous = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(previous)
