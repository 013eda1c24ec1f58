import errno
import shutil

import keras
import numpy as np
import pytest
from keras import layers

from maskwright.export import to_openvino
from maskwright.inference.engines.openvino_runtime import core
from tests.networks.randomise import infer, randomise

pytestmark = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="exports go through TensorFlow")


def network(**settings):
    images = keras.Input((None, None, 3))
    x = layers.Conv2D(4, 3, strides=2, padding="same", name="first")(images)
    x = layers.Conv2DTranspose(5, name="larger", **settings)(x)
    return randomise(keras.Model(images, layers.Add()([x, layers.ReLU()(x)])), seed=3)


def transposed_convolution(model):
    [op] = [op for op in model.get_ops() if op.get_type_name() == "ConvolutionBackpropData"]
    return op


@pytest.mark.parametrize(
    ("settings", "implied"),
    [
        ({"kernel_size": 4, "strides": 2, "padding": "same"}, True),
        ({"kernel_size": 3, "strides": 2, "padding": "same"}, True),
        ({"kernel_size": (6, 5), "strides": (3, 2), "padding": "same"}, True),
        ({"kernel_size": 3, "strides": 2, "padding": "same", "output_padding": 0}, False),
        ({"kernel_size": 4, "strides": 2, "padding": "valid"}, False),
        ({"kernel_size": 2, "strides": 3, "padding": "same"}, False),
    ],
)
def test_output_size_is_implicit_where_it_follows_from_strides(settings, implied):
    keras_network = network(**settings)
    model = to_openvino.convert(keras_network)
    assert (transposed_convolution(model).get_input_size() == 2) == implied
    compiled = core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    for shape in [(1, 16, 16, 3), (2, 10, 38, 3)]:
        images = np.random.default_rng(0).normal(size=shape).astype(np.float32)
        np.testing.assert_allclose(compiled(images)[0], infer(keras_network, images), atol=1e-5)


def test_operations_are_named_after_layers():
    model = to_openvino.convert(network(kernel_size=4, strides=2, padding="same"))
    names = {op.get_friendly_name() for op in model.get_ops()}
    assert {"first", "larger", "larger_sum"} <= names


def test_full_disk_is_named_and_other_errors_are_unchanged(monkeypatch, tmp_path):
    def broken(*args, **kwargs):
        raise RuntimeError("basic_ios::clear: iostream error")

    monkeypatch.setattr(to_openvino.openvino, "save_model", broken)
    with pytest.raises(RuntimeError, match="basic_ios"):
        to_openvino.save(None, tmp_path)
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=0))
    with pytest.raises(OSError, match=r"No space left on device: .*model\.xml") as caught:
        to_openvino.save(None, tmp_path)
    assert caught.value.errno == errno.ENOSPC
