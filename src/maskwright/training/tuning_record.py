"""Typed record for the file ``tuning.json`` of a run or an ensemble. This module does not import Keras."""

from collections.abc import Mapping
from typing import Annotated

from pydantic import BaseModel, Field, FiniteFloat, NonNegativeInt

from maskwright.inference.bundle import TtaTransform
from maskwright.metrics.monitor import Monitor

Score = Annotated[float, Field(ge=0, le=1)]


class TriedOption(BaseModel, frozen=True, extra="forbid"):
    """An option that was tried, its scores on both halves of the held-out images, and whether it was turned on.

    A gain is the increase of the score over the options that were on before. Scores and gains are None if they cannot
    be measured.
    """

    name: str
    score: Score | None = None
    """Score on the selection half, on which the values of the option were chosen."""
    gain: FiniteFloat | None = None
    check_score: Score | None = None
    """Score on the check half, on which the values were only checked."""
    check_gain: FiniteFloat | None = None
    on: bool
    is_monitored: bool = True
    """Whether the scores are monitored scores of all classes; false for the IoU of one class alone."""


class SearchRecord(BaseModel, frozen=True, extra="forbid"):
    """Scores on the selection half for each threshold (row) and minimum component size in pixels (column)."""

    thresholds: tuple[Score, ...]
    min_component_sizes: tuple[NonNegativeInt, ...]
    scores: tuple[tuple[Score, ...], ...]


class TuningRecord(BaseModel, frozen=True, extra="forbid"):
    """Content of ``tuning.json``: the values that were chosen, and all options that were tried."""

    held_out_images: NonNegativeInt
    selection_images: NonNegativeInt
    check_images: NonNegativeInt
    networks: NonNegativeInt
    monitor: Monitor
    score: Score | None
    """Score on the selection half with all options that are on; None if nothing was tuned."""
    check_score: Score | None
    """Score on the check half with all options that are on; None if nothing was tuned."""
    options: tuple[TriedOption, ...]
    """All options, in the order in which they were tried."""
    notes: tuple[str, ...]
    """Sentences about what was not tried, and why."""
    tta: tuple[TtaTransform, ...]
    fill_holes: bool
    threshold: Score | None
    """Threshold of a sigmoid output; None for a network with several classes."""
    min_component_sizes: Mapping[str, NonNegativeInt] | None
    """Minimum component size of each class, in pixels; None if the sizes were not tuned."""
    search: SearchRecord | None
    """Scores for each threshold and size; None for a network with several classes."""
