"""A program that opens engines on another device than the default one and checks that they compute there.

TensorFlow and JAX have two virtual CPUs, of which the second is used. With PyTorch, the default device is ``meta``,
which computes nothing, and the CPU is used. The arguments are the backend and a folder for the networks.
"""

import sys
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from maskwright.framework import load_keras
from maskwright.inference.device import CPU, Device
from tests.inference.fake_engines import bundle

IMAGES = np.arange(4, dtype=np.float32).reshape(1, 2, 2, 1)
TENSORFLOW_NAME = "/job:localhost/replica:0/task:0/device:cpu:1"


def main(backend, folder):
    if backend == "tensorflow":
        import tensorflow as tf

        cpu = tf.config.list_physical_devices("CPU")[0]
        tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    load_keras()
    import keras

    with keras.device("meta") if backend == "torch" else nullcontext():
        check_keras_engine(folder, CPU if backend == "torch" else Device("cpu", 1), backend)
    if backend == "tensorflow":
        check_saved_model(folder, Device("cpu", 1))


def full_name(tensor):
    return str(tensor.device).lower()


def check_keras_engine(folder, device, backend):
    import keras

    from maskwright.inference.engines.keras import load_keras_engine
    from maskwright.inference.framework_devices import current_device

    with keras.device("cpu"):
        images = keras.Input((None, None, 1))
        convolution = keras.layers.Conv2D(1, 1, kernel_initializer="ones", bias_initializer="ones")
        keras.Model(images, convolution(images)).save(folder / "network.keras")
    engine = load_keras_engine(folder / "network.keras", bundle(), device=device)
    predict, seen = engine.network.predict_on_batch, []

    def predict_and_record(images):
        seen.append(current_device())
        seen.extend(full_name(weight.value) for weight in engine.network.weights)
        return predict(images)

    engine.network.predict_on_batch = predict_and_record
    np.testing.assert_array_equal(engine(IMAGES), IMAGES + 1)
    name = TENSORFLOW_NAME if backend == "tensorflow" else str(device)
    assert seen == [device, name, name], seen
    assert current_device() != device, "the scope has not ended"


def check_saved_model(folder, device):
    import tensorflow as tf

    from maskwright.inference.engines.saved_model import open_exported

    module, seen = tf.Module(), []
    module.bias = tf.Variable(2.0)

    @tf.function(input_signature=[tf.TensorSpec((None, None, None, 1), tf.float32, name="images")])
    def add(images):
        return {"probabilities": images + module.bias}

    tf.saved_model.save(module, str(folder / "saved"), signatures={"serving_default": add})
    engine = open_exported(folder, SimpleNamespace(model="saved"), bundle(), device=device)
    predict = engine._predict

    def predict_and_record(images):
        result = predict(images=images)
        seen.extend(map(full_name, [images, result["probabilities"], *predict.variables]))
        return result

    engine._predict = predict_and_record
    np.testing.assert_array_equal(engine(IMAGES), IMAGES + 2)
    assert seen == [TENSORFLOW_NAME] * 3, seen


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
