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
def test_any_size_comes_back_pixel_for_pixel(size):
    engine, image = Brightness(), picture(*size)
    np.testing.assert_allclose(predict_probabilities(engine, image), image / 255, rtol=1e-6)
    assert engine.sizes == [tuple(-(-side // 32) * 32 for side in size)]  # the next multiples of 32


def test_a_large_image_is_predicted_in_tiles_with_the_result_of_predicting_it_whole():
    image = picture(210, 333)
    whole, tiled = Blur(tile=1024), Blur(tile=64, margin=6)
    expected = predict_probabilities(whole, image)
    found = predict_probabilities(tiled, image)
    assert len(whole.sizes) == 1
    assert set(tiled.sizes) == {(64, 64)}
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_a_margin_smaller_than_the_reach_would_show():
    image = picture(210, 333)
    expected = predict_probabilities(Blur(tile=1024), image)
    assert np.abs(predict_probabilities(Blur(tile=64, margin=1), image) - expected).max() > 0.01


def test_indices_are_the_decision_on_the_probabilities():
    image = np.uint8([[[127], [128]]])  # 0.498 and 0.502 of 255
    assert predict_indices(Brightness(), image).tolist() == [[0, 1]]
    assert predict_indices(Brightness(threshold=0.6), image).tolist() == [[0, 0]]


def test_pixels_of_another_kind_than_in_training_are_refused_with_the_file():
    with pytest.raises(WrongPixels, match=r"a\.tif: pixels are float32, but the network was trained on uint8; convert"):
        predict_indices(Brightness(), np.zeros((4, 4, 1), np.float32), file="a.tif")


def test_channels_that_cannot_be_brought_to_the_networks_are_refused_with_the_file():
    coloured = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    with pytest.raises(WrongChannels, match=r"b\.png: found 3 channels"):
        predict_indices(Brightness(), coloured, file="b.png")


class Rows(Brightness):
    """What it says of a pixel is the row channel it was given, brought to [0, 1]."""

    def __call__(self, images):
        self.sizes.append(images.shape[1:3])
        return (images[..., 1:2] + 1) / 2


@pytest.mark.parametrize("size", [(20, 30), (101, 101), (150, 170)])
def test_a_network_is_told_where_pixels_lie_in_the_whole_image_tiled_or_not(size):
    engine = Rows(position=("row",), tile=128, margin=32)
    said = predict_probabilities(engine, np.zeros((*size, 1), np.uint8))
    np.testing.assert_allclose(said[..., 0], np.broadcast_to(((ramp(size[0]) + 1) / 2)[:, None], size), atol=1e-6)


def test_an_image_is_seen_at_the_networks_scale_and_answered_at_its_own():
    engine = Brightness(scale=128 / 101)
    smooth = np.float32(np.mgrid[:101, :101][0] * 2).astype(np.uint8)[..., None]
    said = predict_probabilities(engine, smooth)
    assert engine.sizes == [(128, 128)]
    assert said.shape == (101, 101, 1)
    np.testing.assert_allclose(said, smooth / 255, atol=0.02)
    np.testing.assert_array_equal(predict_indices(engine, smooth), engine.bundle.decide(said))


def test_a_mask_is_freed_of_what_the_bundle_says_is_wrong():
    image = np.zeros((40, 40, 1), np.uint8)
    image[5:20, 5:20], image[10, 10], image[30, 30] = 255, 0, 255
    plain = predict_indices(Brightness(), image)
    clean = predict_indices(Brightness(minimum_areas=(0, 5), fill_holes=True), image)
    assert (plain.sum(), clean.sum()) == (225, 225)
    assert (clean[10, 10], clean[30, 30]) == (1, 0)
