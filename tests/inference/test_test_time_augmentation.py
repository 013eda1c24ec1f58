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
    """Its output depends on the position alone and increases to the right and downwards."""

    def __call__(self, images):
        height, width = images.shape[1:3]
        self.sizes.append((height, width))
        values = np.arange(height)[:, None] * 2 + np.arange(width)
        return np.broadcast_to(np.float32(values), (len(images), height, width))[..., None]


def pictures(*shape):
    return np.random.default_rng(0).uniform(size=shape).astype(np.float32)


@pytest.mark.parametrize("transform", EXACT)
def test_a_symmetric_network_gives_the_same_under_every_exact_transform(transform):
    images = pictures(2, 32, 64, 1)
    np.testing.assert_allclose(predict_transformed(Blur(), images, transform), Blur()(images), atol=1e-6)


@pytest.mark.parametrize(
    ("transform", "change"),
    [
        ("mirrored", lambda output: output[:, ::-1]),
        ("upside_down", lambda output: output[::-1]),
        ("turned_round", lambda output: output[::-1, ::-1]),
    ],
)
def test_the_transform_is_undone_on_the_output(transform, change):
    images = pictures(1, 32, 64, 1)
    plain = Ramp()(images)[0]
    np.testing.assert_array_equal(predict_transformed(Ramp(), images, transform)[0], change(plain))


def test_quarter_turns_swap_height_and_width_and_back():
    engine, images = Ramp(), pictures(1, 32, 64, 1)
    left, right = (
        predict_transformed(engine, images, transform)[0, ..., 0] for transform in ("turned_left", "turned_right")
    )
    assert engine.sizes == [(64, 32)] * 2
    rows, columns = np.mgrid[:32, :64]
    np.testing.assert_array_equal(left, 2 * (63 - columns) + rows)
    np.testing.assert_array_equal(right, 2 * columns + (31 - rows))


@pytest.mark.parametrize(("transform", "size"), [("smaller", (96, 64)), ("larger", (160, 96))])
def test_scaled_sizes_are_multiples_and_outputs_have_the_original_size(transform, size):
    engine = Brightness()
    smooth = np.float32(np.mgrid[:128, :80][0] / 128)[None, ..., None]
    output = predict_transformed(engine, smooth, transform)
    assert engine.sizes == [size]
    np.testing.assert_allclose(output, smooth, atol=0.02)


def test_the_output_is_the_mean_over_all_transforms():
    images = pictures(2, 32, 32, 1)
    engine = AugmentedEngine(Ramp(), ("mirrored", "upside_down"))
    plain, mirrored = Ramp()(images), predict_transformed(Ramp(), images, "mirrored")
    expected = (plain + mirrored + predict_transformed(Ramp(), images, "upside_down")) / 3
    np.testing.assert_allclose(engine(images), expected, rtol=1e-6)
    assert engine(images).dtype == np.float32


def test_without_transforms_the_engine_is_returned():
    engine = Brightness()
    assert with_test_time_augmentation(engine, ()) is engine
