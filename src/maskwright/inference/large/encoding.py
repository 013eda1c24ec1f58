"""Pixel formats of large results: mask values or class probabilities, with a nodata value."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, Protocol, final

import numpy as np
from numpy.typing import NDArray

from maskwright.images.labels import IGNORED
from maskwright.images.windows.cleaned_tiles import cleaned_tiles
from maskwright.inference.bundle import Bundle
from maskwright.inference.tiling.layout import Layout

Values = NDArray[Any]


class Encoding(Protocol):
    """A conversion of probabilities to the pixels of blocks, and of blocks to those of a result, (h, w, bands)."""

    bands: int
    block_dtype: np.dtype[Any]
    block_nodata: float
    """Value in blocks of invalid pixels, which are nodata in the image or unreadable."""
    dtype: np.dtype[Any]
    nodata: float
    """Value of invalid pixels in the result."""
    cleans: bool
    """Whether `finish` fills holes or removes small components."""

    def encode(self, probabilities: NDArray[np.float32]) -> Values:
        """Convert probabilities (h, w, outputs) to pixels of a block (h, w, bands)."""
        ...

    def classes(self, values: Values) -> Values:
        """Return numbers (h, w) that identify the class of each pixel of a block (h, w, bands)."""
        ...

    def finish(self, tiles: Callable[[], Iterator[Values]], layout: Layout) -> Iterator[Values]:
        """Yield the tiles of the result, (h, w, bands), given a function that starts a pass over the blocks."""
        ...


@final
class Ids:
    """One band of mask values, as in the training masks; nodata is the highest value up to 255 without a class.

    Blocks contain label indices.
    """

    bands = 1
    block_dtype = np.dtype(np.uint8)
    block_nodata: float = IGNORED

    def __init__(self, bundle: Bundle) -> None:
        taken = {label.value for label in bundle.labels}
        self.nodata: float = next(value for value in range(255, -1, -1) if value not in taken)
        values = bundle.values(np.arange(len(bundle.labels), dtype=np.uint8))
        self.dtype = np.result_type(values, np.min_scalar_type(int(self.nodata)))
        self.cleans = bundle.cleans
        self._bundle = bundle
        self._values = np.full(IGNORED + 1, self.nodata, self.dtype)
        self._values[: len(values)] = values

    def encode(self, probabilities: NDArray[np.float32]) -> Values:
        """Return the label indices."""
        return self._bundle.decide(probabilities)[..., None]

    def classes(self, values: Values) -> Values:
        """Return the label indices (h, w)."""
        return values[..., 0]

    def finish(self, tiles: Callable[[], Iterator[Values]], layout: Layout) -> Iterator[Values]:
        """Yield mask values, with holes filled and small components removed as the bundle specifies.

        Invalid pixels count as outside the image.
        """
        cleaned = cleaned_tiles(
            lambda: (indices[..., 0] for indices in tiles()),
            size=layout.size,
            tile=layout.result_tile,
            min_component_sizes=self._bundle.min_component_sizes,
            fill_holes=self._bundle.fill_holes,
        )
        return (self._values[indices][..., None] for indices in cleaned)


@final
class Probabilities:
    """One float32 band of probabilities for each output of the network; nodata is NaN."""

    block_dtype = dtype = np.dtype(np.float32)
    block_nodata = nodata = float("nan")
    cleans = False

    def __init__(self, bundle: Bundle) -> None:
        self.bands = bundle.outputs
        self._bundle = bundle

    def encode(self, probabilities: NDArray[np.float32]) -> Values:
        """Return the probabilities unchanged."""
        return probabilities

    def classes(self, values: Values) -> Values:
        """Return the label indices (h, w)."""
        return self._bundle.decide(values)

    def finish(self, tiles: Callable[[], Iterator[Values]], layout: Layout) -> Iterator[Values]:
        """Yield the probabilities unchanged."""
        return tiles()


ENCODINGS: Final[Mapping[str, Callable[[Bundle], Encoding]]] = {"ids": Ids, "probabilities": Probabilities}
