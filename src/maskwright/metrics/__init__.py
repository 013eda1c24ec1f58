"""Scores of masks: NumPy functions for whole data sets, and Keras metrics for training.

The following rule for absent classes is shared with `maskwright.losses`. A class (or an image, where images are scored
individually) that has no pixel in the ground truth and is predicted at no valid pixel is excluded from the mean and
reported as absent. The predicted class of a pixel is that of its largest channel; a single channel is predicted where
it is above 0.5 or the given threshold. The small probabilities that a softmax assigns everywhere do not make a class
present. A class that is predicted but not in the ground truth is not absent: its IoU is 0. If no class is left, a score
is undefined (NaN, or None in `Scores`) and a loss is 0.

Importing this package does not import Keras; the Keras metrics are imported on first access.
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
    """Import a Keras metric on first access (PEP 562)."""
    if name in __all__:
        for submodule in ("keras_batch", "keras_dataset", "keras_image"):
            if hasattr(module := import_module(f"{__name__}.{submodule}"), name):
                return getattr(module, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
