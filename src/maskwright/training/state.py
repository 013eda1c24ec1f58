"""State of a training, as stored in its checkpoints."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass
class State:
    """State of a training except its weights; a checkpoint stores all fields."""

    step: int = 0
    first_step_ended: float | None = None
    """Seconds on the stopwatch after the first step, which traces the network; None before it."""
    seconds: float = 0.0
    """Seconds on the stopwatch at the checkpoint."""
    reserved_seconds: float = 0.0
    """Time last reserved for what follows the last step."""
    validation_images: int = 0
    """Images that intermediate validations use; 0 before the first validation, which decides it."""
    best: float | None = None
    """Best validation score."""
    best_step: int = 0
    best_sample: list[float] = field(default_factory=list)
    """Some probabilities of the best network, which the final check compares with those of the saved network."""
    history: list[dict[str, Any]] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    """Losses of the steps since the last row of the history."""
    snapshots: int = 0
    """Number of snapshots saved, one at the end of each learning-rate cycle."""
    missed_validations: dict[str, int] = field(default_factory=dict)
    """Number of consecutive validations in which no pixel of a class was predicted correctly, by class."""
    oversampled: list[tuple[int, list[str]]] = field(default_factory=list)
    """Steps from which patches are placed on missed classes, each with the names of these classes."""
    lr_factor: float = 1.0
    """Multiplier on the recipe's learning rate; each return to a checkpoint halves it."""
    retries: int = 0
    """Number of consecutive returns to the checkpoint at `retried_step`."""
    retried_step: int = -1
    nan_recoveries: list[str] = field(default_factory=list)
    """A sentence for each return to a checkpoint after a NaN."""


def validations_without_gain(history: Sequence[Mapping[str, Any]], *, monitor: str = "mean_iou") -> int:
    """Return the number of validations after the one with the best score.

    >>> validations_without_gain([{"val_mean_iou": score} for score in (0.2, 0.5, None, 0.5, 0.4)])
    2
    """
    scores = [row[f"val_{monitor}"] for row in history if row.get(f"val_{monitor}") is not None]
    return len(scores) - 1 - scores.index(max(scores)) if scores else 0
