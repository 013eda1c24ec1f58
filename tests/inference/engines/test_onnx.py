"""The execution providers of ONNX engines; this installation has those of the CPU only."""

from types import SimpleNamespace

import numpy as np
import pytest

from maskwright.inference.device import CPU, Device, MissingDevice
from tests.inference.fake_engines import bundle

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

RECORD = SimpleNamespace(model="model.onnx")
CUDA = ["CUDAExecutionProvider", "CPUExecutionProvider"]


class RecordedSession:
    """A session that records its arguments and starts the providers in ``started``."""

    started = tuple(CUDA)
    arguments = None

    def __init__(self, file, options, **arguments):
        type(self).arguments = arguments

    def get_providers(self):
        return list(self.started)

    def get_inputs(self):
        return [SimpleNamespace(name="images", shape=["n", "h", "w", 1])]

    get_outputs = get_inputs


@pytest.fixture
def open_on(tmp_path):
    """Open an engine that squares its inputs on the given device."""
    from maskwright.inference.engines.onnx import open_exported

    shape, helper = ["n", "h", "w", 1], onnx.helper
    ports = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape) for name in ("images", "squares")]
    square = helper.make_node("Mul", ["images", "images"], ["squares"])
    graph = helper.make_graph([square], "square", ports[:1], ports[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, tmp_path / "model.onnx")
    return lambda device: open_exported(tmp_path, RECORD, bundle(), device=device)


@pytest.fixture
def gpu_build(monkeypatch):
    """Replace the session and the list of providers by those of a build for NVIDIA GPUs; return the session class."""
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: CUDA)
    monkeypatch.setattr(onnxruntime, "preload_dlls", lambda: None)
    session = type("Session", (RecordedSession,), {})
    monkeypatch.setattr(onnxruntime, "InferenceSession", session)
    return session


@pytest.mark.parametrize("device", [None, CPU])
def test_the_cpu_computes_by_default_or_on_request(device, open_on):
    engine = open_on(device)
    assert engine.session.get_providers() == ["CPUExecutionProvider"]
    assert engine(np.full((1, 2, 3, 1), 3, np.float32)).ravel().tolist() == [9.0] * 6


def test_without_a_gpu_build_the_error_lists_providers_and_the_package(open_on):
    installed = ", ".join(onnxruntime.get_available_providers())
    with pytest.raises(MissingDevice, match=rf"device gpu:0: .*{installed}; expected cpu\. .*onnxruntime-gpu\[cuda"):
        open_on(Device("gpu"))


@pytest.mark.parametrize("device", [Device("cpu", 1), Device("tpu")])
def test_other_devices_are_an_error_with_a_gpu_build_too(device, open_on, gpu_build):
    with pytest.raises(MissingDevice, match=rf"device {device}: .*CUDAExecutionProvider.*; expected cpu or gpu:0\.$"):
        open_on(device)
    assert gpu_build.arguments is None


def test_the_session_uses_the_gpu_with_the_index_and_no_silent_fallback(open_on, gpu_build, monkeypatch):
    loaded = []
    monkeypatch.setattr(onnxruntime, "preload_dlls", lambda: loaded.append("cuda"))
    open_on(Device("gpu", 1))
    providers = [("CUDAExecutionProvider", {"device_id": "1"}), "CPUExecutionProvider"]
    assert gpu_build.arguments == {"providers": providers, "enable_fallback": 0}
    assert loaded == ["cuda"]


def test_a_provider_that_raises_is_an_error_about_the_device(open_on, gpu_build, monkeypatch):
    def fail(*_, **__):
        raise RuntimeError("CUDA failure 101: invalid device ordinal")

    monkeypatch.setattr(gpu_build, "__init__", fail)
    with pytest.raises(MissingDevice, match=r"device gpu:7: .*CUDAExecutionProvider .*invalid device ordinal.*cuDNN"):
        open_on(Device("gpu", 7))


@pytest.mark.filterwarnings("ignore:Specified provider")
def test_a_session_that_would_compute_on_the_cpu_instead_is_an_error(open_on, monkeypatch):
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: CUDA)  # the real session has no CUDA
    monkeypatch.setattr(onnxruntime, "preload_dlls", lambda: None)
    with pytest.raises(MissingDevice, match=r"device gpu:0: .*cannot start CUDAExecutionProvider"):
        open_on(Device("gpu"))
