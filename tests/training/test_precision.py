"""The precision of training follows the device that computes."""

import keras
import pytest

from maskwright.inference.device import CPU, Device
from maskwright.training import precision
from maskwright.training.precision import choose_precision


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """Replace the flags of the CPU, the compute capabilities of GPUs, the current device and the backend."""

    def replace(*, backend="tensorflow", flags="fma avx512_bf16", capabilities=(), current=CPU):
        (tmp_path / "cpuinfo").write_text(f"flags : {flags}\n")
        monkeypatch.setattr(precision, "_CPU_INFO", tmp_path / "cpuinfo")
        monkeypatch.setattr(precision.platform, "system", lambda: "Linux")
        monkeypatch.setattr(precision, "current_device", lambda: current)
        monkeypatch.setattr(precision, "compute_capability", lambda device, _: capabilities[device.index])
        monkeypatch.setattr(keras.backend, "backend", lambda: backend)

    return replace


@pytest.mark.parametrize(
    ("backend", "flags", "expected"),
    [
        ("tensorflow", "fma avx512_bf16", "mixed_bfloat16"),
        ("torch", "fma amx_bf16", "mixed_bfloat16"),
        ("jax", "fma avx512_bf16 amx_bf16", "float32"),
        ("tensorflow", "fma avx512f", "float32"),
    ],
)
def test_on_a_cpu_its_flags_and_the_backend_decide(backend, flags, expected, machine):
    machine(backend=backend, flags=flags)
    assert choose_precision("auto") == expected


@pytest.mark.parametrize("backend", ["tensorflow", "jax", "torch"])
def test_on_a_gpu_its_compute_capability_decides(backend, machine):
    for flags in ("fma", "avx512_bf16 amx_bf16"):
        chosen = []
        for index in range(4):
            capabilities = [(7, 5), (8, 0), (9, 0), None]
            machine(backend=backend, flags=flags, capabilities=capabilities, current=Device("gpu", index))
            chosen.append(choose_precision("auto"))
        assert chosen == ["float32", "mixed_bfloat16", "mixed_bfloat16", "float32"]


def test_a_requested_precision_is_kept(machine):
    machine(capabilities=[(9, 0)], current=Device("gpu"))
    assert choose_precision("float32") == "float32"
    machine(flags="fma")
    assert choose_precision("mixed_bfloat16") == "mixed_bfloat16"
