"""What a training tells while it works; how that looks is the teller's own affair."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from maskwright.data.check import Report
from maskwright.metrics.scores import Scores
from maskwright.training.cost import Cost
from maskwright.training.prepare import Prepared
from maskwright.training.run import Run
from maskwright.training.trainer import Progress


@dataclass(frozen=True)
class Plan:
    """What is about to happen, and what it will take on this machine."""

    prepared: Prepared
    report: Report | None
    cost: Cost
    precision: str
    steps: int | None
    """Steps of the run; None where the clock decides."""
    run: Run


class Narrator(Protocol):
    """What a training talks to."""

    def reading(self, done: int, total: int) -> None:
        """Files of a set were read."""

    def plan(self, plan: Plan) -> None:
        """Everything is chosen; training is about to start."""

    def step(self, progress: Progress) -> None:
        """A step was taken."""

    def epoch(self, row: Mapping[str, Any]) -> None:
        """An epoch ended; ``row`` is its line in ``history.csv``."""

    def say(self, line: str) -> None:
        """Something happened that the user should know of."""

    def verified(self, scores: Scores) -> None:
        """The saved run, opened afresh, answers as the trained network, and scores so on all validation images."""


class Silent:
    """A narrator that says nothing."""

    def reading(self, done: int, total: int) -> None:
        """Nothing."""

    def plan(self, plan: Plan) -> None:
        """Nothing."""

    def step(self, progress: Progress) -> None:
        """Nothing."""

    def epoch(self, row: Mapping[str, Any]) -> None:
        """Nothing."""

    def say(self, line: str) -> None:
        """Nothing."""

    def verified(self, scores: Scores) -> None:
        """Nothing."""
