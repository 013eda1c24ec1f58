import numpy as np
import pytest

from maskwright.images.coord_channels import ramp
from maskwright.images.errors import WrongChannels
from maskwright.inference.bundle import WrongPixels
from maskwright.inference.predict_image import predict_indices, predict_probabilities
from tests.inference.fake_engines import Blur, Brightness


def picture(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 1), dtype=np.uint8)


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (31, 33), (32, 64), (101, 101), (360, 480)])
def test_the_output_has_the_size_of_the_image(size):
    engine, image = Brightness(), picture(*size)
    np.testing.assert_allclose(predict_probabilities(engine, image), image / 255, rtol=1e-6)
    assert engine.sizes == [tuple(-(-side // 32) * 32 for side in size)]  # the next multiples of 32


@pytest.mark.parametrize("margin", [5, None])
def test_a_large_image_in_blocks_gives_the_result_of_one_call(margin):
    image = picture(210, 333)
    whole, blocks = Blur(tile=1024), Blur(tile=64)
    expected = predict_probabilities(whole, image)
    found = predict_probabilities(blocks, image, margin=margin)
    assert len(whole.sizes) == 1
    assert max(height * width for height, width in blocks.sizes) <= 128**2
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_a_margin_below_the_receptive_radius_changes_the_result():
    image = picture(210, 333)
    expected = predict_probabilities(Blur(tile=1024), image)
    assert np.abs(predict_probabilities(Blur(tile=64), image, margin=0) - expected).max() > 0.01


def test_an_image_of_twice_a_tiles_side_is_predicted_in_one_call():
    engine = Blur(tile=64)
    predict_indices(engine, picture(120, 128))
    assert engine.sizes == [(128, 128)]


def test_indices_are_decided_by_the_threshold():
    image = np.uint8([[[127], [128]]])  # 0.498 and 0.502 of 255
    assert predict_indices(Brightness(), image).tolist() == [[0, 1]]
    assert predict_indices(Brightness(threshold=0.6), image).tolist() == [[0, 0]]


def test_another_dtype_than_in_training_is_an_error_that_names_the_file():
    with pytest.raises(WrongPixels, match=r"a\.tif: .*float32.*uint8"):
        predict_indices(Brightness(), np.zeros((4, 4, 1), np.float32), file="a.tif")


def test_channels_that_cannot_be_converted_are_an_error_that_names_the_file():
    coloured = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    with pytest.raises(WrongChannels, match=r"b\.png: found 3 channels"):
        predict_indices(Brightness(), coloured, file="b.png")


def test_transparent_pixels_are_an_error_in_an_image_of_any_size():
    image = np.dstack([picture(150, 170), np.full((150, 170), 255, np.uint8)])
    expected = predict_indices(Blur(tile=64), image[..., :1])
    np.testing.assert_array_equal(predict_indices(Blur(tile=64), image), expected)
    image[140, 160, 1] = 0
    for tile in (64, 1024):
        with pytest.raises(WrongChannels, match=r"a\.png: found 2 channels"):
            predict_indices(Blur(tile=tile), image, file="a.png")


class Rows(Brightness):
    """Returns the row coordinate, scaled to [0, 1]."""

    def __call__(self, images):
        self.sizes.append(images.shape[1:3])
        return (images[..., 1:2] + 1) / 2


@pytest.mark.parametrize("size", [(20, 30), (101, 101), (150, 170)])
def test_coordinates_are_those_of_the_whole_image_in_one_call_and_in_blocks(size):
    engine = Rows(coord_channels=("row",), tile=128)
    found = predict_probabilities(engine, np.zeros((*size, 1), np.uint8), margin=32)
    np.testing.assert_allclose(found[..., 0], np.broadcast_to(((ramp(size[0]) + 1) / 2)[:, None], size), atol=1e-6)


def test_an_image_is_resized_for_the_network_and_its_output_back():
    engine = Brightness(scale=128 / 101)
    smooth = np.float32(np.mgrid[:101, :101][0] * 2).astype(np.uint8)[..., None]
    found = predict_probabilities(engine, smooth)
    assert engine.sizes == [(128, 128)]
    assert found.shape == (101, 101, 1)
    np.testing.assert_allclose(found, smooth / 255, atol=0.02)
    np.testing.assert_array_equal(predict_indices(engine, smooth), engine.bundle.decide(found))


def test_holes_and_small_components_are_removed_as_configured():
    image = np.zeros((40, 40, 1), np.uint8)
    image[5:20, 5:20], image[10, 10], image[30, 30] = 255, 0, 255
    plain = predict_indices(Brightness(), image)
    clean = predict_indices(Brightness(min_component_sizes=(0, 5), fill_holes=True), image)
    assert (plain.sum(), clean.sum()) == (225, 225)
    assert (clean[10, 10], clean[30, 30]) == (1, 0)
