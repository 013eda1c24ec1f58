import pytest

from maskwright.inference.large.block_predictor import LocalBlockPredictor
from maskwright.inference.large.block_store import BlockStore
from maskwright.inference.large.encoding import Ids
from maskwright.inference.large.seam import measure_seam
from maskwright.inference.tiling.array_source import ArraySource
from maskwright.inference.tiling.layout import lay_out
from maskwright.inference.tiling.window_predictor import WindowPredictor
from tests.inference.box_engine import Box, noise


def seam(folder, size, *, tile, margin, radius):
    """Predict all blocks of an image of noise, and measure their seam."""
    engine = Box(radius=radius, tile=tile)
    layout = lay_out(*size, multiple=32, margin=margin, tile=tile)
    encoding = Ids(engine.bundle)
    predictor = LocalBlockPredictor(WindowPredictor(engine, ArraySource(noise(*size)[..., None]), "a.npy"), encoding)
    store = BlockStore(folder, layout, encoding)
    for block, result in predictor.predict_blocks(layout.blocks()):
        store.store(block, result)
    return measure_seam(predictor, store, layout=layout)


@pytest.mark.parametrize(("margin", "sites"), [(0, 3), (32, 2)])
def test_a_tile_of_one_multiple_is_compared_within_that_multiple(tmp_path, margin, sites):
    assert seam(tmp_path, (224, 224), tile=32, margin=margin, radius=0) == (0, sites * 64 * 64)


def test_a_tile_of_one_multiple_shows_a_margin_that_is_too_narrow(tmp_path):
    assert seam(tmp_path, (200, 200), tile=32, margin=0, radius=5).changed_fraction > 0.001


@pytest.mark.parametrize("height", range(60, 70))
def test_a_side_that_is_not_cut_is_compared_whole(tmp_path, height):
    assert seam(tmp_path, (height, 640), tile=256, margin=32, radius=0) == (0, 2 * height * 256)
