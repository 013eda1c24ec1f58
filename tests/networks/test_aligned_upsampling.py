"""Bilinear upsampling with aligned corners, against torch and for variable sizes."""

import keras
import numpy as np
import pytest
from keras import layers, ops
from numpy.testing import assert_allclose

from maskwright.errors import WrongArgument
from maskwright.networks.aligned_upsampling import AlignedUpsampling2D

FEATURES = np.random.default_rng(0).normal(size=(2, 5, 7, 3)).astype("float32")


def upsampled(features: np.ndarray, factor: int) -> np.ndarray:
    return np.asarray(ops.convert_to_numpy(AlignedUpsampling2D(factor)(features)))


@pytest.mark.parametrize("factor", [1, 2, 3, 4, 8])
@pytest.mark.parametrize("size", [(5, 7), (1, 6), (3, 1)])
def test_output_equals_that_of_torch(size, factor):
    torch = pytest.importorskip("torch", reason="torch, the other side of the comparison, is not installed")
    features = FEATURES[:, : size[0], : size[1]]
    theirs = torch.nn.UpsamplingBilinear2d(scale_factor=factor)(torch.from_numpy(features).permute(0, 3, 1, 2))
    assert_allclose(upsampled(features, factor), theirs.permute(0, 2, 3, 1).numpy(), atol=1e-6)


def test_plane_is_upsampled_to_a_plane_with_the_same_corners():
    rows, columns = np.mgrid[:5, :7].astype("float32")
    plane = (2 * rows - 3 * columns)[None, ..., None]
    big = upsampled(plane, 3)[0, ..., 0]
    assert (big[0, 0], big[0, -1], big[-1, 0], big[-1, -1]) == pytest.approx((0, -18, 8, -10), abs=1e-5)
    for axis in (0, 1):
        assert_allclose(np.diff(big, n=2, axis=axis), 0, atol=1e-4)


def test_one_network_upsamples_several_sizes():
    images = keras.Input((None, None, 3))
    network = keras.Model(images, AlignedUpsampling2D(2)(images))
    assert network.output_shape == (None, None, None, 3)
    for features in (
        FEATURES,
        FEATURES[:, :3],
        FEATURES[:, :, :2],
    ):  # the second size makes TensorFlow trace with open sides
        assert_allclose(network.predict_on_batch(features), upsampled(features, 2), atol=1e-6)


def test_half_precision_distinguishes_the_pixels_of_a_long_side():
    side = 3000  # float16 counts to 2048
    features = np.tile(np.float16([0, 1]), side // 2).reshape(1, 1, side, 1)
    big = ops.convert_to_numpy(AlignedUpsampling2D(1, dtype="float16")(features))
    assert big.dtype == np.float16
    np.testing.assert_array_equal(big, features)


def test_gradient_is_the_transpose_of_the_output():
    """Check the gradient of the sum of an upsampled feature map: the total weight of each input pixel."""
    images = keras.Input((4, 6, 1))
    x = layers.Conv2D(1, 1, use_bias=False, kernel_initializer="ones")(images)
    network = keras.Model(images, AlignedUpsampling2D(3)(x))
    network.compile("sgd", loss=lambda _, y: ops.mean(y))
    network.optimizer.learning_rate.assign(1.0)
    features = FEATURES[:1, :4, :6, :1]
    network.train_on_batch(features, np.zeros((1, 12, 18, 1)))
    taught = 1 - ops.convert_to_numpy(network.weights[0]).item()
    assert taught == pytest.approx(upsampled(features, 3).mean(), abs=1e-6)


def test_layer_is_restored_from_its_configuration():
    again = keras.saving.deserialize_keras_object(
        keras.saving.serialize_keras_object(AlignedUpsampling2D(3, name="enlarge", dtype="float32"))
    )
    assert (type(again), again.factor, again.name) == (AlignedUpsampling2D, 3, "enlarge")
    assert again.dtype_policy.name == "float32"


@pytest.mark.parametrize("factor", [0, 1.5, True, None])
def test_factor_that_is_not_a_positive_integer_is_an_error(factor):
    with pytest.raises(WrongArgument, match=rf"factor={factor}: expected .*integer.* 1"):
        AlignedUpsampling2D(factor)
