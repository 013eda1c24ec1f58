"""Predict probabilities in windows of one image; each result depends only on the image, the engine and the window."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

import numpy as np
from numpy.typing import NDArray

from maskwright.inference.bounded_pool import BoundedPool
from maskwright.inference.engines.engine import Engine
from maskwright.inference.tiling.layout import ImageBlock
from maskwright.inference.tiling.window import Window, WindowSource, read_window


@final
@dataclass(frozen=True)
class WindowPredictor:
    """An engine and an image that is read window by window; every process creates its own predictor."""

    engine: Engine
    source: WindowSource
    file: str | Path
    """Path of the image, for error messages."""

    def read(self, rows: slice, columns: slice) -> Window:
        """Read a window and prepare it for the engine.

        Raises:
            WrongPixels, WrongChannels: The image has a data type or channels that the network does not accept.
        """
        return read_window(self.source, self.engine.bundle, rows=rows, columns=columns, file=self.file)

    def read_ahead(self, blocks: Sequence[ImageBlock]) -> Iterator[tuple[ImageBlock, Window]]:
        """Yield each block with its window, in order, reading the next window while the caller computes."""
        with BoundedPool[Window](limit=2) as reader:
            windows = reader.ahead(lambda block: self.read(*block.window), blocks, cost=lambda _: 1)
            yield from zip(blocks, windows, strict=True)

    def probabilities(self, window: Window) -> NDArray[np.float32]:
        """Return the probabilities (h, w, outputs) of a window."""
        return self.engine(window.images)[0]
