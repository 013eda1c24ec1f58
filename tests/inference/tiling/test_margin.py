from pathlib import Path

import numpy as np
import pytest

from maskwright.errors import WrongArgument
from maskwright.inference.tiling.array_source import ArraySource
from maskwright.inference.tiling.margin import check_margin, choose_layout, measure_margin
from maskwright.inference.tiling.window_predictor import WindowPredictor
from tests.inference.box_engine import Box, box, noise


def predictor(image, engine):
    return WindowPredictor(engine, ArraySource(image[..., None]), Path("a.npy"))


def measured(image, engine):
    return measure_margin(predictor(image, engine))


class LocalMean(Box):
    """The mean of the pixels inside the window, so an image of few rows is not darkened by the zeros around it."""

    def __call__(self, images):
        return super().__call__(images) / box(np.ones(images.shape[1:]), self.radius)


@pytest.mark.parametrize(("radius", "margin"), [(0, 32), (31, 32), (45, 64), (70, 96), (120, 128)])
@pytest.mark.parametrize("size", [(1400, 300), (300, 3000)])
def test_the_margin_is_the_receptive_radius_rounded_up_to_the_multiple(radius, margin, size):
    assert measured(noise(*size), LocalMean(radius=radius)) == margin


def test_the_margin_is_that_of_the_axis_with_the_larger_receptive_field():
    class Wide(Box):
        """The mean over 201 columns of one row."""

        def __call__(self, images):
            sums = np.pad(images, ((0, 0), (0, 0), (101, 100), (0, 0))).cumsum(2)
            return ((sums[:, :, 201:] - sums[:, :, :-201]) / 201).astype(np.float32)

    assert measured(noise(1300, 1300), Wide()) == 128
    assert measured(noise(1300, 300), Wide()) == 32  # only rows need several blocks


@pytest.mark.parametrize(("tile", "widest"), [(1024, 512), (512, 256)])
def test_a_network_with_an_unlimited_receptive_field_gets_half_a_tile(tile, widest):
    class Global(Box):
        def __call__(self, images):
            return (images > np.median(images)).astype(np.float32)

    tilted = np.clip(noise(1300, 300) // 8 + np.linspace(0, 200, 1300)[:, None], 0, 255).astype(np.uint8)
    assert measured(tilted, Global(tile=tile)) == widest


def test_the_margin_is_a_multiple_of_a_coarser_network():
    assert measured(noise(2000, 60), Box(radius=10, multiple=48, tile=960)) == 48


def test_the_margin_is_measured_where_the_image_is_textured():
    image = np.zeros((20000, 256), np.uint8)
    image[12000:15000] = noise(3000, 256)  # elsewhere no border changes anything
    assert measured(image, Box(radius=70)) == 96


@pytest.mark.parametrize(
    ("size", "margin", "blocks", "calls"),
    [
        ((128, 128), None, 1, 0),
        ((40, 400), None, 1, 0),  # no more pixels than a tile
        ((40, 400), 0, 1, 0),
        ((256, 256), None, 1, 0),  # fits the window of the widest margin
        ((256, 256), 0, 4, 0),
        ((256, 256), 20, 4, 0),
        ((257, 256), None, 4, 8),
    ],
)
def test_an_image_that_fits_a_call_or_the_widest_window_is_one_block(size, margin, blocks, calls):
    engine = Box(tile=128, radius=5)
    layout = choose_layout(predictor(noise(*size), engine), margin)
    assert (len(layout.blocks()), len(engine.sizes)) == (blocks, calls)
    assert layout.margin == (0 if blocks == 1 else 0 if margin == 0 else 32)


@pytest.mark.parametrize("margin", [-1, 1025])
def test_a_margin_out_of_range_is_an_error(margin):
    with pytest.raises(WrongArgument, match=rf"margin={margin}: expected 0 to 1024"):
        check_margin(margin)


@pytest.mark.parametrize("margin", [None, 0, 1024])
def test_a_margin_within_range_passes(margin):
    check_margin(margin)
