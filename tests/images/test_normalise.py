"""The unit scale, and statistics that do not depend on how pixels are distributed over images."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pydantic import ValidationError

from maskwright.errors import WrongArgument
from maskwright.images.normalise import MixedPixels, Normalisation
from tests.images.painted import noise

PLAIN = Normalisation(mean=(0.0,), std=(1.0,))


@given(hnp.arrays(st.sampled_from([np.uint8, np.uint16]), (3, 4, 1)))
def test_integers_are_mapped_monotonically_to_0_to_1(image):
    unit = PLAIN.to_unit(image)
    assert unit.dtype == np.float32
    assert unit.min() >= 0
    assert unit.max() <= 1
    assert (np.diff(unit.ravel()[np.argsort(image.ravel())]) >= 0).all()
    np.testing.assert_array_equal(np.rint(unit * np.float64(np.iinfo(image.dtype).max)), image)


def test_the_extremes_of_every_type_become_0_and_1():
    for ends in (np.array([0, 255], np.uint8), np.array([0, 65535], np.uint16)):
        assert PLAIN.to_unit(ends).tolist() == [0, 1]
    floats = Normalisation(low=-2, high=6, mean=(0,), std=(1,)).to_unit(np.array([-2, 0, 6, 10], np.float32))
    assert floats.tolist() == [0, 0.25, 1, 1.5]


def test_each_channel_has_its_own_mean_and_std():
    normalisation = Normalisation(mean=(0.0, 0.5, 1.0), std=(1.0, 0.5, 0.25))
    image = np.array([[[255, 255, 0]]], np.uint8)
    np.testing.assert_array_equal(normalisation(image), [[[1, 1, -4]]])
    np.testing.assert_array_equal(normalisation(image[None].repeat(2, axis=0)), [[[[1, 1, -4]]]] * 2)
    assert normalisation(image).dtype == np.float32


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_statistics_of_images_are_those_of_all_pixels(dtype):
    images = [
        noise(height, width, 3, seed=height).astype(dtype) // (height + 1) * 3
        for height, width in ((3, 4), (1, 9), (8, 8))
    ]
    pixels = np.concatenate([image.reshape(-1, 3) for image in images]).astype(np.float64)
    low, high = (pixels.min(), pixels.max()) if dtype == "float32" else (0, np.iinfo(dtype).max)
    measured = Normalisation.measure(iter(images))
    unit = (pixels - low) / (high - low)
    np.testing.assert_allclose(measured.mean, unit.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(measured.std, unit.std(axis=0), rtol=1e-12)
    normalised = np.concatenate([measured(image).reshape(-1, 3) for image in images])
    np.testing.assert_allclose(normalised.mean(axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(normalised.std(axis=0), 1, atol=1e-6)
    if dtype == "float32":
        assert (measured.low, measured.high) == (low, high)
    else:
        assert (measured.low, measured.high) == (0, 1)


@pytest.mark.parametrize("strip", [7, 25])  # a row at a time, and two with one that is left over
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_a_large_image_is_measured_in_strips(monkeypatch, strip, dtype):
    monkeypatch.setattr("maskwright.images.normalise._PIXELS_AT_ONCE", strip)
    image = noise(9, 11, 2).astype(dtype)
    image.flat[:4] = 0, 0, 255, 255  # all of the range of either type
    measured = Normalisation.measure([image])
    np.testing.assert_allclose(measured.mean, image.mean(axis=(0, 1), dtype=float) / 255, rtol=1e-12)
    np.testing.assert_allclose(measured.std, image.std(axis=(0, 1), dtype=float) / 255, rtol=1e-12)


def test_the_brightest_pixels_are_summed_without_overflow():
    for kind in (np.uint8, np.uint16):
        bright = np.full((300, 400, 1), np.iinfo(kind).max, kind)
        bright[:150] -= 2
        measured = Normalisation.measure([bright])
        assert measured.mean == pytest.approx((1 - 1 / np.iinfo(kind).max,), rel=1e-12)
        assert measured.std == pytest.approx((1 / np.iinfo(kind).max,), rel=1e-9)


def test_other_pixel_types_are_an_error_and_empty_images_are_skipped():
    with pytest.raises(WrongArgument, match="int32"):
        Normalisation.measure([np.zeros((2, 2, 1), np.int32)])
    for kind in (np.uint8, np.float32):
        empty, full = np.zeros((3, 0, 1), kind), np.array([[[0], [255]]], kind)
        assert Normalisation.measure([empty, full]).mean == (0.5,)


def test_a_large_offset_does_not_reduce_precision():
    image = np.array([[[1e7], [1e7 + 1], [1e7 + 2], [1e7 + 3]]], np.float32)
    measured = Normalisation.measure([image] * 50)
    assert measured.mean == pytest.approx((0.5,), rel=1e-12)
    assert measured.std == pytest.approx((np.sqrt(1.25) / 3,), rel=1e-9)


def test_a_constant_channel_becomes_zero():
    for image in (np.full((3, 3, 2), 7, np.uint8), np.full((3, 3, 2), 0.7, np.float32)):
        measured = Normalisation.measure([image, image])
        assert measured.std == (1, 1)
        np.testing.assert_allclose(measured(image), 0, atol=1e-6)


def test_the_smallest_16_bit_variation_is_not_constant():
    measured = Normalisation.measure([np.array([[[500], [501]]], np.uint16)])
    assert measured.std == pytest.approx((0.5 / 65535,))


def test_sets_without_a_common_scale_are_an_error():
    gray, floats = np.zeros((2, 2, 1), np.uint8), np.zeros((2, 2, 1), np.float32)
    with pytest.raises(
        MixedPixels, match=r"found float images of 1 channels and integer images of 1 channels; expected one pixel type"
    ):
        Normalisation.measure([gray, floats])
    with pytest.raises(MixedPixels, match="integer images of 1 channels and integer images of 3 channels"):
        Normalisation.measure([gray, np.zeros((2, 2, 3), np.uint8)])
    with pytest.raises(MixedPixels, match="found no images; expected at least one"):
        Normalisation.measure([])


def test_8_and_16_bit_images_share_a_scale():
    measured = Normalisation.measure([np.full((1, 1, 1), 255, np.uint8), np.zeros((1, 3, 1), np.uint16)])
    assert measured.mean == (0.25,)


def test_wrong_shapes_and_types_are_an_error():
    with pytest.raises(WrongArgument, match=r"array of shape .*expected a last axis of 1 channels"):
        PLAIN(np.zeros((2, 2, 3), np.uint8))
    with pytest.raises(WrongArgument, match=r"array of int64.*expected pixels of uint8, uint16 or float32"):
        PLAIN.to_unit(np.zeros((2, 2, 1), np.int64))


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"low": 1, "high": 1, "mean": (0,), "std": (1,)}, "low=1.0 must be below high=1.0"),
        ({"mean": (0, 0), "std": (1,)}, "2 means and 1 standard deviations"),
        ({"mean": (0,), "std": (0,)}, "greater than 0"),
        ({"mean": (np.nan,), "std": (1,)}, "finite"),
        ({"mean": (), "std": ()}, "at least 1"),
        ({"mean": (0,), "std": (1,), "sdt": 1}, "Extra inputs"),
    ],
)
def test_an_invalid_normalisation_is_an_error(fields, words):
    with pytest.raises(ValidationError, match=words):
        Normalisation(**fields)


def test_a_normalisation_is_unchanged_by_json():
    measured = Normalisation.measure([np.random.default_rng(0).normal(size=(5, 6, 3)).astype(np.float32)])
    assert Normalisation.model_validate_json(measured.model_dump_json()) == measured
