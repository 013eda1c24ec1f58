import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskwright.images.round_up import round_up
from maskwright.inference.tiling.layout import lay_out, single_block


@given(
    height=st.integers(1, 5000),
    width=st.integers(1, 5000),
    multiple=st.sampled_from([8, 16, 32, 48, 384]),
    steps=st.integers(0, 8),
    tiles=st.sampled_from([96, 384, 1024]),
)
def test_every_pixel_is_kept_once_with_a_margin_around_it(height, width, multiple, steps, tiles):
    tile = round_up(tiles, multiple)
    layout = lay_out(height, width, multiple=multiple, margin=steps * multiple, tile=tile)
    for axis, length in enumerate((height, width)):
        padded = -(-length // multiple) * multiple
        spans = layout.spans(axis)
        assert [span.first for span in spans] == [0, *(span.last for span in spans[:-1])]
        assert spans[-1].last == length
        for span in spans:
            assert span.stop - span.start == layout.window[axis]
            assert 0 <= span.start <= span.first < span.last <= span.stop <= padded
            assert span.start % multiple == 0
            assert span.first % layout.result_tile == 0
            assert span.start == 0 or span.first - span.start >= layout.margin
            assert span.stop == padded or span.stop - span.last >= layout.margin


@given(length=st.integers(1, 100_000), margin=st.sampled_from([0, 32, 128, 512]))
def test_a_block_keeps_at_most_a_tile_and_its_window_adds_two_margins(length, margin):
    layout = lay_out(length, 1, multiple=32, margin=margin, tile=1024)
    assert len(layout.spans(0)) <= max(1, -(-length // 1024))
    assert layout.window[0] <= 1024 + 2 * margin


def test_an_axis_of_a_tile_and_two_margins_is_not_cut():
    assert len(lay_out(1152, 1152, multiple=32, margin=64, tile=1024).blocks()) == 1
    assert len(lay_out(1153, 1152, multiple=32, margin=64, tile=1024).blocks()) == 2


def test_blocks_have_equal_sizes():
    layout = lay_out(1500, 1, multiple=32, margin=64, tile=1024)
    assert [span.last - span.first for span in layout.spans(0)] == [768, 732]


@pytest.mark.parametrize(
    ("multiple", "tile", "side"), [(32, 1024, 256), (48, 960, 288), (8, 1024, 256), (384, 1152, 384), (32, 96, 96)]
)
def test_result_tiles_suit_tiff_and_the_network(multiple, tile, side):
    layout = lay_out(3000, 2000, multiple=multiple, margin=multiple, tile=tile)
    assert layout.result_tile == side
    assert layout.result_tiles() == (np.ceil(3000 / side), np.ceil(2000 / side))


@given(height=st.integers(1, 5000), width=st.integers(1, 5000), multiple=st.sampled_from([8, 32, 48]))
def test_a_single_block_holds_and_keeps_the_whole_image(height, width, multiple):
    layout = single_block(height, width, multiple=multiple, tile=960)
    (block,) = layout.blocks()
    assert layout.window == (round_up(height, multiple), round_up(width, multiple))
    assert block.kept == block.kept_in_window == (slice(0, height), slice(0, width))


@pytest.mark.parametrize(("length", "multiple", "expected"), [(1, 32, 32), (32, 32, 32), (33, 32, 64), (7, 1, 7)])
def test_lengths_are_rounded_up_to_a_multiple(length, multiple, expected):
    assert round_up(length, multiple) == expected
