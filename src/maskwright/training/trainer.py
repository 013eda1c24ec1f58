"""Run the training loop, with steps, snapshots, validations and checkpoints, until the schedule ends."""

import math
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, final

from maskwright.images.write import atomic_path
from maskwright.inference.engines.engine import NETWORK_FILE
from maskwright.inference.engines.keras import load_keras_engine
from maskwright.training.checkpoint import Checkpoints, RestoredCheckpoint, is_finite
from maskwright.training.devices import on_one_device
from maskwright.training.disk_full import WriteFile, WriteOrWarn, write_or_raise
from maskwright.training.evaluate import Evaluation
from maskwright.training.forecast import ForecastCorrection
from maskwright.training.lr_schedule import cycles_ended, learning_rate
from maskwright.training.missed_class_sampling import MissedClassSampling
from maskwright.training.nan_recovery import LossNotFinite, NotFinite, recovered_state
from maskwright.training.network import training_targets
from maskwright.training.progressive_resize import patch_size
from maskwright.training.reporter import Progress
from maskwright.training.run_records import StopReason, write_history
from maskwright.training.schedule import Schedule
from maskwright.training.setup import TrainingSetup
from maskwright.training.signals import stoppable
from maskwright.training.state import State, validations_without_gain
from maskwright.training.time_budget import TimeBudget
from maskwright.training.training_steps import TrainingSteps
from maskwright.training.validation import Validation
from maskwright.training.weight_averaging import AVERAGING_INTERVAL, WeightAverage

_CHECKPOINT_SECONDS: Final = 60.0  # minimum time between two checkpoints, each of about 300 MB

OnEpoch = Callable[[Mapping[str, Any]], None]
"""Function called with each row of the history, a mapping from column name to value."""


@dataclass(frozen=True)
class Outcome:
    """Final state of training, and the reason why training ended: ``schedule``, ``patience`` or ``interrupt``."""

    state: State
    stopped_by: StopReason
    tuning_deadline: float | None
    """Time on the stopwatch, in seconds, at which tuning must end; None if there is no limit."""


@final
class Trainer:
    """Train the network of a setup, and write the files of its run.

    Args:
        setup: Networks, data and settings used in training.
    """

    def __init__(self, setup: TrainingSetup) -> None:
        self.run = setup.run
        self.recipe = setup.recipe
        self.bundle = setup.bundle
        self.network = setup.networks.training
        self.patches = setup.patches
        self.shard = setup.shard
        self.stopwatch = setup.stopwatch
        self.reporter = setup.reporter
        self.state = State()
        self.validation = Validation(setup)
        self.average = WeightAverage(self.network)
        self.checkpoints = Checkpoints(self.run.checkpoint, self.run.previous_checkpoint)
        self._steps = TrainingSteps(self.network, self.recipe, self.bundle)
        self._missed_classes = MissedClassSampling(setup)
        self._on_epoch: Sequence[OnEpoch] = ()
        self._write_or_warn = WriteOrWarn(self.reporter.report)
        self._budget = TimeBudget(
            self.stopwatch,
            budget=self.recipe.time_budget,
            steps=(self.recipe.epochs or 0) * self.patches.steps_per_epoch,
            pixels=[math.prod(size) for size in setup.validation_set.sizes],
            batch_size=self.patches.batch_size,
            is_float32=setup.networks.precision == "float32",
            tuning_passes=setup.tuning_passes,
        )
        self._forecast = ForecastCorrection(
            setup.step_times,
            budget=self.recipe.time_budget,
            stopwatch=self.stopwatch,
            validation_pixels=sum(map(math.prod, setup.validation_set.sizes)),
            precision=setup.networks.precision,
            tuning_passes=setup.tuning_passes,
            is_custom=setup.is_custom,
        )
        self._checkpoint_time = self.stopwatch.seconds()

    def resume(self) -> None:
        """Restore the last checkpoint of the run, if there is one.

        Raises:
            UnreadableCheckpoint: All checkpoints are damaged, or they belong to another network.
        """
        if not self.run.has_checkpoint:
            return
        restored = self._restore_checkpoint()
        self.state = State(**restored.state)
        self.stopwatch.earlier_sessions = self.state.seconds
        self._checkpoint_time = self.stopwatch.seconds()
        budget = self._budget.budget
        if budget is not None:
            self._score_network_after(restored.file)
            end = f", {self.state.seconds:.0f} of {budget:.0f} seconds used"
        else:
            end = f" of {self._budget.steps}"
        self.reporter.report(f"Resuming at step {self.state.step}{end}.")

    def fit(self, on_epoch: Sequence[OnEpoch] = ()) -> Outcome:
        """Train until the schedule ends, the score stops improving, or SIGINT (Ctrl-C) or SIGTERM is received.

        After a NaN or infinite loss, training returns to the last checkpoint and halves the learning rate.

        Args:
            on_epoch: Functions called with each row of the history.

        Raises:
            BudgetTooShort: The time budget ends before the first step, or will end before the final check.
            LossNotFinite: The loss was NaN or infinite again after three consecutive returns to the same checkpoint.
            KeyboardInterrupt: A signal was received before the first step, or a second signal was received.
            OSError: The disk is full, so that the result cannot be saved.
        """
        self._on_epoch = on_epoch
        with stoppable() as stop_requested:
            if not self.run.has_checkpoint:  # training returns to this checkpoint after a NaN in the first steps
                self._save_checkpoint(self._write_or_warn)
            stopped_by: StopReason | None = None
            while stopped_by is None:
                try:
                    stopped_by = self._run_training(stop_requested)
                except NotFinite as fault:
                    self._return_to_checkpoint(fault)
            if stopped_by == "interrupt":
                self._save_for_resume()
            else:
                self._finish()
        return Outcome(self.state, stopped_by, self._budget.tuning_deadline(self.state))

    def _run_training(self, stop_requested: Callable[[], bool]) -> StopReason:
        """Take training steps until there is a reason to stop, and return the reason.

        Raises:
            NotFinite: The loss or a weight became NaN or infinite.
        """
        schedule = self._budget.start_session(self.state)
        self._missed_classes.apply(self.state)
        with closing(self._batches(schedule)) as batches:
            while (reason := self._stop_reason(schedule, stop_requested)) is None:
                batch, progress = next(batches), schedule.progress(self.state.step)
                if self._maybe_snapshot(progress):  # writing a snapshot takes time
                    progress = schedule.progress(self.state.step)
                progress = self._step(batch, schedule, progress)
                self._maybe_validate(schedule, progress)
                self._maybe_checkpoint(progress)
        self._check_finite()
        return reason

    def _batches(self, schedule: Schedule) -> Generator[tuple[Any, Any]]:
        def size(step: int) -> tuple[int, int]:
            return patch_size(
                schedule.progress(step), patch=self.patches.patch_size, resize=self.recipe.progressive_resize
            )

        return self.patches.stream(self.state.step, size=size)

    def _stop_reason(self, schedule: Schedule, stop_requested: Callable[[], bool]) -> StopReason | None:
        if schedule.progress(self.state.step) >= 1:
            return "schedule"
        patience = self.recipe.patience
        if (
            patience is not None
            and validations_without_gain(self.state.history, monitor=self.recipe.monitor) >= patience
        ):
            return "patience"
        return "interrupt" if stop_requested() else None

    def _maybe_snapshot(self, progress: float) -> bool:
        """Save a snapshot if a learning-rate cycle has ended, before the learning rate returns to its peak.

        Returns:
            Whether a cycle has ended.
        """
        cycles = self.recipe.lr_cycles
        ended = cycles_ended(progress, warmup=self.recipe.warmup, cycles=cycles)
        if not self.state.snapshots < ended < cycles:
            return False
        if not self._is_validated:  # validation also computes the statistics of batch normalisation
            self._end_epoch(self._write_or_warn, validate=True)
        self.state.snapshots = ended
        folder = self.run.snapshot(ended)

        def write() -> None:
            folder.mkdir(parents=True, exist_ok=True)
            self.bundle.write(folder)
            self._save_network(folder / NETWORK_FILE)

        with self.average.applied():
            self._write_or_warn(folder, write)
        return True

    def _step(self, batch: tuple[Any, Any], schedule: Schedule, progress: float) -> float:
        """Train on a batch, and update the state, the averaged weights and the time budget.

        Args:
            batch: Images (n, h, w, c) and masks (n, h, w) of the batch.
            schedule: Schedule of this session.
            progress: Progress of the run before the step, in [0, 1].

        Returns:
            The progress after the step.
        """
        self._set_learning_rates(progress)
        if self._steps.select_loss(progress):
            self.reporter.report(f"The final loss replaces the loss from step {self.state.step + 1} on.")
        images, masks = map(self.shard.of, batch)
        loss = self._steps(images, training_targets(self.network, masks))
        if not math.isfinite(loss):
            raise NotFinite(f"loss became {loss}")
        self.state.step += 1
        self.state.losses.append(loss)
        if progress >= 1 - self.recipe.weight_averaging and self.state.step % AVERAGING_INTERVAL == 0:
            self.average.add()
        size = batch[1].shape[1:3]
        self._budget.after_step(schedule, self.state, work=math.prod(size))
        if line := self._forecast.after_step(self.state.step, is_reduced=size != self.patches.patch_size):
            self.reporter.report(line)
        step, progress = self.state.step, schedule.progress(self.state.step)
        self.reporter.step(Progress(step=step, fraction=progress, seconds_left=schedule.seconds_left(step), loss=loss))
        return progress

    def _set_learning_rates(self, progress: float) -> None:
        recipe, optimizer = self.recipe, self.network.optimizer
        peak = recipe.learning_rate * self.state.lr_factor
        optimizer.learning_rate = learning_rate(progress, peak=peak, warmup=recipe.warmup, cycles=recipe.lr_cycles)
        is_frozen = progress < recipe.freeze_encoder_until
        optimizer.encoder_lr_multiplier.assign(0.0 if is_frozen else recipe.encoder_lr_multiplier)

    def _maybe_validate(self, schedule: Schedule, progress: float) -> None:
        """End an epoch, and validate if a validation is due. The last epoch is ended by `_finish`."""
        is_measurement = self._budget.needs_measurement(schedule)
        is_epoch = self.state.step % self.patches.steps_per_epoch == 0 and progress < 1
        if not (is_measurement or is_epoch):
            return
        is_due = is_measurement or self._budget.validation_is_due(schedule, self.state)
        evaluation = self._end_epoch(self._write_or_warn, validate=is_due)
        if evaluation is not None:
            self._missed_classes.update(self.state, evaluation, progress)

    def _maybe_checkpoint(self, progress: float) -> None:
        if self.stopwatch.seconds() - self._checkpoint_time > _CHECKPOINT_SECONDS and progress < 1:
            self._check_finite()
            self._save_checkpoint(self._write_or_warn)

    def _check_finite(self) -> None:
        """Check that all weights are finite, since an update may make them NaN or infinite after a finite loss.

        Raises:
            NotFinite: A weight is NaN or infinite.
        """
        if not is_finite(self.network):
            raise NotFinite("weights became nan or infinite")

    def _return_to_checkpoint(self, fault: NotFinite) -> None:
        saved = State(**self._restore_checkpoint().state) if self.run.has_checkpoint else None
        self.state = recovered_state(self.state, saved, fault, run=self.run.folder, peak=self.recipe.learning_rate)
        self.reporter.report(self.state.nan_recoveries[-1])
        self._save_checkpoint(self._write_or_warn)

    def _restore_checkpoint(self) -> RestoredCheckpoint:
        """Restore the weights, the optimizer and the weight average, and report a damaged checkpoint."""
        restored = self.checkpoints.load(self.network)
        if restored.damaged is not None:
            self.reporter.report(f"{restored.damaged} is damaged; the previous checkpoint, {restored.file}, is used.")
        self.average.restore(restored.average)
        return restored

    def _score_network_after(self, checkpoint: Path) -> None:
        """Score the saved network if it is newer than the checkpoint because training was killed between the two
        writes.

        This is only needed with a time budget: otherwise, resumed training reaches the same network again.
        """
        file = self.run.network
        if not file.exists() or file.stat().st_mtime <= checkpoint.stat().st_mtime:
            return
        with on_one_device():
            engine = load_keras_engine(file, self.bundle)
            self.state.validation_images = self._budget.intermediate_images(self.state)
            self.state.best, _ = self.validation.score(engine, self.state.validation_images)
        self.state.best_sample = self.validation.sample(engine.network)

    def _save_for_resume(self) -> None:
        """Save a checkpoint for resuming, and a network if none has been saved yet."""
        if not self.state.step:
            raise KeyboardInterrupt
        self.reporter.report("Stopping after this step and saving a checkpoint. Press Ctrl-C again to quit now.")
        is_saved, had_best = self._save_checkpoint(self._write_or_warn), self.state.best is not None
        if self.state.losses or not had_best:
            row, _ = self._history_row(write_or_raise, validate=not had_best)
            rows = [*self.state.history, row]
            self._write_or_warn(self.run.history, lambda: write_history(self.run.history, rows))
            self._report_epoch(row)
        if not (is_saved and had_best):  # there is no later attempt to write the checkpoint
            self._save_checkpoint(write_or_raise)

    def _finish(self) -> None:
        """Validate one last time, and write the last checkpoint and the last network."""
        if not self.state.step and self.state.best is None:
            if self.state.nan_recoveries:
                raise LossNotFinite(
                    fault="loss or the weights became nan or infinite",
                    step=self.state.step,
                    run=self.run.folder,
                    peak=self.recipe.learning_rate * self.state.lr_factor,
                    times=self.state.retries,
                )
            raise self._budget.too_short(self.state)
        if not self._is_validated:
            self._end_epoch(write_or_raise, validate=True)
        self._budget.check_feasible(self.state)
        self._save_checkpoint(write_or_raise)
        with self.average.applied():  # the statistics of batch normalisation are those of the average
            write_or_raise(self.run.last_network, lambda: self._save_network(self.run.last_network))

    @property
    def _is_validated(self) -> bool:
        """Whether the last row of the history contains the scores of the current weights."""
        last = self.state.history[-1] if self.state.history else {}
        return last.get("step") == self.state.step and last["val_pixel_accuracy"] is not None

    def _end_epoch(self, write_file: WriteFile, *, validate: bool) -> Evaluation | None:
        """Add a row to the history, and return the evaluation, or None if the network was not validated."""
        row, evaluation = self._history_row(write_file, validate=validate)
        self.state.history.append(row)
        self.state.losses.clear()
        write_file(self.run.history, lambda: write_history(self.run.history, self.state.history))
        self._report_epoch(row)
        return evaluation

    def _report_epoch(self, row: Mapping[str, Any]) -> None:
        self.reporter.epoch(row)
        for function in self._on_epoch:
            function(dict(row))

    def _history_row(self, write_file: WriteFile, *, validate: bool) -> tuple[dict[str, Any], Evaluation | None]:
        losses = self.state.losses
        row: dict[str, Any] = {
            "epoch": math.ceil(self.state.step / self.patches.steps_per_epoch),
            "step": self.state.step,
            "seconds": round(self.stopwatch.seconds(), 1),
            "learning_rate": float(f"{float(self.network.optimizer.learning_rate):.6g}"),
            "loss": round(math.fsum(losses) / len(losses), 6) if losses else None,
        }
        evaluation = self._validate(write_file) if validate else None
        return row | self.validation.columns(evaluation), evaluation

    def _validate(self, write_file: WriteFile) -> Evaluation:
        """Score the current weights, or their average, and save the network if it is the best so far."""
        self._check_finite()
        started = self.stopwatch.seconds()
        images = self.state.validation_images = self._budget.intermediate_images(self.state)
        if self.state.best is None and images < self._budget.images:
            self.reporter.report(
                f"Intermediate validations use {images} of {self._budget.images} validation images to save time; "
                "the final check uses all."
            )
        with self.average.applied():
            score, evaluation = self.validation(images)
            file, best = self.run.network, self.state.best
            if (best is None or score >= best) and write_file(file, lambda: self._save_network(file)):
                self.state.best, self.state.best_step = score, self.state.step
                self.state.best_sample = self.validation.sample(self.validation.inference_model())
        self._budget.after_validation(started=started, image_seconds=[image.seconds for image in evaluation.images])
        return evaluation

    def _save_checkpoint(self, write_file: WriteFile) -> bool:
        """Write a checkpoint, and return whether there was enough disk space for it."""
        self.state.seconds = self.stopwatch.seconds()
        average = self.average.to_arrays()
        saved = write_file(
            self.run.checkpoint, lambda: self.checkpoints.save(self.network, vars(self.state), average=average)
        )
        self._checkpoint_time = self.stopwatch.seconds()
        return saved

    def _save_network(self, file: Path) -> None:
        network = self.validation.inference_model()
        with atomic_path(file) as temporary:
            network.save(temporary)
