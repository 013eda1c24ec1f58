"""A data set that the tests of several commands change and check."""

import numpy as np
import pytest

from tests.cli.pairs import paint


@pytest.fixture
def pairs(tmp_path):
    """The folder of four pairs of 40 x 50 pixels: noise that is brighter where the mask is 255."""
    for number in range(4):
        generator = np.random.default_rng(number)
        mask = (np.add.outer(np.arange(40), np.arange(50) + 7 * number) % 20 < 10) * 255
        paint(tmp_path / f"data/images/{number}.png", mask // 2 + generator.integers(0, 60, mask.shape))
        paint(tmp_path / f"data/masks/{number}.png", mask)
    return tmp_path / "data"
