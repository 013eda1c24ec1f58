"""Where a training stands, as its checkpoints hold it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass
class State:
    """Where a training stands, beside its weights; all of it is in the checkpoint."""

    step: int = 0
    began: float | None = None
    """Seconds on the stopwatch when the first step, which traces the network, was done."""
    seconds: float = 0.0
    reserve: float = 0.0
    """Seconds that were last kept for what follows the last step."""
    looked_at: int = 0
    """Validation images that are looked at on the way; 0 until it is settled."""
    best: float | None = None
    best_step: int = 0
    best_answer: list[float] = field(default_factory=list)
    """Some of the best network's probabilities, by which it is known again when it is opened."""
    history: list[dict[str, Any]] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    """Of the steps since the last line of the history."""
    snapshots: int = 0
    """Cycles of the learning rate at whose end the network was kept."""
    unfound: dict[str, int] = field(default_factory=dict)
    """In how many validations in a row no pixel of a class was found."""
    sought: list[tuple[int, list[str]]] = field(default_factory=list)
    """From which step on patches are laid on which classes, since none of their pixels was found."""
    rate: float = 1.0
    """What is taken of the recipe's learning rate; each going back halves it."""
    setbacks: int = 0
    """How often in a row the training went back to `went_back_to`."""
    went_back_to: int = -1
    went_back: list[str] = field(default_factory=list)
    """A sentence for each time the training went back to a checkpoint."""


def without_gain(history: Sequence[Mapping[str, Any]], *, of: str = "mean_iou") -> int:
    """How many validations have passed since the one with the greatest score.

    >>> without_gain([{"val_mean_iou": reached} for reached in (0.2, 0.5, None, 0.5, 0.4)])
    2
    """
    reached = [row[f"val_{of}"] for row in history if row.get(f"val_{of}") is not None]
    return len(reached) - 1 - reached.index(max(reached)) if reached else 0
