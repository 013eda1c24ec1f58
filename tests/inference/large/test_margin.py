from pathlib import Path

import numpy as np
import pytest

from maskwright.images.windows import open_source
from maskwright.inference.large.block_predictor import Predictor
from maskwright.inference.large.encoding import Ids
from maskwright.inference.large.margin import measure_margin
from tests.inference.large.boxes import Box, box, noise


def measured(folder, image, engine):
    file = folder / "a.npy"
    np.save(file, image)
    with open_source(file) as source:
        return measure_margin(Predictor(engine, source, Ids(engine.bundle), Path(file)))


class Mean(Box):
    """The mean of the pixels that are there, so that an image of few rows is not dark by the zeros around it."""

    def __call__(self, images):
        return super().__call__(images) / box(np.ones(images.shape[1:]), self.radius)


@pytest.mark.parametrize(("radius", "margin"), [(0, 32), (31, 32), (45, 64), (70, 96), (120, 128)])
@pytest.mark.parametrize("size", [(1400, 300), (300, 3000)])
def test_the_margin_is_the_reach_up_to_the_next_multiple(tmp_path, radius, margin, size):
    assert measured(tmp_path, noise(*size), Mean(radius=radius)) == margin


def test_both_axes_count(tmp_path):
    class Across(Box):
        """Sees 100 pixels to each side, and none above or below."""

        def __call__(self, images):
            sums = np.pad(images, ((0, 0), (0, 0), (101, 100), (0, 0))).cumsum(2)
            return ((sums[:, :, 201:] - sums[:, :, :-201]) / 201).astype(np.float32)

    assert measured(tmp_path, noise(1300, 1300), Across()) == 128
    assert measured(tmp_path, noise(1300, 300), Across()) == 32  # only rows need several blocks


def test_a_network_that_sees_everything_gets_the_widest_margin(tmp_path):
    class Global(Box):
        def __call__(self, images):
            return (images > np.median(images)).astype(np.float32)

    tilted = np.clip(noise(1300, 300) // 8 + np.linspace(0, 200, 1300)[:, None], 0, 255).astype(np.uint8)
    assert measured(tmp_path, tilted, Global()) == 512


def test_a_network_of_coarser_steps_gets_a_margin_of_its_multiple(tmp_path):
    assert measured(tmp_path, noise(2000, 60), Box(radius=10, multiple=48, tile=960)) == 48


def test_texture_is_looked_for(tmp_path):
    image = np.zeros((20000, 256), np.uint8)
    image[12000:15000] = noise(3000, 256)  # elsewhere no border changes anything
    assert measured(tmp_path, image, Box(radius=70)) == 96


def test_what_fits_one_window_is_not_measured(tmp_path):
    engine = Box()
    assert measured(tmp_path, noise(1000, 1000), engine) == 32
    assert engine.sizes == []
