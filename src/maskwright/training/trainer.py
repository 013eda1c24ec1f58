"""The loop: batches into a network until the schedule ends, with validation, the best weights kept, and checkpoints."""

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras

from maskwright.data.patches import AHEAD, Patches
from maskwright.images.write import atomic_path, write_text
from maskwright.inference.bundle import Bundle
from maskwright.inference.engines.engine import NETWORK_FILE
from maskwright.inference.engines.keras import KerasEngine, load_keras_engine
from maskwright.training.checkpoint import Checkpoints, Restored, is_finite
from maskwright.training.devices import Part, on_one_device
from maskwright.training.disk_full import Attempt, Put, write_now
from maskwright.training.evaluate import Evaluation
from maskwright.training.missed_classes import SHARE, missing, not_found, told
from maskwright.training.nan_recovery import LossNotFinite, NotFinite, gone_back
from maskwright.training.network import Precision, targets
from maskwright.training.recipe import TrainingRecipe
from maskwright.training.run import Run
from maskwright.training.run_records import StopReason, write_history
from maskwright.training.schedule import Schedule, Stopwatch, cycles_ended, learning_rate, patch_size
from maskwright.training.signals import stoppable
from maskwright.training.state import State, without_gain
from maskwright.training.time_budget import Pace
from maskwright.training.train_step import Step, step_of
from maskwright.training.validation import Validation
from maskwright.training.weight_averaging import EVERY, Average

# Checkpoints hold the optimizer as well, some 300 MB: not more often than this, seconds.
_CHECKPOINT_SECONDS = 60.0


@dataclass(frozen=True)
class Progress:
    """What a watcher of the loop is told at every step."""

    step: int
    share: float
    seconds_left: float | None
    loss: float


@dataclass(frozen=True)
class Outcome:
    """How a training ended: by its ``schedule``, for lack of gain (``patience``) or by an ``interrupt``."""

    state: State
    stopped_by: StopReason


EpochDone = Callable[[Mapping[str, Any]], None]


class Trainer:
    """One training: the network that learns, the twin that is saved, and the files of the run.

    Args:
        network: Compiled, in the precision of training.
        twin: Makes its float32 twin, which is what is saved.
        bundle: What both expect, and what their outputs mean.
        order: Names of the network's layers in the order of the twin's; its own if absent.
        patches: Where batches come from.
        validate: Scores an engine on so many of the validation images, evenly spread.
        validation_sizes: Height and width of each of these, as the network sees it.
        run: Where files are written.
        part: What of each batch this process computes.
        precision: What the network computes in.
        fuse_loss: See `step_of`.
        late: Makes the step that takes its place towards the end, if there is one.
        say: Called with lines for the user.
    """

    def __init__(
        self,
        network: keras.Model,
        twin: Callable[[], keras.Model],
        *,
        bundle: Bundle,
        order: Sequence[str] | None = None,
        patches: Patches,
        validate: Callable[[KerasEngine, int], Evaluation],
        validation_sizes: Sequence[tuple[int, int]],
        run: Run,
        recipe: TrainingRecipe,
        part: Part = Part(),
        precision: Precision = "float32",
        fuse_loss: bool = False,
        late: Callable[[], Step] | None = None,
        stopwatch: Stopwatch,
        say: Callable[[str], None] = lambda line: None,
    ) -> None:
        self.network = network
        self.bundle = bundle
        self.part = part
        self.patches = patches
        self.run = run
        self.recipe = recipe
        self.stopwatch = stopwatch
        self.say = say
        self.state = State()
        self.validation = Validation(
            network,
            twin,
            bundle=bundle,
            order=order,
            patches=patches,
            steps=recipe.precise_bn_steps,
            validate=validate,
            select=recipe.monitor,
        )
        self.average = Average(network)
        self.checkpoints = Checkpoints(run.checkpoint, run.previous_checkpoint)
        self._learn_from = step_of(network, fuse_loss=fuse_loss)
        self._late = late
        self._attempt = Attempt(say)
        self._pace = Pace(
            stopwatch,
            budget=recipe.time_budget,
            steps=(recipe.epochs or 0) * patches.steps_per_epoch,
            pixels=[*map(math.prod, validation_sizes)],
            batch_size=patches.batch_size,
            is_alike=precision == "float32",
        )
        self._saved_at = stopwatch.seconds()
        self._found: Evaluation | None = None

    def resume(self) -> None:
        """Go on from the run's checkpoint, or from the start if the run was interrupted before its first.

        Raises:
            UnreadableCheckpoint: There is none that can be used.
        """
        if not self.run.has_checkpoint:
            return
        restored = self._restored()
        self.state = State(**restored.state)
        self.average.restore(restored.average)
        self.stopwatch.before = self.state.seconds
        self._saved_at = self.stopwatch.seconds()
        budget, used = self._pace.budget, self.state.seconds
        saved = self.run.network
        if budget is not None and saved.exists() and saved.stat().st_mtime > restored.file.stat().st_mtime:
            # Killed after a better network was saved and before the checkpoint knew; by epochs it is found once more.
            with on_one_device():
                engine = load_keras_engine(saved, self.bundle)
                self.state.looked_at = self._pace.looked_at(self.state)
                self.state.best = self.validation.reached(engine, self.state.looked_at)[0]
            self.state.best_answer = self.validation.answer(engine.network)
        of = f" of {self._pace.steps}" if budget is None else f", {used:.0f} of {budget:.0f} seconds used"
        self.say(f"Goes on at step {self.state.step}{of}.")

    def fit(self, watch: Callable[[Progress], None], epoch_done: EpochDone) -> Outcome:
        """Train until the schedule ends, nothing is gained any more, or SIGINT (Ctrl-C) or SIGTERM asks for an end.

        Where the loss becomes NaN or infinite, training goes back to the last checkpoint at half the learning rate.

        Raises:
            BudgetTooShort: The time was up before the first step, or will be before the end can be proved.
            LossNotFinite: It went back three times in a row, and to no avail.
            KeyboardInterrupt: The end was asked for before the first step, or for the second time.
            OSError: The disk is full, and what has been learnt cannot be saved.
        """
        with stoppable() as asked:
            if not self.run.has_checkpoint:  # so that there always is something to go back to
                self._save_checkpoint(self._attempt)
            stopped_by: StopReason | None = None
            while stopped_by is None:
                try:
                    stopped_by = self._learn(watch, epoch_done, asked)
                except NotFinite as fault:
                    self._go_back(fault)
            if stopped_by == "interrupt":
                self._break_off(epoch_done)
            else:
                self._close(epoch_done)
        return Outcome(self.state, stopped_by)

    def _learn(self, watch: Callable[[Progress], None], epoch_done: EpochDone, asked: Callable[[], bool]) -> StopReason:
        """Take steps until there is a reason to end, and name it."""
        schedule = self._pace.begin(self.state)
        self._seek()
        with closing(self.patches.stream(self.state.step, size=lambda step: self._size(schedule, step))) as batches:
            while (reason := self._reason_to_end(schedule, asked)) is None:
                batch, share = next(batches), schedule.progress(self.state.step)
                cycles = cycles_ended(share, warmup=self.recipe.warmup, cycles=self.recipe.lr_cycles)
                if self.state.snapshots < cycles < self.recipe.lr_cycles:  # before the rate leaps up
                    self._take_snapshot(cycles, epoch_done)
                    share = schedule.progress(self.state.step)
                loss = self._step(batch, share)
                self._pace.stepped(schedule, self.state, work=math.prod(batch[1].shape[1:3]))
                share, left = schedule.progress(self.state.step), schedule.seconds_left(self.state.step)
                watch(Progress(step=self.state.step, share=share, seconds_left=left, loss=loss))
                needed = self._pace.guess_matters(schedule)
                if needed or (self.state.step % self.patches.steps_per_epoch == 0 and share < 1):
                    due = needed or self._pace.validation_is_due(schedule, self.state)
                    self._end_epoch(epoch_done, self._attempt, validate=due)
                    if due and self._found is not None:
                        self._look_out_for_missing(self._found, share)
                if self.stopwatch.seconds() - self._saved_at > _CHECKPOINT_SECONDS and share < 1:
                    self._refuse_what_is_not_finite()
                    self._save_checkpoint(self._attempt)
        self._refuse_what_is_not_finite()
        return reason

    def _take_snapshot(self, number: int, epoch_done: EpochDone) -> None:
        """Keep the network, with its statistics as a validation measures them, as one that predicts."""
        if not self._is_validated:
            self._end_epoch(epoch_done, self._attempt, validate=True)
        self.state.snapshots = number
        folder = self.run.snapshot(number)

        def keep() -> None:
            folder.mkdir(parents=True, exist_ok=True)
            self.bundle.write(folder, write_text)
            self._save_network(folder / NETWORK_FILE)

        with self.average.in_place():  # whose statistics were measured last
            self._attempt(folder, keep)

    def _size(self, schedule: Schedule, step: int) -> tuple[int, int]:
        return patch_size(schedule.progress(step), patch=self.patches.patch, resize=self.recipe.progressive_resize)

    def _reason_to_end(self, schedule: Schedule, asked: Callable[[], bool]) -> StopReason | None:
        if schedule.progress(self.state.step) >= 1:
            return "schedule"
        if (
            self.recipe.patience is not None
            and without_gain(self.state.history, of=self.recipe.monitor) >= self.recipe.patience
        ):
            return "patience"
        return "interrupt" if asked() else None

    def _step(self, batch: tuple[Any, Any], share: float) -> float:
        peak = self.recipe.learning_rate * self.state.rate
        warmup, cycles = self.recipe.warmup, self.recipe.lr_cycles
        self.network.optimizer.learning_rate = learning_rate(share, peak=peak, warmup=warmup, cycles=cycles)
        frozen = share < self.recipe.freeze_encoder_until
        self.network.optimizer.encoder_rate.assign(0.0 if frozen else self.recipe.encoder_lr_multiplier)
        final = self.recipe.final_loss
        if self._late is not None and final is not None and share >= final.start:
            self._learn_from, self._late = self._late(), None
            self.say(f"Learns from its late loss from step {self.state.step + 1} on.")
        images, masks = map(self.part.of, batch)
        loss = self._learn_from(images, targets(self.network, masks))
        if not math.isfinite(loss):
            raise NotFinite(f"loss became {loss}")
        self.state.step += 1
        self.state.losses.append(loss)
        if share >= 1 - self.recipe.weight_averaging and self.state.step % EVERY == 0:
            self.average.add()
        return loss

    def _refuse_what_is_not_finite(self) -> None:
        """A last step can spoil weights that no loss was computed with; they must not be kept."""
        if not is_finite(self.network):
            raise NotFinite("weights became nan or infinite")

    def _go_back(self, fault: NotFinite) -> None:
        then = None
        if self.run.has_checkpoint:
            restored = self._restored()
            then = State(**restored.state)
            self.average.restore(restored.average)
        self.state = gone_back(self.state, then, fault, run=self.run.folder, peak=self.recipe.learning_rate)
        self.say(self.state.went_back[-1])
        self._save_checkpoint(self._attempt)

    def _restored(self) -> Restored:
        restored = self.checkpoints.load(self.network)
        if restored.damaged is not None:
            self.say(f"{restored.damaged} is damaged; in its place goes the checkpoint before it, {restored.file}.")
        return restored

    def _break_off(self, epoch_done: EpochDone) -> None:
        """Save where the training stands, so that it can go on as if it had not ended, and see that there is a best."""
        if not self.state.step:
            raise KeyboardInterrupt
        self.say("Asked to stop: saves where it stands. Asked again, it ends at once.")
        saved, had_best = self._save_checkpoint(self._attempt), self.state.best is not None
        if self.state.losses or not had_best:
            row = self._row(write_now, validate=not had_best)
            self._attempt(self.run.history, lambda: write_history(self.run.history, [*self.state.history, row]))
            epoch_done(row)
        if not (saved and had_best):  # nothing comes after this that could try again
            self._save_checkpoint(write_now)

    def _close(self, epoch_done: EpochDone) -> None:
        """The last validation, and the last of all files."""
        if not self.state.step and self.state.best is None:
            if self.state.went_back:
                raise LossNotFinite(
                    fault="loss or the weights became nan or infinite",
                    step=self.state.step,
                    run=self.run.folder,
                    peak=self.recipe.learning_rate * self.state.rate,
                    times=self.state.setbacks,
                )
            raise self._pace.too_short(self.state)
        if not self._is_validated:
            self._end_epoch(epoch_done, write_now, validate=True)
        self._pace.refuse_hopeless(self.state)
        self._save_checkpoint(write_now)
        with self.average.in_place():  # whose statistics were measured last
            write_now(self.run.last_network, lambda: self._save_network(self.run.last_network))

    @property
    def _is_validated(self) -> bool:
        """Whether the last line of the history is of a validation of the network as it is."""
        last = self.state.history[-1] if self.state.history else {}
        return last.get("step") == self.state.step and last["val_pixel_accuracy"] is not None

    def _end_epoch(self, epoch_done: EpochDone, put: Put, *, validate: bool) -> None:
        row = self._row(put, validate=validate)
        self.state.history.append(row)
        self.state.losses.clear()
        put(self.run.history, lambda: write_history(self.run.history, self.state.history))
        epoch_done(row)

    def _look_out_for_missing(self, found: Evaluation, share: float) -> None:
        """Name the classes of which nothing is found, and lay patches on them, those not yet prepared."""
        self.state.unfound = not_found(found.scores, self.state.unfound, share=share)
        names = [label.name for label in self.bundle.labels if not label.background]
        sought = [name for name in missing(self.state.unfound) if name in names]
        before = self.state.sought[-1][1] if self.state.sought else []
        if new := [name for name in sought if name not in before]:
            self.say(told(new))
        if sought != before:
            self.state.sought = [*self.state.sought, (self.state.step + AHEAD, sought)]
            self._seek()

    def _seek(self) -> None:
        index = {label.name: place for place, label in enumerate(self.bundle.labels)}
        self.patches.seek([(first, [index[name] for name in names]) for first, names in self.state.sought], share=SHARE)

    def _row(self, put: Put, *, validate: bool) -> dict[str, Any]:
        """A line of the history."""
        losses = self.state.losses
        row: dict[str, Any] = {
            "epoch": math.ceil(self.state.step / self.patches.steps_per_epoch),
            "step": self.state.step,
            "seconds": round(self.stopwatch.seconds(), 1),
            "learning_rate": float(f"{float(self.network.optimizer.learning_rate):.6g}"),
            "loss": round(math.fsum(losses) / len(losses), 6) if losses else None,
        }
        return row | self.validation.columns(self._validated(put) if validate else None)

    def _validated(self, put: Put) -> Evaluation:
        """The scores of the network as it is, or of its average; the best so far is saved."""
        self._refuse_what_is_not_finite()
        started = self.stopwatch.seconds()
        images = self.state.looked_at = self._pace.looked_at(self.state)
        if self.state.best is None and images < self._pace.images:
            some = f"{images} of the {self._pace.images} validation images, evenly spread"
            self.say(f"All of them would take long: on the way it looks at {some}; at the end at all.")
        with self.average.in_place():
            reached, self._found = self.validation(images)
            file, best = self.run.network, self.state.best
            if (best is None or reached >= best) and put(file, lambda: self._save_network(file)):
                self.state.best, self.state.best_step = reached, self.state.step
                self.state.best_answer = self.validation.answer(self.validation.saved())
        self._pace.validated(since=started, images=[image.seconds for image in self._found.images])
        return self._found

    def _save_checkpoint(self, put: Put) -> bool:
        self.state.seconds = self.stopwatch.seconds()
        saved = put(self.run.checkpoint, self._checkpoint)
        self._saved_at = self.stopwatch.seconds()
        return saved

    def _checkpoint(self) -> None:
        self.checkpoints.save(self.network, vars(self.state), average=self.average.to_arrays())

    def _save_network(self, file: Path) -> None:
        network = self.validation.saved()
        with atomic_path(file) as temporary:
            network.save(temporary)
