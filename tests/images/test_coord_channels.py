import numpy as np
import pytest

from maskwright.images.coord_channels import add_coord_channels, extra_channels, ramp
from maskwright.images.resize import resized


def test_coordinates_are_those_of_pixel_centres():
    np.testing.assert_allclose(ramp(2), [-0.5, 0.5])
    np.testing.assert_allclose(ramp(101)[[0, 50, 100]], [-100 / 101, 0, 100 / 101], atol=1e-6)
    np.testing.assert_allclose(resized(ramp(100)[:, None, None], (50, 1))[1:-1, 0, 0], ramp(50)[1:-1], atol=1e-3)


def test_coordinate_channels_are_appended():
    images = np.random.default_rng(0).normal(size=(2, 4, 6, 2)).astype(np.float32)
    rows, columns = ramp(4)[:, None], ramp(6)
    made = add_coord_channels(images, ("column", "row_times_image", "row"), rows, columns)
    assert made.shape == (2, 4, 6, 2 + extra_channels(("column", "row_times_image", "row"), 2)) == (2, 4, 6, 6)
    np.testing.assert_array_equal(made[..., :2], images)
    np.testing.assert_array_equal(made[1, 2, :, 2], columns)
    np.testing.assert_allclose(made[0, 3, :, 3:5], images[0, 3] * rows[3])
    np.testing.assert_array_equal(made[0, :, 5, 5], rows[:, 0])


def test_without_coordinate_channels_images_are_unchanged():
    images = np.zeros((1, 2, 2, 1), np.float32)
    assert add_coord_channels(images, (), ramp(2)[:, None], ramp(2)) is images


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("channels", [1, 2, 3, 5])
def test_all_channels_are_resized_alike_in_their_type(dtype, channels):
    one = np.random.default_rng(0).integers(0, 255, (20, 31)).astype(dtype)
    image = np.repeat(one[..., None], channels, axis=-1)
    made = resized(image, (33, 17))
    assert (made.shape, made.dtype) == ((33, 17, channels), dtype)
    assert all(abs(made[..., band].astype(float) - made[..., 0]).max() <= 1 for band in range(channels))
    assert resized(image, (20, 31)) is image
