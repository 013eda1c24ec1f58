"""Events that are reported during training, and the interface of the objects that show them."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from maskwright.data.check import CheckReport
from maskwright.metrics.scores import Scores
from maskwright.training.cost import Cost
from maskwright.training.prepare import Prepared
from maskwright.training.run import Run


@dataclass(frozen=True)
class Plan:
    """Settings of a training run before its first step, and its expected cost on this machine."""

    prepared: Prepared
    report: CheckReport | None
    """Result of the data check; None for a resumed run."""
    cost: Cost
    precision: str
    steps: int | None
    """Number of training steps, which is expected with a time budget and otherwise fixed; None if it is not known."""
    run: Run
    warnings_file: Path | None = None
    """Path of the file that lists all warnings of ``report`` and the files they concern; None if there is no such
    file."""


@dataclass(frozen=True)
class Progress:
    """Progress of training after a step."""

    step: int
    fraction: float
    """Completed fraction of the run, from 0 to 1."""
    seconds_left: float | None
    loss: float


class Reporter(Protocol):
    """Interface of objects that receive the events of a training run.

    `reading` and `plan` are called first, then `step`, `validating` and `epoch` repeatedly, and `verified` last.
    `report` may be called at any time.
    """

    def reading(self, done: int, total: int) -> None:
        """Receive the number of pairs read and the total number of pairs while the data is read."""

    def plan(self, plan: Plan) -> None:
        """Receive the settings before the first step. The warnings about the data are in ``plan.report``."""

    def step(self, progress: Progress) -> None:
        """Receive the progress after each step."""

    def validating(self, done: int, total: int) -> None:
        """Receive the number of scored images and the total number during a validation or the final check."""

    def epoch(self, row: Mapping[str, Any]) -> None:
        """Receive a new row of ``history.csv``."""

    def report(self, line: str) -> None:
        """Receive a message for the user at any time."""

    def verified(self, scores: Scores) -> None:
        """Receive the scores of the saved network on all validation images, after the final check."""


class SilentReporter:
    """Reporter that ignores all events."""

    def reading(self, done: int, total: int) -> None:
        """Do nothing."""

    def plan(self, plan: Plan) -> None:
        """Do nothing."""

    def step(self, progress: Progress) -> None:
        """Do nothing."""

    def validating(self, done: int, total: int) -> None:
        """Do nothing."""

    def epoch(self, row: Mapping[str, Any]) -> None:
        """Do nothing."""

    def report(self, line: str) -> None:
        """Do nothing."""

    def verified(self, scores: Scores) -> None:
        """Do nothing."""
