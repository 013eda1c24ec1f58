import errno
import shutil

import keras
import numpy as np
import pytest
from keras import layers

from maskwright.export import to_openvino
from maskwright.inference.engines.openvino_runtime import core
from tests.networks.randomise import answer, randomise

pytestmark = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="exports go through TensorFlow")


def network(**settings):
    images = keras.Input((None, None, 3))
    x = layers.Conv2D(4, 3, strides=2, padding="same", name="first")(images)
    x = layers.Conv2DTranspose(5, name="larger", **settings)(x)
    return randomise(keras.Model(images, layers.Add()([x, layers.ReLU()(x)])), seed=3)


def enlarging(model):
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
def test_transposed_convolutions_know_their_size_by_themselves_where_that_is_the_same(settings, implied):
    keras_network = network(**settings)
    model = to_openvino.convert(keras_network)
    assert (enlarging(model).get_input_size() == 2) == implied
    compiled = core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    for shape in [(1, 16, 16, 3), (2, 10, 38, 3)]:
        images = np.random.default_rng(0).normal(size=shape).astype(np.float32)
        np.testing.assert_allclose(compiled(images)[0], answer(keras_network, images), atol=1e-5)


def test_what_computes_has_the_name_of_its_layer():
    model = to_openvino.convert(network(kernel_size=4, strides=2, padding="same"))
    names = {op.get_friendly_name() for op in model.get_ops()}
    assert {"first", "larger", "larger_sum"} <= names


def test_a_full_disk_is_named_and_any_other_fault_is_what_it_was(monkeypatch, tmp_path):
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
