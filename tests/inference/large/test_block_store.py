import zipfile

import numpy as np
import pytest

from maskwright.inference.large.block_predictor import BlockResult
from maskwright.inference.large.block_store import BlockStore
from maskwright.inference.large.encoding import Ids, Probabilities
from maskwright.inference.tiling.layout import lay_out
from maskwright.inference.tiling.window import WindowFailure
from tests.inference.fake_engines import CELL, bundle


@pytest.fixture
def layout():
    return lay_out(2311, 1300, multiple=32, margin=64, tile=1024)


@pytest.mark.parametrize("kind", [Ids, Probabilities])
def test_blocks_are_read_as_tiles_in_order_and_as_any_rectangle(tmp_path, layout, kind):
    labels = [CELL.model_copy(update={"value": value}) for value in (0, 1, 2)]
    encoding = kind(bundle(labels=labels, activation="softmax"))
    whole = np.random.default_rng(0).integers(0, 200, (2311, 1300, encoding.bands)).astype(encoding.dtype)
    store = BlockStore(tmp_path, layout, encoding)
    for block in layout.blocks():
        store.store(block, BlockResult(whole[block.kept]))
    tiles = iter(store.tiles())
    for top in range(0, 2311, 256):
        for left in range(0, 1300, 256):
            np.testing.assert_array_equal(next(tiles), whole[top : top + 256, left : left + 256])
    assert next(tiles, None) is None
    for rows, columns in [((0, 1), (0, 1)), ((700, 1600), (255, 257)), ((2300, 2311), (0, 1300))]:
        np.testing.assert_array_equal(store.read(slice(*rows), slice(*columns)), whole[slice(*rows), slice(*columns)])


def test_unreadable_parts_are_stored_with_the_block(tmp_path, layout):
    block, failure = layout.blocks()[0], WindowFailure((0, 16), (16, 32), "a broken tile")
    encoding = Ids(bundle())
    store = BlockStore(tmp_path, layout, encoding)
    assert store.failures_of(block) is None
    assert store.store(block, BlockResult(np.zeros((*block.shape, 1), np.uint8), (failure,))) == (failure,)
    assert BlockStore(tmp_path, layout, encoding).failures_of(block) == (failure,)


@pytest.mark.parametrize("fault", ["empty", "cut", "zeros", "one bit"])
def test_a_damaged_block_counts_as_missing(tmp_path, layout, fault):
    block, encoding = layout.blocks()[0], Ids(bundle())
    store = BlockStore(tmp_path, layout, encoding)
    noise = np.random.default_rng(0).integers(0, 256, (*block.shape, 1), dtype=np.uint8)
    store.store(block, BlockResult(noise))
    (file,) = tmp_path.iterdir()
    content = bytearray(file.read_bytes())
    middle = len(content) // 2
    content[middle] ^= 4
    damaged = {"empty": b"", "cut": content[:middle], "zeros": bytes(len(content)), "one bit": content}
    file.write_bytes(damaged[fault])
    assert store.failures_of(block) is None


def test_a_block_with_any_damaged_byte_is_intact_or_missing(tmp_path):
    layout, encoding = lay_out(20, 10, multiple=32, margin=64, tile=1024), Ids(bundle())
    (block,) = layout.blocks()
    store, values = BlockStore(tmp_path, layout, encoding), np.arange(200, dtype=np.uint8).reshape(20, 10, 1)
    store.store(block, BlockResult(values))
    (file,) = tmp_path.iterdir()
    content = file.read_bytes()
    for index in range(len(content)):
        for flipped in (1, 8, 0xFF):
            file.write_bytes(content[:index] + bytes([content[index] ^ flipped]) + content[index + 1 :])
            if store.failures_of(block) is not None:  # the byte belongs to a time or a comment
                np.testing.assert_array_equal(store.read(slice(0, 20), slice(0, 10)), values)


@pytest.mark.parametrize("tile", [None, b"too short"])
def test_a_block_without_its_tiles_counts_as_missing(tmp_path, layout, tile):
    block, store = layout.blocks()[0], BlockStore(tmp_path, layout, Ids(bundle()))
    with zipfile.ZipFile(tmp_path / f"{block.name}.zip", "w") as archive:
        archive.writestr("failures.json", "[]")
        if tile:
            for row in range(0, block.shape[0], 256):
                for column in range(0, block.shape[1], 256):
                    archive.writestr(f"{row}-{column}", tile)
    assert store.failures_of(block) is None
