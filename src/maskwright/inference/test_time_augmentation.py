"""Test-time augmentation: average the probabilities of transformed copies of each image."""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Final, NamedTuple, final

import numpy as np
from numpy.typing import NDArray

from maskwright.images.resize import resized
from maskwright.inference.bundle import TtaTransform
from maskwright.inference.engines.engine import Engine, SupportsParallelCalls

_BatchFunction = Callable[[NDArray[np.float32]], NDArray[np.float32]]


class _ExactTransform(NamedTuple):
    apply: _BatchFunction
    invert: _BatchFunction


def _rotation(quarters: int) -> _ExactTransform:
    return _ExactTransform(
        lambda images: np.rot90(images, quarters, axes=(1, 2)), lambda images: np.rot90(images, -quarters, axes=(1, 2))
    )


def _flip(axis: int) -> _ExactTransform:
    return _ExactTransform(lambda images: np.flip(images, axis), lambda images: np.flip(images, axis))


_EXACT_TRANSFORMS: Final[Mapping[TtaTransform, _ExactTransform]] = MappingProxyType(
    {
        "mirrored": _flip(2),
        "upside_down": _flip(1),
        "turned_left": _rotation(1),
        "turned_round": _rotation(2),
        "turned_right": _rotation(3),
    }
)
_SCALES: Final[Mapping[TtaTransform, float]] = MappingProxyType({"smaller": 0.8, "larger": 1.25})


@final
class AugmentedEngine:
    """An engine that averages the probabilities of each image and of its copies transformed by ``transforms``."""

    def __init__(self, engine: Engine, transforms: Sequence[TtaTransform]) -> None:
        self.engine = engine
        self.transforms = transforms
        self.bundle = engine.bundle
        self.calls: int = getattr(engine, "calls", 1)

    def __call__(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the mean probabilities (n, h, w, outputs) of prepared images (n, h, w, inputs)."""
        total = self.engine(images).astype(np.float64)
        for transform in self.transforms:
            total += predict_transformed(self.engine, images, transform)
        return (total / (1 + len(self.transforms))).astype(np.float32)

    def for_parallel_calls(self) -> "AugmentedEngine":
        """Return an engine of the same network for several calls at once, if the runtime supports them."""
        engine = self.engine.for_parallel_calls() if isinstance(self.engine, SupportsParallelCalls) else self.engine
        return AugmentedEngine(engine, self.transforms)


def with_test_time_augmentation(engine: Engine, transforms: Sequence[TtaTransform]) -> Engine:
    """Return an engine that averages probabilities over ``transforms``, or the engine itself if there are none."""
    return AugmentedEngine(engine, transforms) if transforms else engine


def relative_cost(transform: TtaTransform) -> float:
    """Return the cost of predicting a transformed image relative to the image itself: the ratio of their areas."""
    return _SCALES.get(transform, 1.0) ** 2


def predict_transformed(engine: Engine, images: NDArray[np.float32], transform: TtaTransform) -> NDArray[np.float32]:
    """Predict the probabilities of transformed images and undo the transform.

    Args:
        engine: Engine that predicts the probabilities.
        images: Prepared images, (n, h, w, inputs).
        transform: Transform of the images: a flip, a rotation or scaling.

    Returns:
        Probabilities (n, h, w, outputs) for the original images.
    """
    if exact := _EXACT_TRANSFORMS.get(transform):
        return exact.invert(engine(np.ascontiguousarray(exact.apply(images))))
    multiple, size = engine.bundle.multiple, images.shape[1:3]
    rows, columns = (max(1, round(side * _SCALES[transform] / multiple)) * multiple for side in size)
    scaled = np.stack([resized(image, (rows, columns)) for image in images])
    return np.stack([resized(probabilities, size) for probabilities in engine(scaled)])
