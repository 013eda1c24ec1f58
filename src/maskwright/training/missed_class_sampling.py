"""Oversample classes that are missed by the network when training patches are placed."""

from typing import final

from maskwright.data.patches import PREFETCHED_BATCHES
from maskwright.training.evaluate import Evaluation
from maskwright.training.missed_classes import (
    OVERSAMPLED_FRACTION,
    count_missed_validations,
    missed_classes,
    missed_classes_message,
)
from maskwright.training.setup import TrainingSetup
from maskwright.training.state import State


@final
class MissedClassSampling:
    """Report classes that were missed in validation, and oversample them in later batches.

    Args:
        setup: Setup of the training run, which contains the class labels, the patches and the reporter.
    """

    def __init__(self, setup: TrainingSetup) -> None:
        self._labels = setup.bundle.labels
        self._patches = setup.patches
        self._reporter = setup.reporter

    def update(self, state: State, evaluation: Evaluation, progress: float) -> None:
        """Update the missed classes after a validation.

        Args:
            state: State of training, whose missed classes are updated.
            evaluation: Result of the validation.
            progress: Progress of the run, in [0, 1].
        """
        state.missed_validations = count_missed_validations(
            evaluation.scores, state.missed_validations, progress=progress
        )
        names = [label.name for label in self._labels if not label.background]
        missed = [name for name in missed_classes(state.missed_validations) if name in names]
        before = state.oversampled[-1][1] if state.oversampled else []
        if new := [name for name in missed if name not in before]:
            self._reporter.report(missed_classes_message(new))
        if missed != before:
            state.oversampled = [*state.oversampled, (state.step + PREFETCHED_BATCHES, missed)]
            self.apply(state)

    def apply(self, state: State) -> None:
        """Oversample the missed classes of ``state`` in the training patches."""
        index = {label.name: number for number, label in enumerate(self._labels)}
        missed = [(first, [index[name] for name in names]) for first, names in state.oversampled]
        self._patches.oversample_missed(missed, fraction=OVERSAMPLED_FRACTION)
