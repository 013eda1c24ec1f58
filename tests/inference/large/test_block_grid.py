import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskwright.inference.large.block_grid import lay_out


@given(
    height=st.integers(1, 5000),
    width=st.integers(1, 5000),
    multiple=st.sampled_from([8, 16, 32, 48, 384]),
    m=st.integers(0, 8),
)
def test_every_pixel_is_kept_once_by_a_window_that_sees_a_margin_around_it(height, width, multiple, m):
    layout = lay_out(height, width, multiple=multiple, margin=m * multiple)
    for axis, length in enumerate((height, width)):
        padded = -(-length // multiple) * multiple
        spans = layout.spans(axis)
        assert [span.first for span in spans] == [0, *(span.last for span in spans[:-1])]
        assert spans[-1].last == length
        for span in spans:
            assert span.stop - span.start == layout.window[axis]
            assert 0 <= span.start <= span.first < span.last <= span.stop <= padded
            assert span.start % multiple == 0
            assert span.first % layout.tile == 0
            assert span.start == 0 or span.first - span.start >= layout.margin
            assert span.stop == padded or span.stop - span.last >= layout.margin


@given(length=st.integers(1, 100_000), margin=st.sampled_from([0, 32, 128, 512]))
def test_a_block_keeps_about_a_thousand_pixels(length, margin):
    layout = lay_out(length, 1, multiple=32, margin=margin)
    assert len(layout.spans(0)) <= max(1, -(-length // 1024))
    assert layout.window[0] <= 1024 + 2 * margin


def test_what_fits_one_window_is_one_block():
    assert len(lay_out(1152, 1152, multiple=32, margin=64).blocks()) == 1
    assert len(lay_out(1153, 1152, multiple=32, margin=64).blocks()) == 2


def test_blocks_are_of_equal_size_and_not_a_large_one_and_a_rest():
    assert [span.last - span.first for span in lay_out(1500, 1, multiple=32, margin=64).spans(0)] == [768, 732]


@pytest.mark.parametrize(("multiple", "tile"), [(32, 256), (48, 288), (8, 256), (384, 384)])
def test_tiles_have_sides_that_a_tiff_and_the_network_can_have(multiple, tile):
    layout = lay_out(3000, 2000, multiple=multiple, margin=multiple)
    assert layout.tile == tile
    assert layout.tiles() == (np.ceil(3000 / tile), np.ceil(2000 / tile))
