"""How the time of a training is shared out: when it ends, and what validations on the way may cost."""

from collections.abc import Sequence
from statistics import median
from typing import Final, final

from maskwright.data.pairs import spread
from maskwright.errors import InputError
from maskwright.inference.pipeline import BATCH
from maskwright.training.schedule import ByClock, BySteps, Schedule, Stopwatch
from maskwright.training.state import State

# A run by the clock spends at most this share of it on validations on the way, each at most so much of the whole.
_VALIDATION_SHARE: Final = 0.05
_ONE_VALIDATION: Final = 0.01
_FEWEST: Final = 4 * BATCH  # images that one looks at, whatever they cost
_READING: Final = 1.15  # of the time of predicting, with reading and counting
# Of a whole step's time for as many pixels, a forward pass, before either has been measured.
_FIRST_GUESS: Final = 0.4
# Steps by which one can prediction what others will take.
_TOLD_BY: Final = 3
# Of the clock for the proof is not to be guessed but measured.
_MUCH: Final = 0.2
# What follows the last validation: saving, loading, the page. Seconds.
_CLOSING_SECONDS: Final = 15.0
# The proof, in float32 by the saved network, against a validation in bfloat16; and in float32, by one that is traced.
_PROOF: Final = 2.0
_PROOF_ALIKE: Final = 1.1


class BudgetTooShort(InputError):
    """The time was up before the first step, or will be before the end can be proved."""

    text = (
        "A time budget of {budget:g} s is too short: {taken:.0f} s went by before the first step, and the proof at the "
        "end, on {images} held-out images, takes {proof}. Give {least} or more; nothing was kept of this training."
    )


@final
class Pace:
    """The schedule of a training, and the costs it learns of on the way.

    Args:
        stopwatch: The time.
        budget: Seconds of a run by the clock; None where the steps decide.
        steps: Of a run by steps.
        pixels: That the network sees of each image to validate on.
        batch_size: Patches in a step.
        is_alike: Whether the proof computes as validations on the way do.
    """

    def __init__(
        self,
        stopwatch: Stopwatch,
        *,
        budget: float | None,
        steps: int,
        pixels: Sequence[int],
        batch_size: int,
        is_alike: bool,
    ) -> None:
        self.budget = budget
        self.steps = steps
        self._stopwatch = stopwatch
        self.images = len(pixels)
        self._pixels = pixels
        self._validation_work = _FIRST_GUESS * sum(pixels) / batch_size
        self._proof = _PROOF_ALIKE if is_alike else _PROOF
        self._work = self._steps = 0
        self._validation_seconds: float | None = None
        self._on_the_way: float | None = None
        self._validated_at = stopwatch.seconds()
        self._timed_from: float | None = None

    def begin(self, state: State) -> Schedule:
        """The schedule of a sitting that begins at ``state``."""
        self._timed_from, self._work, self._steps = None, 0, 0
        self._validated_at = max(self._validated_at, state.seconds)  # else a new sitting would begin with a validation
        if self.budget is not None:
            reserve = max(_CLOSING_SECONDS, state.reserve)
            return ByClock(self.budget, self._stopwatch, began=state.began, reserve=reserve)
        return BySteps(self.steps, self._stopwatch, first=state.step)

    def stepped(self, schedule: Schedule, state: State, *, work: int) -> None:
        """Keep as much of the clock as the last validation, and the one through the saved network, will take.

        Args:
            schedule: Of this sitting.
            state: After the step.
            work: Pixels of one patch of it.

        Raises:
            BudgetTooShort: As `refuse_hopeless` raises.
        """
        if self._timed_from is None:  # the first step of a sitting traces the network, and says nothing of the others
            self._timed_from = self._stopwatch.seconds()
            state.began = state.began or self._stopwatch.seconds()
        elif isinstance(schedule, ByClock):
            self._work += work
            schedule.began = state.began
            self._steps += 1
            if self._steps < _TOLD_BY:
                return
            if self.guess_matters(schedule):  # it is measured first
                return
            self.refuse_hopeless(state)
            kept = _CLOSING_SECONDS + self._cost_on_the_way(state) + self._proof * self._validation_cost()
            schedule.reserve = state.reserve = kept

    def refuse_hopeless(self, state: State) -> None:
        """Refuse a budget that leaves no time to learn in.

        Raises:
            BudgetTooShort: The proof alone, which is much of it, will take longer than there is left.
        """
        proof = self._proof * self._validation_cost()
        if self.budget is None or proof <= _MUCH * self.budget or state.step > _TOLD_BY + 2 or state.went_back:
            return
        if self._stopwatch.seconds() + proof > self.budget:
            raise self.too_short(state)

    def too_short(self, state: State) -> BudgetTooShort:
        """What to say where the budget leaves no time to learn in."""
        cost = self._validation_cost() * self._proof
        return BudgetTooShort(
            budget=self.budget or 0.0,
            taken=state.began or self._stopwatch.seconds(),
            images=self.images,
            proof=f"about {cost:.0f} s" if cost else "its time",
            least=f"{self._stopwatch.seconds() + _CLOSING_SECONDS + self._cost_on_the_way(state) + cost:.0f} s",
        )

    def looked_at(self, state: State) -> int:
        """How many images the validations on the way look at: all, or of more than the clock allows some.

        The first validation settles it, since scores of other images cannot be compared.
        """
        if state.looked_at:
            return state.looked_at
        if self.budget is None or state.best is not None:  # by a version that looked at all
            return self.images
        cost = self._validation_cost()
        share = min(1.0, _ONE_VALIDATION * self.budget / cost) if cost else 0.0
        return min(self.images, max(_FEWEST, round(share * self.images)))

    def validated(self, *, since: float, images: Sequence[float]) -> None:
        """A validation has ended.

        Args:
            since: When it began, on the stopwatch.
            images: Seconds that each of its images took to predict.
        """
        self._validated_at = self._stopwatch.seconds()
        self._on_the_way = self._validation_seconds = self._validated_at - since
        if len(images) < self.images:  # what does not grow with their number is in the seconds kept for closing
            # The median, since the first of a size wait for a compilation.
            a_pixel = median(
                took / pixels for took, pixels in zip(images, spread(self._pixels, len(images)), strict=True)
            )
            self._validation_seconds = _READING * a_pixel * sum(self._pixels)

    def validation_is_due(self, schedule: Schedule, state: State) -> bool:
        """Whether the end of an epoch is worth a validation."""
        if not isinstance(schedule, ByClock):
            return True
        if self._validation_seconds is None and self._steps < _TOLD_BY:
            return False
        since = self._stopwatch.seconds() - self._validated_at
        cost = self._cost_on_the_way(state)
        return cost <= _VALIDATION_SHARE * since and cost < schedule.seconds_left(state.step)

    def guess_matters(self, schedule: Schedule) -> bool:
        """Whether to validate now, be an epoch over or not: what the proof takes is much, and nothing but guessed."""
        if not isinstance(schedule, ByClock) or self._validation_seconds is not None or self._steps < _TOLD_BY:
            return False
        return self._validation_cost() * self._proof > _MUCH * schedule.budget

    def _cost_on_the_way(self, state: State) -> float:
        """Seconds of a validation on the way: the last one's, or a prediction."""
        if self._on_the_way is None:
            return self._validation_cost() * self.looked_at(state) / max(1, self.images)
        return self._on_the_way

    def _validation_cost(self) -> float:
        """Seconds of a validation on all images: by the last one, or a prediction from the steps so far."""
        if self._validation_seconds is not None or self._timed_from is None or not self._work:
            return self._validation_seconds or 0.0
        return self._validation_work * (self._stopwatch.seconds() - self._timed_from) / self._work
