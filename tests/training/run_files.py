"""Records of a run's files for tests."""

import numpy as np

from maskwright.metrics.scores import Scores
from maskwright.training.run_records import ClassPixels, ImageScore, RunFacts, RunScores


def run_scores(*confusions, names=("background", "cell")):
    """Return scores of one image, named a, b, c, ..., for each confusion matrix; the background is first."""
    images = [
        ImageScore(
            name=chr(ord("a") + number),
            mean_iou=0.5,
            pixel_accuracy=None,
            pixels=ClassPixels.from_confusion(np.array(confusion)),
            seconds=0.25,
        )
        for number, confusion in enumerate(confusions)
    ]
    total = Scores.from_confusion(np.sum(confusions, axis=0), names, background=True)
    return RunScores(mean_precision=None, scores=total, images=tuple(images), failures=("gone",), left_out=("x.png",))


def run_facts(**changed):
    known = {
        "command": "maskwright train",
        "stopped_by": "schedule",
        "seconds": 61.5,
        "steps": 40,
        "best_step": 20,
        "validation_mean_iou": 0.5,
        "validation_pixel_accuracy": None,
        "parameters": 9,
        "precision": "float32",
        "backend": "jax",
        "versions": {"keras": "3.15.1"},
        "machine": "a machine",
    }
    return RunFacts(**(known | changed))
