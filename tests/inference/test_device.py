import pytest

from maskwright.errors import WrongArgument
from maskwright.inference.device import CPU, Device, MissingDevice, check_is_cpu, parse_device


@pytest.mark.parametrize(
    ("name", "device"),
    [("cpu", CPU), ("cpu:1", Device("cpu", 1)), ("GPU", Device("gpu")), ("gpu:12", Device("gpu", 12))],
)
def test_a_name_has_a_kind_and_an_optional_index(name, device):
    assert parse_device(name) == device


@pytest.mark.parametrize("name", ["", "gpu:", "gpu:-1", "gpu 1", "1", "gpu:0:1", "gpu:x"])
def test_another_text_is_an_error(name):
    with pytest.raises(WrongArgument, match=f"device={name!r}: .*gpu:1"):
        parse_device(name)


@pytest.mark.parametrize("module", ["openvino", "litert"])
def test_a_runtime_for_cpus_refuses_other_devices(module, tmp_path):
    runtime = pytest.importorskip(f"maskwright.inference.engines.{module}")
    with pytest.raises(MissingDevice, match=r"device gpu:2: .* CPU only; expected cpu\. .*--to onnx"):
        runtime.open_exported(tmp_path, None, None, device=Device("gpu", 2))


def test_the_cpu_is_a_device_of_every_runtime():
    check_is_cpu(CPU, runtime="OpenVINO")
    check_is_cpu(None, runtime="OpenVINO")
