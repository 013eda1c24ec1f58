"""Pixel formats of large results: mask values or class probabilities, with a nodata value."""

from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol, final

import numpy as np
from numpy.typing import NDArray

from maskwright.inference.bundle import Bundle

Values = NDArray[Any]


class Encoding(Protocol):
    """A conversion of probabilities to the pixels of a result, (h, w, bands)."""

    bands: int
    dtype: np.dtype[Any]
    nodata: float
    """Value of invalid pixels, which are nodata in the image or unreadable."""

    def encode(self, probabilities: NDArray[np.float32], *, is_whole_image: bool = False) -> Values:
        """Convert probabilities (h, w, outputs) to pixels of the result (h, w, bands)."""
        ...

    def classes(self, values: Values) -> Values:
        """Return numbers (h, w) that identify the class of each pixel of the result (h, w, bands)."""
        ...


@final
class Ids:
    """One band of mask values, as in the training masks; nodata is the highest value up to 255 without a class."""

    bands = 1

    def __init__(self, bundle: Bundle) -> None:
        taken = {label.value for label in bundle.labels}
        self.nodata: float = next(value for value in range(255, -1, -1) if value not in taken)
        values = bundle.values(np.zeros(0, np.uint8)).dtype
        self.dtype = np.result_type(values, np.min_scalar_type(int(self.nodata)))
        self._bundle = bundle

    def encode(self, probabilities: NDArray[np.float32], *, is_whole_image: bool = False) -> Values:
        """Return mask values; in a whole image, holes are filled and small components removed as configured."""
        indices = self._bundle.decide(probabilities)
        if is_whole_image:
            indices = self._bundle.finish(indices)
        return self._bundle.values(indices).astype(self.dtype)[..., None]

    def classes(self, values: Values) -> Values:
        """Return the mask values (h, w)."""
        return values[..., 0]


@final
class Probabilities:
    """One float32 band of probabilities for each output of the network; nodata is NaN."""

    dtype = np.dtype(np.float32)
    nodata = float("nan")

    def __init__(self, bundle: Bundle) -> None:
        self.bands = bundle.outputs
        self._bundle = bundle

    def encode(self, probabilities: NDArray[np.float32], *, is_whole_image: bool = False) -> Values:
        """Return the probabilities unchanged."""
        return probabilities

    def classes(self, values: Values) -> Values:
        """Return the label indices (h, w)."""
        return self._bundle.decide(values)


ENCODINGS: Final[Mapping[str, Callable[[Bundle], Encoding]]] = {"ids": Ids, "probabilities": Probabilities}
