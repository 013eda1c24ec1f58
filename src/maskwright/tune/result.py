"""Result of tuning: the tuned bundle, and every option that was tried, with its scores on both halves."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from maskwright.inference.bundle import Bundle
from maskwright.metrics.monitor import SCORE_NAMES, Monitor
from maskwright.training.tuning_record import SearchRecord, TriedOption, TuningRecord
from maskwright.tune.halves import MIN_IMAGES, HalfScores
from maskwright.tune.held_out import NetworkOfRun
from maskwright.tune.search import ThresholdSearch


@dataclass(frozen=True)
class TuningResult:
    """The tuned bundle, its scores and the options that were tried.

    Attributes:
        bundle: Bundle with the tuned values.
        monitor: Name of the score that was maximised.
        networks: Networks whose predicted probabilities are averaged.
        held_out_images: Total number of held-out images.
        half_sizes: Numbers of images in the selection half and the check half; 0 if nothing was tuned.
        options: All options, in the order in which they were tried.
        scores: Scores of both halves with all options that are on; None if nothing was tuned.
        notes: Sentences about what was not tried, and why.
        search: Scores for each threshold and minimum component size; None for a network with several classes.
        min_component_sizes: Minimum component size of each class, in pixels; None if the sizes were not tuned.
    """

    bundle: Bundle
    monitor: Monitor
    networks: Sequence[NetworkOfRun]
    held_out_images: int
    half_sizes: tuple[int, int] = (0, 0)
    options: Sequence[TriedOption] = ()
    scores: HalfScores | None = None
    notes: Sequence[str] = ()
    search: ThresholdSearch | None = None
    min_component_sizes: Mapping[str, int] | None = None

    @classmethod
    def untuned(cls, bundle: Bundle, networks: Sequence[NetworkOfRun]) -> "TuningResult":
        """Return a result in which nothing was tuned.

        Args:
            bundle: Untuned bundle.
            networks: Networks whose predicted probabilities are averaged.
        """
        held_out = {pair.image for network in networks for pair in network.run.read_split()["validation"]}
        monitor = networks[0].run.read_recipe().training.monitor
        return cls(bundle=bundle, monitor=monitor, networks=networks, held_out_images=len(held_out))

    def noted(self, note: str) -> "TuningResult":
        """Return the result with an additional note."""
        return replace(self, notes=(*self.notes, note))

    def without_tuning(self, images: int) -> "TuningResult":
        """Return the result with the note that ``images`` images are too few for tuning."""
        found = f"{images} held-out image{'s' * (images != 1)} can be used"
        return self.noted(f"Nothing was tuned: {found}, and tuning needs at least {MIN_IMAGES}.")

    def record(self) -> TuningRecord:
        """Return the result as the content of ``tuning.json``."""
        search, bundle = self.search, self.bundle
        return TuningRecord(
            held_out_images=self.held_out_images,
            selection_images=self.half_sizes[0],
            check_images=self.half_sizes[1],
            networks=len(self.networks),
            monitor=self.monitor,
            score=self.scores and self.scores.selection,
            check_score=self.scores and self.scores.check,
            options=tuple(self.options),
            notes=tuple(self.notes),
            tta=bundle.tta,
            fill_holes=bundle.fill_holes,
            threshold=bundle.threshold if bundle.activation == "sigmoid" else None,
            min_component_sizes=self.min_component_sizes,
            search=None
            if search is None
            else SearchRecord(
                thresholds=search.thresholds,
                min_component_sizes=search.min_sizes,
                scores=tuple(map(tuple, search.scores.round(6).tolist())),
            ),
        )

    def summary(self) -> list[str]:
        """Return sentences that name the options that were turned on, and their gains on the check half."""
        if self.scores is None:
            return list(self.notes)
        selection, check = self.half_sizes
        score_name = SCORE_NAMES[self.monitor]
        used = f"Tuned on {selection} held-out images and checked on {check} others: "
        # The first option is the network itself; an option of one class alone is part of a later option.
        chosen = [option for option in self.options[1:] if option.on and option.is_monitored]
        if not chosen:
            return [f"{used}no option improves the {score_name} of both sufficiently.", *self.notes]
        names = ", ".join(
            option.name if option.check_gain is None else f"{option.name} ({option.check_gain:+.4f})"
            for option in chosen
        )
        lines = [f"{used}{names}. The {score_name} of the {check} others is {self.scores.check:.4f}."]
        if self.bundle.tta:
            lines.append(f"Test-time augmentation runs the network {1 + len(self.bundle.tta)} times on each image.")
        return [*lines, *self.notes]
