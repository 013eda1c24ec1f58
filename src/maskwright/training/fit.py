"""The loop: batches into a network until the schedule ends, with validation, the best weights kept, and checkpoints."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras

from maskwright.data.patches import Patches
from maskwright.errors import InputError
from maskwright.images.write import atomic_path
from maskwright.inference.keras_engine import KerasEngine, load_keras_engine
from maskwright.metrics.scores import Scores
from maskwright.networks.outputs import mask_only
from maskwright.training.checkpoint import load_checkpoint, save_checkpoint
from maskwright.training.network import targets
from maskwright.training.recalibrate import Recalibration
from maskwright.training.recipe import TrainingRecipe
from maskwright.training.run import Run, write_csv
from maskwright.training.schedule import ByClock, BySteps, Schedule, Stopwatch, learning_rate

# A run by the clock spends at most this share of it on looking at the validation images.
_VALIDATION_SHARE = 0.1
# Checkpoints hold the optimizer as well, some 300 MB: not more often than this, seconds.
_CHECKPOINT_SECONDS = 60.0
# Forward in float32 against a whole step in bfloat16, before either has been measured.
_FIRST_GUESS = 0.6
# What follows the last validation: saving, loading, the page. Seconds.
_CLOSING_SECONDS = 15.0


class LossNotFinite(InputError):
    """The loss became NaN or infinite."""

    text = (
        "The loss became {found} at step {step} of {run}, at a learning rate of {rate}. "
        "Train again with --overwrite and a lower training.learning_rate."
    )


class BudgetTooShort(InputError):
    """The time was up before the first step."""

    text = (
        "A time budget of {budget:g} s is too short: {taken:.0f} s went by before the first step, and the proof at the "
        "end takes its time. Give more, with --overwrite."
    )


@dataclass(frozen=True)
class Progress:
    """What a watcher of the loop is told at every step."""

    step: int
    share: float
    seconds_left: float | None
    loss: float


@dataclass
class State:
    """Where a training stands; all of it is in the checkpoint."""

    step: int = 0
    began: float | None = None
    """Seconds on the stopwatch when the first step, which traces the network, was done."""
    seconds: float = 0.0
    best: float | None = None
    best_step: int = 0
    history: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True)
class Outcome:
    """How a training ended."""

    state: State
    stopped_by: str


class Trainer:
    """One training: the network that learns, the twin that is validated and saved, and the files of the run.

    Args:
        network: Compiled, for patches of a fixed size, in the precision of training.
        engine: Its float32 twin for images of any size.
        patches: Where batches come from.
        validate: Scores an engine on the validation images.
        run: Where files are written.
    """

    def __init__(
        self,
        network: keras.Model,
        engine: KerasEngine,
        *,
        patches: Patches,
        validate: Callable[[KerasEngine], Scores],
        validation_pixels: int,
        run: Run,
        recipe: TrainingRecipe,
        stopwatch: Stopwatch,
    ) -> None:
        self.network = network
        self.engine = engine
        self.patches = patches
        self.validate = validate
        self.run = run
        self.recipe = recipe
        self.stopwatch = stopwatch
        self.state = State()
        self._masks = mask_only(network)
        self._recalibrate = Recalibration(network)
        patch_pixels = math.prod(patches.patch) * patches.batch_size
        self._steps_a_validation = _FIRST_GUESS * validation_pixels / patch_pixels
        self._validation_seconds: float | None = None
        self._timed_from: tuple[float, int] | None = None
        self._validated_at = stopwatch.seconds()
        self._saved_at = stopwatch.seconds()

    def resume(self) -> None:
        """Go on from the run's checkpoint, or from the start if the run was interrupted before its first."""
        if self.run.checkpoint.exists():
            self.state = State(**load_checkpoint(self.run.checkpoint, self.network))
            self.stopwatch.before = self.state.seconds
            if self.run.network.exists() and self.run.network.stat().st_mtime > self.run.checkpoint.stat().st_mtime:
                # Killed after a better network was saved and before the checkpoint knew.
                self.state.best = self._reached(load_keras_engine(self.run.network, self.engine.bundle))[0]

    def fit(self, watch: Callable[[Progress], None], epoch_done: Callable[[Mapping[str, Any]], None]) -> Outcome:
        """Train until the schedule ends or the user interrupts.

        Raises:
            BudgetTooShort: The time was up before the first step.
            LossNotFinite: The loss became NaN or infinite.
        """
        schedule = self._schedule()
        losses: list[float] = []
        stopped_by = "schedule"
        batches = self.patches.stream(self.state.step)
        try:
            while (share := schedule.progress(self.state.step)) < 1:
                losses.append(self._step(next(batches), share))
                self._plan_the_end(schedule)
                watch(
                    Progress(
                        step=self.state.step,
                        share=schedule.progress(self.state.step),
                        seconds_left=schedule.seconds_left(self.state.step),
                        loss=losses[-1],
                    )
                )
                if self.state.step % self.patches.steps_per_epoch == 0 and schedule.progress(self.state.step) < 1:
                    self._end_epoch(losses, epoch_done, validate=self._validation_is_due(schedule))
                    losses.clear()
        except KeyboardInterrupt:
            if not self.state.step:
                raise
            stopped_by = "interrupt"
        finally:
            batches.close()
        if not self.state.step:
            raise BudgetTooShort(budget=self.recipe.time_budget or 0.0, taken=self.stopwatch.seconds())
        self._end_epoch(losses, epoch_done, validate=True, last=True)
        return Outcome(self.state, stopped_by)

    def _step(self, batch: tuple[Any, Any], share: float) -> float:
        self.network.optimizer.learning_rate = rate = learning_rate(
            share, peak=self.recipe.learning_rate, warmup=self.recipe.warmup
        )
        images, masks = batch
        logs = self.network.train_on_batch(images, targets(self.network, masks), return_dict=True)
        loss = float(logs["loss"])
        if not math.isfinite(loss):
            raise LossNotFinite(found=loss, step=self.state.step, run=self.run.folder, rate=f"{rate:g}")
        self.state.step += 1
        return loss

    def _schedule(self) -> Schedule:
        if self.recipe.time_budget is not None:
            return ByClock(self.recipe.time_budget, self.stopwatch, began=self.state.began, reserve=_CLOSING_SECONDS)
        total = (self.recipe.epochs or 0) * self.patches.steps_per_epoch
        return BySteps(total, self.stopwatch, first=self.state.step)

    def _plan_the_end(self, schedule: Schedule) -> None:
        """Keep as much of the clock as the last validation, and the one through the saved network, will take."""
        if self._timed_from is None:  # the first step of a sitting traces the network, and says nothing of the others
            self._timed_from = self.stopwatch.seconds(), self.state.step
            self.state.began = self.state.began or self.stopwatch.seconds()
        elif isinstance(schedule, ByClock):
            schedule.began = self.state.began
            schedule.reserve = _CLOSING_SECONDS + 2 * self._validation_cost()

    def _validation_cost(self) -> float:
        """Seconds of a validation: the last one's, or a guess from the steps so far."""
        if self._validation_seconds is not None or self._timed_from is None:
            return self._validation_seconds or 0.0
        seconds, step = self._timed_from
        return self._steps_a_validation * (self.stopwatch.seconds() - seconds) / max(1, self.state.step - step)

    def _validation_is_due(self, schedule: Schedule) -> bool:
        if not isinstance(schedule, ByClock):
            return True
        since = self.stopwatch.seconds() - self._validated_at
        cost = self._validation_cost()
        return cost <= _VALIDATION_SHARE * since and cost < schedule.seconds_left(self.state.step)

    def _end_epoch(
        self,
        losses: list[float],
        epoch_done: Callable[[Mapping[str, Any]], None],
        *,
        validate: bool,
        last: bool = False,
    ) -> None:
        row: dict[str, Any] = {
            "epoch": math.ceil(self.state.step / self.patches.steps_per_epoch),
            "step": self.state.step,
            "seconds": round(self.stopwatch.seconds(), 1),
            "learning_rate": float(f"{float(self.network.optimizer.learning_rate):.6g}"),
            "loss": round(math.fsum(losses) / len(losses), 6) if losses else None,
        }
        row |= self._validated() if validate else self._columns(None)
        self.state.seconds = self.stopwatch.seconds()
        self.state.history.append(row)
        write_csv(self.run.history, self.state.history)
        epoch_done(row)
        if last or self.stopwatch.seconds() - self._saved_at > _CHECKPOINT_SECONDS:
            save_checkpoint(self.run.checkpoint, self.network, vars(self.state))
            self._saved_at = self.stopwatch.seconds()
        if last:
            self._save_network(self.run.last_network)

    def _validated(self) -> dict[str, Any]:
        started = self.stopwatch.seconds()
        self._recalibrate(map(self.patches.plain, range(self.recipe.recalibration_steps)))
        self.engine.network.set_weights(self._masks.get_weights())
        reached, scores = self._reached(self.engine)
        if self.state.best is None or reached >= self.state.best:
            self._save_network(self.run.network)
            self.state.best, self.state.best_step = reached, self.state.step
        self._validation_seconds = self.stopwatch.seconds() - started
        self._validated_at = self.stopwatch.seconds()
        return self._columns(scores)

    def _reached(self, engine: KerasEngine) -> tuple[float, Scores]:
        """The score networks are chosen by, and all others; no class at all counts as 0."""
        scores = self.validate(engine)
        return scores.mean_iou or 0.0, scores

    def _columns(self, scores: Scores | None) -> dict[str, Any]:
        names = [label.name for label in self.engine.bundle.labels]
        found = {score.name: score.iou for score in scores.classes} if scores else {}
        overall = (scores.mean_iou, scores.pixel_accuracy) if scores else (None, None)
        columns = dict(zip(("val_mean_iou", "val_pixel_accuracy"), overall, strict=True))
        columns |= {f"val_iou_{name}": found.get(name) for name in names}
        return {name: value if value is None else round(value, 6) for name, value in columns.items()}

    def _save_network(self, file: Path) -> None:
        with atomic_path(file) as temporary:
            self.engine.network.save(temporary)
