"""Channels are converted only where no information is added or lost."""

import numpy as np
import pytest

from maskwright.images.channels import to_channels
from maskwright.images.errors import WrongChannels
from tests.images.painted import noise


def with_alpha(image: np.ndarray, alpha: float) -> np.ndarray:
    return np.concatenate([image, np.full_like(image[..., :1], alpha)], axis=-1)


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 7])
def test_the_expected_number_of_channels_is_kept(channels):
    image = noise(4, 5, channels)
    assert to_channels(image, channels, file="a.png") is image


def test_gray_becomes_rgb_and_gray_again():
    gray = noise(4, 5, 1, dtype="uint16")
    colour = to_channels(gray, 3, file="a.png")
    np.testing.assert_array_equal(colour, np.concatenate([gray, gray, gray], axis=2))
    np.testing.assert_array_equal(to_channels(colour, 1, file="a.png"), gray)


@pytest.mark.parametrize(("dtype", "opaque"), [("uint8", 255), ("uint16", 65535), ("float32", 1)])
def test_opaque_alpha_is_removed(dtype, opaque):
    colour, gray = noise(4, 5, 3).astype(dtype), noise(4, 5, 1).astype(dtype)
    np.testing.assert_array_equal(to_channels(with_alpha(colour, opaque), 3, file="a"), colour)
    np.testing.assert_array_equal(to_channels(with_alpha(gray, opaque), 1, file="a"), gray)
    np.testing.assert_array_equal(to_channels(with_alpha(gray, opaque), 3, file="a"), gray.repeat(3, axis=2))
    np.testing.assert_array_equal(to_channels(with_alpha(gray.repeat(3, axis=2), opaque), 1, file="a"), gray)


def test_one_coloured_pixel_prevents_conversion_to_gray():
    image = np.zeros((4, 5, 3), np.uint8)
    image[3, 4, 1] = 1
    with pytest.raises(WrongChannels, match=r"a\.png: found 3 channels \(RGB\); expected 1 channel \(gray\)\. Convert"):
        to_channels(image, 1, file="a.png")


@pytest.mark.parametrize("channels", [2, 4])
def test_transparency_is_an_error(channels):
    image = np.full((4, 5, channels), 255, np.uint8)
    image[0, 0, -1] = 254
    with pytest.raises(WrongChannels, match=r"with alpha\); expected 3 channels \(RGB\)\. Save .*without transparency"):
        to_channels(image, 3, file="a.png")


@pytest.mark.parametrize(("found", "expected"), [(5, 3), (3, 5), (1, 4), (3, 4), (1, 2), (4, 2)])
def test_other_conversions_are_an_error(found, expected):
    with pytest.raises(WrongChannels, match=rf"found {found} channel.*; expected {expected} channels"):
        to_channels(np.full((2, 2, found), 255, np.uint8), expected, file="a.png")
