"""Predict the blocks of a large image into the pixels of its result."""

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
    """A predicted block."""

    values: Values
    """The kept pixels, (h, w, bands), as the result stores them."""
    failures: tuple[WindowFailure, ...] = ()
    """Parts of its window that could not be read; their pixels hold the encoding's nodata value."""


class BlockPredictor(Protocol):
    """Predicts blocks, in this process or on other machines."""

    @property
    def workers(self) -> int:
        """Number of blocks that are predicted at once."""
        ...

    def peak_memory(self) -> int | None:
        """Peak memory of one process, in bytes; None where it is unknown."""
        ...

    def predict_blocks(self, blocks: Sequence[ImageBlock]) -> Iterator[tuple[ImageBlock, BlockResult]]:
        """Predict all blocks, each once, in any order."""
        ...


@final
@dataclass(frozen=True)
class LocalBlockPredictor:
    """Predicts the blocks of one image in this process; every process makes its own."""

    windows: WindowPredictor
    encoding: Encoding
    workers: ClassVar[int] = 1

    def predict_block(self, block: ImageBlock) -> BlockResult:
        """Predict one block.

        Raises:
            WrongPixels, WrongChannels: The image is not of the kind the network was trained on.
        """
        return self._predict(block, self.windows.read(*block.window))

    def predict_blocks(self, blocks: Sequence[ImageBlock]) -> Iterator[tuple[ImageBlock, BlockResult]]:
        """Predict blocks in order, reading the next one while the engine computes; raises as `predict_block` does."""
        for block, window in self.windows.read_ahead(blocks):
            yield block, self._predict(block, window)

    def peak_memory(self) -> int | None:
        """Peak memory of this process, in bytes."""
        return peak_memory()

    def _predict(self, block: ImageBlock, window: Window) -> BlockResult:
        valid = window.valid[block.kept_in_window]
        if not valid.any():
            values = np.full((*block.shape, self.encoding.bands), self.encoding.nodata, self.encoding.dtype)
            return BlockResult(values, window.failures)
        source = self.windows.source
        is_whole_image = block.shape == (source.height, source.width)
        probabilities = self.windows.probabilities(window)[block.kept_in_window]
        values = self.encoding.encode(probabilities, is_whole_image=is_whole_image)
        if not valid.all():
            values = np.where(valid[..., None], values, self.encoding.dtype.type(self.encoding.nodata))
        return BlockResult(values, window.failures)
