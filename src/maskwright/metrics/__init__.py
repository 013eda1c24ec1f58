"""How good masks are: counts in NumPy for whole data sets, Keras objects for training.

The rule about what is absent, which losses follow too: a class (or an image, where images are scored one by one) that
has no true pixel and for which no known pixel is decided, so found in neither truth nor prediction, is left out of the
mean and, where there is a place for it, named. A pixel is decided for its largest channel or, where there is only one,
for it above 0.5 or the threshold given; a little probability everywhere, as a softmax leaves, makes no class present.
A class with no true pixel that is decided for all the same is not absent: its IoU is 0.
If nothing is left, a score is unknown (NaN, or None in a `Scores`) and a loss is 0.

Importing this package loads no Keras; its Keras objects are loaded when first asked for.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from maskwright.metrics.boundary import boundary_f_score
from maskwright.metrics.salt import salt_score
from maskwright.metrics.scores import ClassScore, Scores, confusion_matrix, iou

if TYPE_CHECKING:
    from maskwright.metrics.keras_batch import (
        FScore,
        IOUScore,
        Precision,
        Recall,
        f1_score,
        f2_score,
        iou_score,
        precision,
        recall,
    )
    from maskwright.metrics.keras_dataset import MeanIoU, PixelAccuracy
    from maskwright.metrics.keras_image import BoundaryFScore, SaltScore

__all__ = [
    "BoundaryFScore",
    "ClassScore",
    "FScore",
    "IOUScore",
    "MeanIoU",
    "PixelAccuracy",
    "Precision",
    "Recall",
    "SaltScore",
    "Scores",
    "boundary_f_score",
    "confusion_matrix",
    "f1_score",
    "f2_score",
    "iou",
    "iou_score",
    "precision",
    "recall",
    "salt_score",
]


def __getattr__(name: str) -> object:
    """A Keras object, from the module that holds it (PEP 562)."""
    if name in __all__:
        for home in ("keras_batch", "keras_dataset", "keras_image"):
            if hasattr(module := import_module(f"{__name__}.{home}"), name):
                return getattr(module, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
