"""An engine looking at one large image: each block follows from the image, the engine and its place alone."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, NamedTuple, Protocol, final

import numpy as np

from maskwright.images.windows import Source
from maskwright.inference.bounded_pool import Crew
from maskwright.inference.engines.engine import Engine
from maskwright.inference.large.block_grid import Block
from maskwright.inference.large.cost import peak_memory
from maskwright.inference.large.encoding import Encoding, Values
from maskwright.inference.large.window import Failure, Window, read_window


class Part(NamedTuple):
    """What became of a block."""

    values: Values
    """The pixels it keeps, (h, w, bands), as the result holds them."""
    failures: tuple[Failure, ...] = ()
    """What of its window could not be read; those pixels hold the encoding's nodata."""


class BlockPredictor(Protocol):
    """What predicts blocks, here or on other machines."""

    @property
    def workers(self) -> int:
        """How many blocks are predicted at once."""
        ...

    def peak_memory(self) -> int | None:
        """Bytes that it has needed at most, in one process; None where that is not known."""
        ...

    def predict_blocks(self, blocks: Sequence[Block]) -> Iterator[tuple[Block, Part]]:
        """All blocks, each once, in any order."""
        ...


@final
@dataclass(frozen=True)
class Predictor:
    """What is needed to predict any part of an image; every process makes its own."""

    engine: Engine
    source: Source
    encoding: Encoding
    file: Path
    """The image's, for messages."""
    workers: ClassVar[int] = 1

    def read(self, rows: slice, columns: slice) -> Window:
        """A window of the image, ready for the engine; see `read_window`."""
        return read_window(self.source, self.engine.bundle, rows=rows, columns=columns, file=self.file)

    def predict_block(self, block: Block) -> Part:
        """A block of the image.

        Raises:
            WrongPixels, WrongChannels: The image is not of the kind the network was trained on.
        """
        return self._predict(block, self._window(block))

    def predict_blocks(self, blocks: Sequence[Block]) -> Iterator[tuple[Block, Part]]:
        """Blocks in the order given, the next one read while the engine computes; for the rest as `predict_block`."""
        with Crew[Window](limit=2) as reader:
            for block, window in zip(blocks, reader.ahead(self._window, blocks, cost=lambda _: 1), strict=True):
                yield block, self._predict(block, window)

    def peak_memory(self) -> int | None:
        """Bytes that this process has needed at most."""
        return peak_memory()

    def _window(self, block: Block) -> Window:
        rows, columns = (slice(span.start, span.stop) for span in block)
        return self.read(rows, columns)

    def _predict(self, block: Block, window: Window) -> Part:
        place = tuple(slice(span.first - span.start, span.last - span.start) for span in block)
        known = window.known[place]
        if not known.any():
            values = np.full((*block.shape, self.encoding.bands), self.encoding.nodata, self.encoding.dtype)
            return Part(values, window.failures)
        values = self.encoding.encode(self.engine(window.images)[0][place])
        if not known.all():
            values = np.where(known[..., None], values, self.encoding.dtype.type(self.encoding.nodata))
        return Part(values, window.failures)
