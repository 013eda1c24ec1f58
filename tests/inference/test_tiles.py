import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskwright.inference.tiles import grid, spans


@given(length=st.integers(1, 500), margin=st.integers(0, 20), tile=st.integers(41, 90))
def test_every_pixel_is_kept_once_and_never_from_a_margin(length, margin, tile):
    found = spans(length, tile=tile, margin=margin)
    assert [pixel for span in found for pixel in range(span.first, span.last)] == list(range(length))
    for span in found:
        assert 0 <= span.start <= span.first < span.last <= span.stop <= length
        assert span.stop - span.start == min(tile, length)
        assert span.start == 0 or span.first - span.start >= margin
        assert span.stop == length or span.stop - span.last >= margin


@pytest.mark.parametrize(("length", "tiles"), [(64, 1), (65, 2), (108, 2), (109, 3)])
def test_there_are_no_more_tiles_than_needed(length, tiles):
    assert len(spans(length, tile=64, margin=10)) == tiles  # each tile after the first adds 44 pixels


def test_a_grid_is_all_pairs_of_spans_row_by_row():
    places = [(rows.first, columns.first) for rows, columns in grid(100, 64, tile=64, margin=0)]
    assert places == [(0, 0), (36, 0)]  # the last tile is moved back to end with the image
