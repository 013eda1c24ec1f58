"""Devices of frameworks, whose functions are replaced by those of a machine with two GPUs."""

import sys
from types import SimpleNamespace

import pytest

from maskwright.inference.device import CPU, Device, MissingDevice
from maskwright.inference.framework_devices import check_device, compute_capability, current_device

GPUS = [Device("gpu"), Device("gpu", 1)]
FRAMEWORKS = ["tensorflow", "jax", "torch"]


def tensorflow(capabilities):
    def list_logical_devices():
        kinds = ["CPU:0", *(f"GPU:{index}" for index in range(len(capabilities)))]
        return [SimpleNamespace(name=f"/device:{kind}") for kind in kinds]

    def get_device_details(index):
        return {"device_name": "H200"} | ({"compute_capability": capabilities[index]} if capabilities[index] else {})

    return SimpleNamespace(
        config=SimpleNamespace(
            list_logical_devices=list_logical_devices,
            get_visible_devices=lambda kind: list(range(len(capabilities))) if kind == "GPU" else [],
            experimental=SimpleNamespace(get_device_details=get_device_details),
        )
    )


def jax(capabilities):
    def local_devices(backend=None):
        if backend == "cpu" or not capabilities:
            return [SimpleNamespace(platform="cpu", id=0)]
        texts = ["gfx90a" if each is None else f"{each[0]}.{each[1]}" for each in capabilities]
        return [SimpleNamespace(platform="gpu", id=id_, compute_capability=text) for id_, text in enumerate(texts)]

    return SimpleNamespace(local_devices=local_devices)


def torch(capabilities):
    return SimpleNamespace(
        cuda=SimpleNamespace(
            device_count=lambda: len(capabilities), get_device_capability=lambda index: capabilities[index]
        ),
        version=SimpleNamespace(cuda=None if None in capabilities else "13.0"),
        backends=SimpleNamespace(mps=SimpleNamespace(is_available=lambda: False)),
    )


@pytest.fixture
def machine(monkeypatch):
    """Replace all frameworks by ones that find GPUs with the given compute capabilities."""

    def replace(*capabilities):
        for fake in (tensorflow, jax, torch):
            monkeypatch.setitem(sys.modules, fake.__name__, fake(capabilities))

    return replace


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_devices_that_exist_are_accepted(framework, machine):
    machine((8, 0), (8, 0))
    for device in (CPU, *GPUS):
        check_device(device, framework)


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_an_index_that_is_too_high_is_an_error(framework, machine):
    machine((8, 0), (8, 0))
    with pytest.raises(MissingDevice, match=r"^device gpu:2: \w+ finds .*; expected cpu or gpu:0 or gpu:1\.$"):
        check_device(Device("gpu", 2), framework)


@pytest.mark.parametrize(
    ("framework", "remedy"),
    [("tensorflow", r"tensorflow\[and-cuda\]"), ("jax", r"jax\[cuda12\]"), ("torch", r"pytorch\.org")],
)
def test_without_a_gpu_the_error_says_what_to_install(framework, remedy, machine):
    machine()
    with pytest.raises(MissingDevice, match=rf"^device gpu:0: .*; expected cpu\. .*{remedy}"):
        check_device(Device("gpu"), framework)
    with pytest.raises(MissingDevice, match=r"^device cuda:0: .*; expected cpu\.$"):
        check_device(Device("cuda"), framework)


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_the_compute_capability_is_that_of_the_given_gpu(framework, machine):
    machine((7, 5), (9, 0))
    assert [compute_capability(gpu, framework) for gpu in GPUS] == [(7, 5), (9, 0)]
    assert compute_capability(CPU, framework) is None


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_gpu_of_another_vendor_has_no_compute_capability(framework, machine):
    machine(None)
    assert compute_capability(Device("gpu"), framework) is None


def test_jax_without_its_cpu_has_only_gpus(monkeypatch):
    def local_devices(backend=None):
        if backend == "cpu":
            raise RuntimeError("Unknown backend: 'cpu' requested")
        return [SimpleNamespace(platform="gpu", id=0)]

    monkeypatch.setitem(sys.modules, "jax", SimpleNamespace(local_devices=local_devices))
    with pytest.raises(MissingDevice, match=r"device cpu: .* expected gpu:0\.$"):
        check_device(CPU, "jax")


@pytest.mark.parametrize(
    ("backend", "tensor", "device"),
    [
        ("tensorflow", SimpleNamespace(device="/job:localhost/replica:0/task:0/device:GPU:1"), Device("gpu", 1)),
        ("jax", SimpleNamespace(device=SimpleNamespace(platform="gpu", id=1)), Device("gpu", 1)),
        ("torch", SimpleNamespace(device=SimpleNamespace(type="cuda", index=1)), Device("gpu", 1)),
        ("torch", SimpleNamespace(device=SimpleNamespace(type="cpu", index=None)), CPU),
    ],
)
def test_the_current_device_is_that_of_a_new_tensor(backend, tensor, device, monkeypatch):
    monkeypatch.setattr("keras.backend.backend", lambda: backend)
    monkeypatch.setattr("keras.ops.ones", lambda shape: tensor)
    assert current_device() == device
