import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest

from maskwright.errors import MissingPackage
from maskwright.inference.bundle import UnreadableBundle
from maskwright.inference.engines.engine import NotARun, needs_framework, open_engine, weights_digest
from maskwright.inference.engines.openvino_runtime import core, openvino
from maskwright.inference.engines.record import EngineRecord, UnreadableEngine, model_digest
from tests.inference.fake_engines import bundle

FILES = (b"model.bin", b"model.xml")
ops = openvino.opset14


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache/maskwright/openvino"


@pytest.fixture
def engine(tmp_path):
    """The folder of an engine: a sigmoid of the sum of 3 x 3 pixels times 0.7, built with OpenVINO alone."""
    folder = tmp_path / "engine"
    folder.mkdir()
    images = ops.parameter(openvino.PartialShape([-1, -1, -1, 1]), np.float32, name="images")
    planes = ops.transpose(images, ops.constant(np.int64([0, 3, 1, 2])))
    kernel = ops.constant(np.full((1, 1, 3, 3), 0.7, np.float32))
    sums = ops.convolution(planes, kernel, strides=[1, 1], pads_begin=[1, 1], pads_end=[1, 1], dilations=[1, 1])
    masks = ops.transpose(ops.sigmoid(sums), ops.constant(np.int64([0, 2, 3, 1])))
    openvino.save_model(openvino.Model([masks], [images]), folder / "model.xml", compress_to_fp16=False)
    write_record(folder)
    bundle().write(folder)
    return folder


def write_record(folder, **changes):
    weights = model_digest(folder, "model.xml")
    facts = {"runtime": "openvino", "precision": "f32", "model": "model.xml", "weights": weights, "rewritten": False}
    EngineRecord(**facts | {"mask_values": {}, "mask_suffix": "", "versions": {}} | changes).write(folder)


def expected(images):
    padded = np.pad(images[..., 0].astype(np.float64), ((0, 0), (1, 1), (1, 1)))
    height, width = images.shape[1:3]
    sums = sum(padded[:, dy : dy + height, dx : dx + width] for dy in range(3) for dx in range(3))
    return (1 / (1 + np.exp(-0.7 * sums)))[..., None]


def pictures(*shape):
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("shape", [(1, 8, 8, 1), (3, 5, 17, 1), (2, 64, 32, 1)])
def test_f32_computes_in_f32_on_any_processor(engine, shape):
    images = pictures(*shape)
    np.testing.assert_allclose(open_engine(engine)(images), expected(images), atol=1e-6)


@pytest.mark.parametrize("precision", ["bf16", "int8"])  # int8: the layers that are not quantised
def test_bf16_is_used_where_the_processor_has_it(precision, engine):
    images = pictures(4, 64, 64, 1)
    open_engine(engine)  # its cache must not be used for another precision
    write_record(engine, precision=precision)
    error = np.abs(open_engine(engine)(images) - expected(images)).max()
    has_bf16 = "BF16" in core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    assert 1e-4 < error < 2e-2 if has_bf16 else error < 1e-6


def test_strided_arrays_of_another_dtype_are_accepted(engine):
    images = pictures(8, 12, 1, 2).transpose(3, 1, 0, 2).astype(np.float64)
    np.testing.assert_allclose(open_engine(engine)(images), expected(images), atol=1e-6)


def test_ctrl_c_works_after_an_engine_is_released_on_another_thread(engine):
    """OpenVINO allocates a signal stack for the opening thread and frees it with the last network."""
    ends = """
import gc, signal, sys
from pathlib import Path
from threading import Thread
from maskwright.inference.engines.engine import open_engine

engines = [open_engine(Path(sys.argv[1]))]
thread = Thread(target=lambda: (engines.clear(), gc.collect()))
thread.start()
thread.join()
try:
    signal.raise_signal(signal.SIGINT)
except KeyboardInterrupt:
    print("interrupted")
"""
    ran = subprocess.run([sys.executable, "-c", ends, str(engine)], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout) == (0, "interrupted\n")


@pytest.mark.parametrize("threads", [None, 1])
def test_threads_are_not_pinned_to_processors(engine, threads):
    assert not open_engine(engine, threads=threads).compiled.get_property("ENABLE_CPU_PINNING")


def test_threads_may_share_an_engine(engine):
    images = [pictures(1, 64, 64, 1) * number for number in range(40)]
    with ThreadPoolExecutor(8) as threads:
        outputs = list(threads.map(open_engine(engine), images))
    for output, image in zip(outputs, images, strict=True):
        np.testing.assert_allclose(output, expected(image), atol=1e-5)


def test_parallel_calls_give_the_results_of_single_calls(engine):
    images = [pictures(3, 64, 48, 1) * number for number in range(12)]
    whole = open_engine(engine)
    parallel = whole.for_parallel_calls()
    assert parallel.calls >= 1
    with ThreadPoolExecutor(2 * parallel.calls) as threads:
        outputs = list(threads.map(parallel, images))
    for output, image in zip(outputs, images, strict=True):
        np.testing.assert_allclose(output, whole(image), atol=1e-6)


@pytest.mark.skipif(not Path("/proc/self/maps").is_file(), reason="only Linux lists mapped files")
@pytest.mark.parametrize("cached", [False, True])
def test_the_files_of_an_open_engine_can_be_replaced(cached, engine):
    images = pictures(1, 8, 8, 1)
    if cached:
        open_engine(engine)
    opened = open_engine(engine)
    assert str(engine) not in Path("/proc/self/maps").read_text()
    for file in FILES:
        (engine / file.decode()).write_bytes(b"another model")
    np.testing.assert_allclose(opened(images), expected(images), atol=1e-6)


def test_a_compiled_model_is_cached(engine, cache):
    images = pictures(1, 8, 8, 1)
    first = open_engine(engine)(images)
    (compiled,) = cache.iterdir()
    assert compiled.name == model_digest(engine, "model.xml")[:16]
    kept = {path: path.stat().st_mtime_ns for path in compiled.iterdir()}
    assert kept
    again = open_engine(engine)
    assert (again(images) == first).all()
    assert again.compiled.get_property("LOADED_FROM_CACHE")
    assert {path: path.stat().st_mtime_ns for path in compiled.iterdir()} == kept


def test_the_number_of_threads_does_not_depend_on_the_cache(engine):
    images = pictures(1, 64, 64, 1)
    unbound, one, two = open_engine(engine), open_engine(engine, threads=1), open_engine(engine, threads=2)
    assert one.compiled.get_property("LOADED_FROM_CACHE")
    assert [opened.compiled.get_property("INFERENCE_NUM_THREADS") for opened in (one, two)] == [1, 2]
    assert (one(images) == two(images)).all()
    assert (one(images) == unbound(images)).all()


def test_an_engine_opens_without_a_writable_cache(engine, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    images = pictures(1, 8, 8, 1)
    np.testing.assert_allclose(open_engine(engine)(images), expected(images), atol=1e-6)


def test_an_engine_of_other_channels_than_its_bundle_is_an_error(engine):
    bundle(channels=3, normalisation={"mean": [0.0] * 3, "std": [1.0] * 3}).write(engine)
    with pytest.raises(UnreadableEngine, match=r"model\.xml: .*1 input and 1 output channels, its bundle 3 and 1"):
        open_engine(engine)


@pytest.mark.parametrize("file", ["model.xml", "model.bin"])
@pytest.mark.parametrize("fault", ["missing", "truncated", "empty"])
def test_a_damaged_engine_is_an_error(engine, file, fault):
    whole = (engine / file).read_bytes()
    (engine / file).unlink()
    if fault != "missing":
        (engine / file).write_bytes(whole[: len(whole) // 2] if fault == "truncated" else b"")
    with pytest.raises(UnreadableEngine, match=r"model\.xml: "):
        open_engine(engine)


def test_the_digest_covers_the_model_and_no_other_files(engine):
    (engine / "notes.txt").write_text("made on Monday")
    open_engine(engine)
    weights = bytearray((engine / "model.bin").read_bytes())
    weights[0] ^= 1
    (engine / "model.bin").write_bytes(weights)
    with pytest.raises(UnreadableEngine, match=r"model\.xml: .*SHA-256"):
        open_engine(engine)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("{", "Invalid JSON.*"),
        (json.dumps({"format": 2}), "format: .*"),
    ],
)
def test_a_damaged_record_is_an_error(engine, text, found):
    (engine / "engine.json").write_text(text)
    with pytest.raises(UnreadableEngine, match=rf"engine\.json: .*\({found}\)"):
        open_engine(engine)


def test_the_model_lies_in_the_folder_of_its_record(engine):
    record = json.loads((engine / "engine.json").read_text())
    (engine / "engine.json").write_text(json.dumps(record | {"model": "../model.xml"}))
    with pytest.raises(UnreadableEngine, match=r"engine\.json: .*model: String should match"):
        open_engine(engine)


def test_an_engine_without_a_valid_bundle_is_an_error(engine):
    (engine / "bundle.json").write_text("{}")
    with pytest.raises(UnreadableBundle, match=r"bundle\.json"):
        open_engine(engine)
    (engine / "bundle.json").unlink()
    with pytest.raises(NotARun, match=r"bundle\.json is missing"):
        open_engine(engine)


def test_the_error_of_a_missing_runtime_names_its_extra(engine, monkeypatch):
    monkeypatch.setitem(sys.modules, "openvino", None)
    for module in ("openvino", "openvino_runtime"):
        monkeypatch.delitem(sys.modules, f"maskwright.inference.engines.{module}", raising=False)
    text = r"engine requires OpenVINO \(.*\).*pip install 'maskwright\[openvino\]'\."
    with pytest.raises(MissingPackage, match=text):
        open_engine(engine)


def test_the_required_framework_is_known_without_opening_the_engine(engine, tmp_path):
    assert not needs_framework(engine)
    content = b"".join(name + b"\0" + sha256((engine / name.decode()).read_bytes()).digest() for name in FILES)
    assert weights_digest(engine) == sha256(content).hexdigest()
    write_record(engine, runtime="saved_model")
    assert needs_framework(engine)
    assert needs_framework(tmp_path)
