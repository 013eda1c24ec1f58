"""Networks from which the plan chooses by the number of patches that each learns from in the time budget."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from maskwright.training.step_work import StepRates, StepWork

PATCH_PIXELS: Final = 256 * 320
"""Number of pixels of the patch for which the work of each candidate is counted."""

REFERENCE_RATES: Final = StepRates(
    layers=1.4e-4,
    parameters=3.0e-9,
    convolution=1.44e-11,
    pointwise=1.7e-11,
    depthwise=5.3e-11,
    convolved=3.1e-10,
    values=5.4e-10,
    orthogonalised=2.5e-11,
    tracing=0.019,
)
"""Rates that are assumed if those of the machine are not known: two cores with bfloat16 instructions."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A U-Net that can be planned."""

    backbone: str
    decoder_filters: tuple[int, int, int, int, int]
    work: StepWork
    """Work of a training step on one patch of 256 x 320 pixels, without the work of Muon in pretrained networks."""
    min_patches: int
    """Smallest number of such patches for which this network is chosen instead of a smaller one."""

    def step_seconds(self, rates: StepRates, *, pixels: float) -> float:
        """Return the time of a training step on a batch of ``pixels`` pixels, in seconds."""
        return self.constant_seconds(rates) + pixels / PATCH_PIXELS * self.patch_seconds(rates)

    def constant_seconds(self, rates: StepRates) -> float:
        """Return the part of the time of a step that does not depend on the batch, in seconds."""
        work = self.work
        return rates.step_seconds(StepWork(work.layers, work.parameters, orthogonalised=work.orthogonalised))

    def patch_seconds(self, rates: StepRates) -> float:
        """Return the time that each patch of 256 x 320 pixels adds to a step, in seconds."""
        return rates.step_seconds(self.work) - self.constant_seconds(rates)

    def patches(self, rates: StepRates, *, seconds: float, batch_size: int = 4) -> float:
        """Return the number of patches of 256 x 320 pixels that the network learns from in ``seconds`` seconds."""
        return seconds / self.step_seconds(rates, pixels=batch_size * PATCH_PIXELS) * batch_size


_WIDE: Final = (256, 128, 64, 32, 16)
_NARROW: Final = (128, 96, 64, 32, 16)

PRETRAINED: Final = (
    Candidate(
        "efficientnetlite0",
        _WIDE,
        StepWork(178, 5198161, 3025797120, 519946240, 56378880, 26631680, 49333760),
        min_patches=0,
    ),
    Candidate(
        "efficientnetlite4",
        _WIDE,
        StepWork(304, 13819729, 3249930240, 1976770560, 157839360, 42757120, 92076800),
        min_patches=200_000,
    ),
)
"""Networks with pretrained encoders, from the smallest."""

FROM_SCRATCH: Final = (
    Candidate(
        "resnet18",
        _NARROW,
        StepWork(113, 12698769, 5831393280, 52428800, 0, 23742444, 30906604, 1985093632),
        min_patches=0,
    ),
    Candidate(
        "resnet34",
        _WIDE,
        StepWork(169, 24438801, 9736028160, 52428800, 0, 28411884, 37009644, 3783122944),
        min_patches=20_000,
    ),
)
"""Networks that are trained from scratch, from the smallest."""


def candidates_by_work(candidates: Sequence[Candidate], rates: StepRates, *, seconds: float | None) -> list[Candidate]:
    """Return the candidates that learn from enough patches in ``seconds`` seconds, from the largest to the smallest.

    Without a time, only the smallest candidate is returned.
    """
    if seconds is None:
        return [candidates[0]]
    enough = [each for each in candidates if each.patches(rates, seconds=seconds) >= each.min_patches]
    return enough[::-1]
