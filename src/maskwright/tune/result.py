"""Result of tuning: every option that was tried, with its score and gain."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from maskwright.inference.bundle import Bundle
from maskwright.metrics.monitor import Monitor
from maskwright.tune.held_out import NetworkOfRun
from maskwright.tune.search import ThresholdSearch


@dataclass(frozen=True)
class TriedOption:
    """An option that was tried, its score, and whether it was turned on.

    ``gain`` is the increase of the score over the options that were on before. ``score`` and ``gain`` are None if they
    cannot be measured.
    """

    name: str
    score: float | None
    gain: float | None
    on: bool


@dataclass(frozen=True)
class TuningResult:
    """The tuned bundle, its score and the options that were tried.

    Attributes:
        used_images: Number of held-out images that were used for tuning.
        held_out_images: Total number of held-out images.
        monitor: Name of the score that was maximised.
        options: All options, in the order in which they were tried.
        score: Score with all options that were turned on.
        bundle: Bundle with the tuned values.
        search: Scores for each threshold and minimum component size; None for a network with several classes.
        min_component_sizes: Minimum component size of each class, in pixels; None if the sizes were not tuned.
        networks: Networks whose predicted probabilities are averaged.
    """

    used_images: int
    monitor: Monitor
    options: tuple[TriedOption, ...]
    score: float
    bundle: Bundle
    search: ThresholdSearch | None = None
    min_component_sizes: Mapping[str, int] | None = None
    held_out_images: int = 0
    networks: tuple[NetworkOfRun, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the content of ``tuning.json``."""
        search, bundle = self.search, self.bundle
        return {
            "used_images": self.used_images,
            "held_out_images": self.held_out_images,
            "networks": len(self.networks),
            "monitor": self.monitor,
            "score": self.score,
            "options": [vars(option) for option in self.options],
            "tta": list(bundle.tta),
            "fill_holes": bundle.fill_holes,
            "threshold": bundle.threshold if bundle.activation == "sigmoid" else None,
            "min_component_sizes": self.min_component_sizes,
            "search": search
            and {
                "thresholds": search.thresholds,
                "min_component_sizes": search.min_sizes,
                "scores": search.scores.round(6).tolist(),
            },
        }
