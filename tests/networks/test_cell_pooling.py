"""Pooling to a grid and resizing, against torch."""

import keras
import numpy as np
import pytest

from maskwright.errors import UnknownChoice
from maskwright.networks.cell_pooling import CellPooling, ResizeLike


@pytest.mark.parametrize("pooling", ["avg", "max"])
@pytest.mark.parametrize(("cells", "size"), [(1, (5, 7)), (3, (6, 9)), (6, (11, 13)), (6, (6, 6)), (6, (4, 1))])
def test_cells_equal_those_of_torch_adaptive_pooling(pooling, cells, size):
    torch = pytest.importorskip("torch", reason="torch is the reference here, and it is not installed")
    x = np.random.default_rng(1).normal(size=(2, *size, 3)).astype("float32")
    pool = getattr(torch.nn.functional, f"adaptive_{pooling}_pool2d")
    theirs = pool(torch.from_numpy(x).permute(0, 3, 1, 2), cells).permute(0, 2, 3, 1).numpy()
    ours = keras.ops.convert_to_numpy(CellPooling(cells, pooling)(x))
    np.testing.assert_allclose(ours, theirs, atol=1e-6)


def test_output_shapes_are_static_where_possible():
    x = keras.Input((None, None, 4))
    cells = CellPooling(3)(x)
    assert cells.shape == (None, 3, 3, 4)
    assert ResizeLike()([cells, keras.Input((20, None, 7))]).shape == (None, 20, None, 4)


def test_resize_like_has_the_size_of_the_second_input():
    x = np.float32([0, 4]).reshape(1, 1, 2, 1)
    like = np.zeros((1, 1, 4, 5), "float32")
    enlarged = keras.ops.convert_to_numpy(ResizeLike()([x, like]))
    np.testing.assert_allclose(enlarged.ravel(), [0, 1, 3, 4], atol=1e-6)


def test_unknown_pooling_type_is_an_error():
    with pytest.raises(UnknownChoice, match=r"^pooling_type='mean' .*one of avg, max"):
        CellPooling(2, "mean")
