"""Bilinear upsampling against Keras for static sizes, and for variable sizes."""

import keras
import numpy as np
import pytest
from numpy.testing import assert_allclose

from maskwright.errors import InputError
from maskwright.networks.bilinear_upsampling import BilinearUpsampling2D

FEATURES = np.random.default_rng(0).normal(size=(2, 5, 7, 3)).astype("float32")


@pytest.mark.parametrize("factor", [1, 2, 3, 8])
def test_output_equals_that_of_keras_for_a_static_size(factor):
    theirs = keras.layers.UpSampling2D(factor, interpolation="bilinear")(FEATURES)
    assert_allclose(
        keras.ops.convert_to_numpy(BilinearUpsampling2D(factor)(FEATURES)),
        keras.ops.convert_to_numpy(theirs),
        atol=1e-6,
    )


def test_one_network_upsamples_several_sizes():
    images = keras.Input((None, None, 3))
    network = keras.Model(images, BilinearUpsampling2D(2)(images))
    assert network.output_shape == (None, None, None, 3)
    for features in (
        FEATURES,
        FEATURES[:, :3],
        FEATURES[:, :, :2],
    ):  # the second size makes TensorFlow trace with open sides
        direct = keras.ops.convert_to_numpy(BilinearUpsampling2D(2)(features))
        assert_allclose(network.predict_on_batch(features), direct, atol=1e-6)


def test_half_precision_is_kept():
    layer = BilinearUpsampling2D(2, dtype="mixed_float16")
    assert keras.backend.standardize_dtype(layer(FEATURES).dtype) == "float16"


def test_layer_is_restored_from_its_configuration():
    layer = BilinearUpsampling2D(3, name="enlarge")
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    assert (again.factor, again.name) == (3, "enlarge")


def test_factor_that_is_not_an_integer_is_an_error():
    with pytest.raises(InputError, match=r"factor=1\.5: expected .*integer.* 1"):
        BilinearUpsampling2D(1.5)
