"""Compute predictions for the blocks of a large image and encode them as pixels of the result."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple, Protocol, final

import numpy as np

from maskwright.inference.large.cost import peak_memory
from maskwright.inference.large.encoding import Encoding, Values
from maskwright.inference.tiling.layout import ImageBlock
from maskwright.inference.tiling.window import Window, WindowFailure
from maskwright.inference.tiling.window_predictor import WindowPredictor


class BlockResult(NamedTuple):
    """The prediction for one block."""

    values: Values
    """Pixels kept from the prediction, (h, w, bands), encoded as in blocks."""
    failures: tuple[WindowFailure, ...] = ()
    """Parts of the window that could not be read; their pixels have the nodata value of blocks."""


class BlockPredictor(Protocol):
    """An object that computes predictions for blocks, in this process or on other machines."""

    @property
    def workers(self) -> int:
        """Number of blocks that are processed at once."""
        ...

    def peak_memory(self) -> int | None:
        """Return the peak memory of one process in bytes; None if it is unknown."""
        ...

    def predict_blocks(self, blocks: Sequence[ImageBlock]) -> Iterator[tuple[ImageBlock, BlockResult]]:
        """Yield each block once with its result, in any order."""
        ...


@final
@dataclass(frozen=True)
class LocalBlockPredictor:
    """A predictor for the blocks of one image in this process; every process creates its own predictor."""

    windows: WindowPredictor
    encoding: Encoding
    workers: ClassVar[int] = 1

    def predict_block(self, block: ImageBlock) -> BlockResult:
        """Return the prediction for one block.

        Raises:
            WrongPixels, WrongChannels: The image has a data type or channels that the network does not accept.
        """
        return self._predict(block, self.windows.read(*block.window))

    def predict_blocks(self, blocks: Sequence[ImageBlock]) -> Iterator[tuple[ImageBlock, BlockResult]]:
        """Yield each block with its result, in order, and read the next one ahead; for errors, see `predict_block`."""
        for block, window in self.windows.read_ahead(blocks):
            yield block, self._predict(block, window)

    def peak_memory(self) -> int | None:
        """Return the peak memory of this process in bytes."""
        return peak_memory()

    def _predict(self, block: ImageBlock, window: Window) -> BlockResult:
        valid = window.valid[block.kept_in_window]
        if not valid.any():
            values = np.full((*block.shape, self.encoding.bands), self.encoding.block_nodata, self.encoding.block_dtype)
            return BlockResult(values, window.failures)
        values = self.encoding.encode(self.windows.probabilities(window)[block.kept_in_window])
        if not valid.all():
            values = np.where(valid[..., None], values, self.encoding.block_dtype.type(self.encoding.block_nodata))
        return BlockResult(values, window.failures)
