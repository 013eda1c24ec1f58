import numpy as np
import pytest

from maskwright.inference.test_time_augmentation import (
    AugmentedEngine,
    predict_transformed,
    with_test_time_augmentation,
)
from tests.inference.fake_engines import Blur, Brightness

EXACT = ("mirrored", "upside_down", "turned_left", "turned_round", "turned_right")


class Ramp(Brightness):
    """What it says depends on the place alone: more to the right and further down."""

    def __call__(self, images):
        height, width = images.shape[1:3]
        self.sizes.append((height, width))
        place = np.arange(height)[:, None] * 2 + np.arange(width)
        return np.broadcast_to(np.float32(place), (len(images), height, width))[..., None]


def pictures(*shape):
    return np.random.default_rng(0).uniform(size=shape).astype(np.float32)


@pytest.mark.parametrize("view", EXACT)
def test_a_network_that_does_not_mind_the_way_says_the_same_in_every_one(view):
    images = pictures(2, 32, 64, 1)
    np.testing.assert_allclose(predict_transformed(Blur(), images, view), Blur()(images), atol=1e-6)


@pytest.mark.parametrize(
    ("view", "change"),
    [
        ("mirrored", lambda answer: answer[:, ::-1]),
        ("upside_down", lambda answer: answer[::-1]),
        ("turned_round", lambda answer: answer[::-1, ::-1]),
    ],
)
def test_what_is_said_of_a_place_is_brought_back_to_it(view, change):
    images = pictures(1, 32, 64, 1)
    plain = Ramp()(images)[0]
    np.testing.assert_array_equal(predict_transformed(Ramp(), images, view)[0], change(plain))


def test_quarter_turns_change_height_and_width_and_back():
    engine, images = Ramp(), pictures(1, 32, 64, 1)
    left, right = (predict_transformed(engine, images, view)[0, ..., 0] for view in ("turned_left", "turned_right"))
    assert engine.sizes == [(64, 32)] * 2
    rows, columns = np.mgrid[:32, :64]
    np.testing.assert_array_equal(left, 2 * (63 - columns) + rows)
    np.testing.assert_array_equal(right, 2 * columns + (31 - rows))


@pytest.mark.parametrize(("view", "size"), [("smaller", (96, 64)), ("larger", (160, 96))])
def test_scales_are_sizes_that_the_network_takes_and_answers_come_back_at_their_own(view, size):
    engine = Brightness()
    smooth = np.float32(np.mgrid[:128, :80][0] / 128)[None, ..., None]
    answer = predict_transformed(engine, smooth, view)
    assert engine.sizes == [size]
    np.testing.assert_allclose(answer, smooth, atol=0.02)


def test_the_mean_of_all_ways_is_given():
    images = pictures(2, 32, 32, 1)
    engine = AugmentedEngine(Ramp(), ("mirrored", "upside_down"))
    expected = (
        Ramp()(images)
        + predict_transformed(Ramp(), images, "mirrored")
        + predict_transformed(Ramp(), images, "upside_down")
    ) / 3
    np.testing.assert_allclose(engine(images), expected, rtol=1e-6)
    assert engine(images).dtype == np.float32


def test_without_views_an_engine_is_itself():
    engine = Brightness()
    assert with_test_time_augmentation(engine, ()) is engine
