"""Define the state of training that is stored in checkpoints."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass
class State:
    """State of training except the weights; all fields are stored in checkpoints."""

    step: int = 0
    first_step_ended: float | None = None
    """Seconds on the stopwatch after the first step, in which the network is traced; None before the first step."""
    seconds: float = 0.0
    """Seconds on the stopwatch at the time of the checkpoint."""
    reserved_seconds: float = 0.0
    """Seconds reserved for validation and the final check after the last step, as last estimated."""
    validation_images: int = 0
    """Number of images in intermediate validations, which is set by the first validation; 0 before the first
    validation."""
    best: float | None = None
    """Best validation score."""
    best_step: int = 0
    best_sample: list[float] = field(default_factory=list)
    """Some probabilities predicted by the best network, which the final check compares with those of the saved
    network."""
    history: list[dict[str, Any]] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    """Losses of the steps since the last row of the history."""
    snapshots: int = 0
    """Number of snapshots that have been saved at the ends of learning-rate cycles."""
    missed_validations: dict[str, int] = field(default_factory=dict)
    """Number of consecutive validations in which no pixel of a class was predicted correctly, by class."""
    oversampled: list[tuple[int, list[str]]] = field(default_factory=list)
    """Names of the missed classes that are oversampled, by the step from which they are oversampled."""
    lr_factor: float = 1.0
    """Factor by which the learning rate of the recipe is multiplied, halved after each return to a checkpoint."""
    retries: int = 0
    """Number of consecutive returns to the checkpoint at `retried_step`."""
    retried_step: int = -1
    nan_recoveries: list[str] = field(default_factory=list)
    """Sentences that describe each return to a checkpoint after a NaN or infinite value."""


def validations_without_gain(history: Sequence[Mapping[str, Any]], *, monitor: str = "mean_iou") -> int:
    """Return the number of validations since the validation with the best score.

    Args:
        history: Rows of the history, oldest first.
        monitor: Name of the monitored score.

    >>> validations_without_gain([{"val_mean_iou": score} for score in (0.2, 0.5, None, 0.5, 0.4)])
    2
    """
    scores = [row[f"val_{monitor}"] for row in history if row.get(f"val_{monitor}") is not None]
    return len(scores) - 1 - scores.index(max(scores)) if scores else 0
