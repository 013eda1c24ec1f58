import json
import sys

import keras
import numpy as np
import pytest
from keras import layers

from maskwright.cli.tables import checks_table
from maskwright.errors import MissingPackage
from maskwright.export import quantise, to_openvino
from maskwright.export.export import export_run
from maskwright.export.int8_sensitivity import quantisation_errors
from maskwright.export.verify import BOUNDS, EngineDisagrees, exceeded_bounds
from maskwright.inference.engines.engine import open_engine
from maskwright.inference.engines.openvino_runtime import core
from maskwright.inference.engines.record import ExportChecks
from tests.export.a_run import NAMES, predict, write_run
from tests.networks.randomise import infer, randomise

pytestmark = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="exports go through TensorFlow")


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
    """Redirect the cache, so that the user's is neither read nor written."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


def build_network(*, outlier: float) -> keras.Model:
    """Eight layers in a row; the first adds ``outlier`` to a channel whose weights are zero in the second, ``fragile``.

    Quantised to 256 steps over a range that includes the outlier, the other channels all become equal.
    """
    images = keras.Input((None, None, 3))
    x = layers.Conv2D(4, 3, padding="same", activation="relu", name="first")(images)
    x = layers.Conv2D(8, 3, padding="same", activation="relu", name="fragile")(x)
    down = x = layers.MaxPooling2D(2)(x)
    for number in range(3):
        x = layers.Conv2D(8, 3, padding="same", activation="relu", name=f"conv{number}")(x)
    x = layers.Add(name="sum")([x, down])
    x = layers.Conv2DTranspose(6, 4, 2, padding="same", activation="relu", name="larger")(x)
    x = layers.Conv2D(len(NAMES), 3, padding="same", activation="softmax", name="head")(x)
    network = randomise(keras.Model(images, x), seed=1)
    (_, bias), (kernel, _) = (network.get_layer(name).get_weights() for name in ("first", "fragile"))
    bias[0] += outlier
    kernel[:, :, 0] = 0
    network.get_layer("first").bias.assign(bias)
    network.get_layer("fragile").kernel.assign(kernel)
    images = np.random.default_rng(3).normal(size=(4, 32, 32, 3)).astype(np.float32)
    even = -np.log(infer(network, images)).mean((0, 1, 2))  # makes every class occur in the predictions
    network.get_layer("head").bias.assign_add(even)
    return network


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return write_run(tmp_path_factory.mktemp("data"), network=build_network(outlier=0))


@pytest.fixture(scope="module")
def fragile_run(tmp_path_factory):
    return write_run(tmp_path_factory.mktemp("data"), network=build_network(outlier=1e4))


def in_int8(folder):
    """Return the names of the operations with 8-bit weights."""
    model = core().read_model(folder / "model.xml")
    small = [op for op in model.get_ops() if op.get_type_name() == "Constant" and op.get_element_type().size == 1]
    assert all(op.get_element_type().to_string() == "i8" for op in small)

    def reader(op):
        while op.get_type_name() in {"Constant", "Convert", "Multiply"}:
            op = next(iter(op.output(0).get_target_inputs())).get_node()
        return op.get_friendly_name()

    return {reader(op) for op in small}


def test_robust_network_is_all_in_int8(run, tmp_path):
    exported = export_run(run, tmp_path / "engine", precision="int8")
    assert exported.reverted == ()
    assert "nncf" in exported.versions
    assert exported.checks.run_mean_iou == 1
    assert exported.checks.engine_mean_iou > 0.995
    assert in_int8(tmp_path / "engine") == {"first", "fragile", "conv0", "conv1", "conv2", "larger", "head"}
    image = np.random.default_rng(5).integers(0, 256, (44, 60, 3), dtype=np.uint8)
    engine = open_engine(tmp_path / "engine")
    found = engine.bundle.values(engine.bundle.decide(engine(engine.bundle.prepare(image)[None]))[0])
    assert (found == predict(build_network(outlier=0), image)).mean() > 0.98


def test_sensitive_layer_is_reverted_and_recorded(fragile_run, tmp_path):
    exported = export_run(fragile_run, tmp_path / "engine", precision="int8")
    assert exported.reverted[0] == "fragile"
    assert len(exported.reverted) <= 2
    assert json.loads((tmp_path / "engine/engine.json").read_text())["reverted"] == list(exported.reverted)
    assert exported.checks.engine_mean_iou > 0.995
    assert {"conv0", "conv1", "conv2", "larger"} <= in_int8(tmp_path / "engine")
    assert "fragile" not in in_int8(tmp_path / "engine")
    cells = [str(cell) for column in checks_table(exported).columns for cell in column.cells]
    assert f"layers not in int8: {', '.join(exported.reverted)}" in cells


def test_nothing_is_written_if_reverting_does_not_help(fragile_run, tmp_path, monkeypatch):
    monkeypatch.setattr(quantise, "KEPT_FRACTIONS", ())
    with pytest.raises(EngineDisagrees, match=r"int8.* mean IoU is 0\.\d+ instead of 1\.0000"):
        export_run(fragile_run, tmp_path / "out/engine", precision="int8")
    assert list((tmp_path / "out").iterdir()) == []


def test_error_of_a_layer_excludes_errors_of_earlier_layers(tmp_path):
    """Reference: exact inputs and weights of the layer, quantised with NumPy, convolved by Keras."""
    network = build_network(outlier=30)
    model = to_openvino.convert(network)
    images = np.random.default_rng(2).normal(size=(4, 1, 32, 32, 3)).astype(np.float32)
    found = quantisation_errors(model, quantise.quantise(model, list(images)), list(images))
    layer = network.get_layer("fragile")
    exact = keras.Model(network.input, network.get_layer("first").output)
    features = np.stack([exact(image) for image in images])
    step = features.max() / 255
    kernel, _ = layer.get_weights()
    steps = np.abs(kernel).max((0, 1, 2)) / 127
    rounded = keras.ops.conv(np.round(features[:, 0] / step) * step, np.round(kernel / steps) * steps, padding="same")
    whole = keras.ops.conv(features[:, 0], kernel, padding="same")
    power = np.asarray(keras.ops.mean((rounded - whole) ** 2, (1, 2, 3)) / keras.ops.mean(whole**2, (1, 2, 3)))
    assert found["fragile"] == pytest.approx(power.mean(), rel=0.2)
    assert found["fragile"] == max(found.values())
    assert found["conv0"] < found["fragile"] / 5  # although its inputs come from the fragile layer


def test_only_int8_may_raise_the_score():
    facts = {
        "compared_images": 1,
        "compared_pixels": 9,
        "largest_difference": 0,
        "changed_pixels": 0,
        "scored_pairs": 1,
    }

    def found(precision, run, engine):
        checks = ExportChecks(**facts, run_mean_iou=run, engine_mean_iou=engine, bounds=BOUNDS[precision])
        return exceeded_bounds(checks)

    assert found("int8", 0.5, 0.6) == []
    assert found("int8", 0.5, 0.4951) == []
    assert found("int8", 0.5, 0.494) == ["the validation mean IoU is 0.4940 instead of 0.5000 (bound 0.005)"]
    assert len(found("bf16", 0.5, 0.6)) == 1


def test_missing_nncf_is_named(run, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "nncf", None)
    monkeypatch.delitem(sys.modules, "maskwright.export.quantise", raising=False)
    with pytest.raises(MissingPackage, match=r"openvino and nncf \(.*nncf.*\).*pip install 'maskwright\[int8\]'\."):
        export_run(run, tmp_path / "engine", precision="int8")
