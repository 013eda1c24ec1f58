"""A network that looks at each image in several ways and averages what it says: test-time augmentation."""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Final, NamedTuple, final

import numpy as np
from numpy.typing import NDArray

from maskwright.images.resize import resized
from maskwright.inference.bundle import TtaTransform
from maskwright.inference.engines.engine import Engine, SupportsParallelCalls

_Change = Callable[[NDArray[np.float32]], NDArray[np.float32]]


class _Both(NamedTuple):
    there: _Change
    back: _Change


def _turned(quarters: int) -> _Both:
    return _Both(
        lambda images: np.rot90(images, quarters, axes=(1, 2)), lambda images: np.rot90(images, -quarters, axes=(1, 2))
    )


def _mirrored(axis: int) -> _Both:
    return _Both(lambda images: np.flip(images, axis), lambda images: np.flip(images, axis))


_EXACT: Final[Mapping[TtaTransform, _Both]] = MappingProxyType(
    {
        "mirrored": _mirrored(2),
        "upside_down": _mirrored(1),
        "turned_left": _turned(1),
        "turned_round": _turned(2),
        "turned_right": _turned(3),
    }
)
_SCALES: Final[Mapping[TtaTransform, float]] = MappingProxyType({"smaller": 0.8, "larger": 1.25})


@final
class AugmentedEngine:
    """An engine that also looks at each image in the ways of ``views``, and gives the mean of all probabilities."""

    def __init__(self, engine: Engine, views: Sequence[TtaTransform]) -> None:
        self.engine = engine
        self.views = views
        self.bundle = engine.bundle
        self.calls: int = getattr(engine, "calls", 1)

    def __call__(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """Probabilities, (n, h, w, outputs), of prepared images, (n, h, w, c)."""
        total = self.engine(images).astype(np.float64)
        for view in self.views:
            total += predict_transformed(self.engine, images, view)
        return (total / (1 + len(self.views))).astype(np.float32)

    def for_parallel_calls(self) -> "AugmentedEngine":
        """The same network for several calls at once, if it can be divided."""
        engine = self.engine.for_parallel_calls() if isinstance(self.engine, SupportsParallelCalls) else self.engine
        return AugmentedEngine(engine, self.views)


def with_test_time_augmentation(engine: Engine, views: Sequence[TtaTransform]) -> Engine:
    """An engine that also looks at images in the ways of ``views``; itself, where there are none."""
    return AugmentedEngine(engine, views) if views else engine


def predict_transformed(engine: Engine, images: NDArray[np.float32], view: TtaTransform) -> NDArray[np.float32]:
    """What an engine says of prepared images, (n, h, w, c), looked at in one way: probabilities (n, h, w, outputs)."""
    if exact := _EXACT.get(view):
        return exact.back(engine(np.ascontiguousarray(exact.there(images))))
    multiple, size = engine.bundle.multiple, images.shape[1:3]
    rows, columns = (max(1, round(side * _SCALES[view] / multiple)) * multiple for side in size)
    scaled = np.stack([resized(image, (rows, columns)) for image in images])
    return np.stack([resized(answer, size) for answer in engine(scaled)])
