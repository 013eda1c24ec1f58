"""Events that a training reports while it runs; a `Reporter` decides how they are shown."""

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
    """The settings of a training that is about to start, and its expected cost on this machine."""

    prepared: Prepared
    report: CheckReport | None
    """Result of the data check; None if a run is resumed."""
    cost: Cost
    precision: str
    steps: int | None
    """Number of steps; None with a time budget."""
    run: Run
    warnings_file: Path | None = None
    """File with all warnings of ``report`` and every file they concern; None if there is no such file."""


@dataclass(frozen=True)
class Progress:
    """Progress of a training after a step."""

    step: int
    fraction: float
    """Fraction of the run that is complete, 0 to 1."""
    seconds_left: float | None
    loss: float


class Reporter(Protocol):
    """Receive the events of a training.

    `reading` and `plan` are called first, then `step`, `validating` and `epoch` in turn, and `verified` last. `report`
    is called at any time.
    """

    def reading(self, done: int, total: int) -> None:
        """Receive the numbers of pairs read and of all pairs while the data is read."""

    def plan(self, plan: Plan) -> None:
        """Receive the settings before the first step; ``plan.report`` has the warnings about the data."""

    def step(self, progress: Progress) -> None:
        """Receive the progress after each step."""

    def validating(self, done: int, total: int) -> None:
        """Receive the numbers of images scored and of all images during a validation or the final check."""

    def epoch(self, row: Mapping[str, Any]) -> None:
        """Receive each row of ``history.csv``."""

    def report(self, line: str) -> None:
        """Receive a message for the user, at any time."""

    def verified(self, scores: Scores) -> None:
        """Receive the scores of the saved network on all validation images, after the final check."""


class SilentReporter:
    """Ignore every event."""

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
