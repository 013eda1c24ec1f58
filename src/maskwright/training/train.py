"""Train a network from a recipe: prepare the data, run the training loop, and check and tune the saved network."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from maskwright.data.check import CheckReport
from maskwright.data.patches import Patches
from maskwright.images.contact_sheet import contact_sheet
from maskwright.images.overlay import to_display
from maskwright.images.write import atomic_path, write_image
from maskwright.inference.bundle import Bundle
from maskwright.inference.ensemble import remove_tuning_files
from maskwright.training.assemble import build_networks, build_patches, plan_of, prepare_data, validation_set
from maskwright.training.begin_or_resume import check_same_custom_parts, check_unfinished, is_resumed
from maskwright.training.custom import NO_CUSTOM_PARTS, CustomParts, record_custom_parts
from maskwright.training.data_warnings import write_data_warnings
from maskwright.training.devices import BatchShard, distributed, on_one_device
from maskwright.training.disk_full import write_or_raise
from maskwright.training.final_check import check_saved_network, run_facts
from maskwright.training.logs import logged
from maskwright.training.memory import fit_memory
from maskwright.training.plan import planned_seconds
from maskwright.training.precision import choose_precision
from maskwright.training.prepare import DataCheck, Prepared, check_data, new_images, prepare_resumed
from maskwright.training.recipe import Recipe
from maskwright.training.reporter import Reporter, SilentReporter
from maskwright.training.run import Run
from maskwright.training.run_lock import run_lock
from maskwright.training.run_records import write_facts
from maskwright.training.schedule import Stopwatch
from maskwright.training.setup import Networks, TrainingSetup
from maskwright.training.start_file import check_start_is_kept
from maskwright.training.start_from import start_of_resumed
from maskwright.training.step_rates import cached_rates, find_rates
from maskwright.training.step_work import StepRates
from maskwright.training.time_budget import BudgetTooShort
from maskwright.training.trainer import Trainer
from maskwright.training.tuner import Tuner, tuning_passes

_MIN_BUDGET_TO_MEASURE_SPEED: Final = 300.0  # seconds; measuring takes about ten seconds, once for each machine


@dataclass(frozen=True)
class _Session:
    """Custom parts, reporter, stopwatch, tuner and shard of each batch of one process that takes part in training."""

    custom: CustomParts
    reporter: Reporter
    stopwatch: Stopwatch
    shard: BatchShard
    tuner: Tuner | None


def train(
    recipe: Recipe,
    out: str | Path,
    *,
    overwrite: bool = False,
    custom: CustomParts = NO_CUSTOM_PARTS,
    reporter: Reporter | None = None,
    started: float | None = None,
    check: DataCheck = check_data,
    tuner: Tuner | None = None,
) -> Run:
    """Train with ``recipe`` and write the run to the folder ``out``.

    An unfinished run with the same recipe is resumed. Nothing is written before the data has been checked.

    Args:
        recipe: Settings for training.
        out: Folder of the run, new or empty.
        overwrite: Whether to replace an existing run.
        custom: Functions that replace parts of the recipe.
        reporter: Object that receives the progress. If absent, nothing is shown.
        started: Time at which the time budget starts, on the clock of `time.monotonic`. If absent, it starts with the
            call.
        check: Function that reads and checks the data.
        tuner: Object that tunes the saved network, such as `maskwright.tune.after_training.TuningAfterTraining`. If
            absent, the network is not tuned.

    Raises:
        OutputExists, OutputNotEmpty, RunInUse: ``out`` contains another run or other files, or is used by another
            process.
        UnusableData: The data has a fatal problem.
        LossNotFinite: Training diverged, even at lower learning rates.
        BudgetTooShort: The time budget leaves no time to train.
        NotEnoughMemory: Training needs more memory than the machine has.
        NoNetwork, OtherNetwork, ContradictsStart, UnsupportedNetwork, WrongRenaming: Training cannot start from the
            network that the recipe names.
        NoEncoder, FunctionMissing: The custom parts in ``custom`` do not fit the recipe.
        SavedIsNotTrained: The saved network's predictions differ from those of the trained network.
    """
    stopwatch = Stopwatch(time.monotonic() if started is None else started)
    reporter = reporter or SilentReporter()
    recipe = record_custom_parts(recipe, custom)
    check_start_is_kept(recipe, Path(out))
    with distributed(recipe.training, Path(out)) as (folder, shard):
        run, session = Run(folder), _Session(custom, reporter, stopwatch, shard, tuner)
        if is_resumed(run, recipe, overwrite=overwrite):
            _report_new_images(run, recipe, reporter)
            return _resume(run, session)
        return _begin(run, recipe, session, overwrite=overwrite, check=check)


def resume(
    out: str | Path,
    *,
    custom: CustomParts = NO_CUSTOM_PARTS,
    reporter: Reporter | None = None,
    started: float | None = None,
    tuner: Tuner | None = None,
) -> Run:
    """Resume the run in ``out`` from its last checkpoint, with the recipe of the run. The other arguments are described
    in `train`.

    Raises:
        NothingToResume: There is no run in ``out``, or the run is complete.
        OtherRecipe: The run was started with other custom parts.
        RunInUse: Another process is training in the folder.
        UnreadableCheckpoint: The last checkpoint and the previous one are both damaged.
        LossNotFinite, SavedIsNotTrained: Raised under the same conditions as in `train`.
    """
    stopwatch = Stopwatch(time.monotonic() if started is None else started)
    run = Run(Path(out))
    check_unfinished(run)
    with distributed(run.read_recipe().training, run.folder) as (folder, shard):
        return _resume(Run(folder), _Session(custom, reporter or SilentReporter(), stopwatch, shard, tuner))


def _begin(run: Run, recipe: Recipe, session: _Session, *, overwrite: bool, check: DataCheck) -> Run:
    """Prepare the data, write the first files of a new run and train."""
    prepared, report = prepare_data(
        recipe, rates=lambda: speed_of_machine(recipe), progress=session.reporter.reading, check=check
    )
    networks = build_networks(prepared, session.custom)
    prepared = fit_memory(prepared, networks.training)
    with run_lock(run.folder):
        # Another process may have trained in the folder while the data was read; its unfinished run is replaced.
        is_resumed(run, recipe, overwrite=overwrite)
        reasons = {decision.field: decision.reason for decision in prepared.decisions}
        run.begin(prepared.recipe.to_yaml(reasons=reasons), requested=recipe.to_yaml())
        write_data_warnings(run.data_warnings, report.warnings)
        if prepared.recipe.network.start_file is not None:
            _write_start_network(run, networks)
        run.write_split(train=prepared.train, validation=prepared.validation)
        prepared.bundle.write(run.folder)
        return _train(run, prepared, networks, session, report=report)


def _resume(run: Run, session: _Session) -> Run:
    """Resume an unfinished run from its last checkpoint."""
    prepared = start_of_resumed(run, prepare_resumed(run))
    check_same_custom_parts(run.folder, prepared.recipe, session.custom)
    with run_lock(run.folder):
        # A checkpoint contains all weights, so the pretrained weights need not be available any more.
        networks = build_networks(prepared, session.custom, pretrained=not run.has_checkpoint)
        remove_tuning_files(run.folder)
        prepared.bundle.write(run.folder)
        return _train(run, prepared, networks, session, report=None)


def _train(run: Run, prepared: Prepared, networks: Networks, session: _Session, *, report: CheckReport | None) -> Run:
    """Run the training loop, check the saved network and write the results."""
    reporter, callback, recipe = session.reporter, session.custom.callback, prepared.recipe
    if session.shard.index:  # only the first process reports and logs
        reporter, callback, recipe = SilentReporter(), None, recipe.changed("training", log=())
    run.remove_incomplete_writes()
    run.report.unlink(missing_ok=True)  # the presence of the report marks a complete run
    patches = build_patches(prepared, session.custom)
    _write_contact_sheet(run.contact_sheet, patches, prepared.bundle)
    warnings_file = run.data_warnings if run.data_warnings.is_file() else None
    tuner = session.tuner if recipe.training.tune else None
    passes = tuning_passes(tuner, recipe, len(prepared.validation))
    plan = plan_of(
        run,
        prepared,
        networks,
        patches,
        report,
        seconds=session.stopwatch.seconds(),
        rates=None if run.has_checkpoint else cached_rates(networks.precision),  # a resumed run is not forecast
        tuning_passes=passes,
        warnings_file=warnings_file,
    )
    reporter.plan(plan)
    setup = TrainingSetup(
        run=run,
        recipe=recipe.training,
        bundle=prepared.bundle,
        networks=networks,
        patches=patches,
        validation_set=validation_set(prepared),
        stopwatch=session.stopwatch,
        reporter=reporter,
        shard=session.shard,
        step_times=plan.cost.times,
        tuning_passes=passes,
        is_custom=any(prepared.recipe.custom_parts.values()),
    )
    trainer = Trainer(setup)
    trainer.resume()
    with logged(run, recipe, first=trainer.state.step + 1, report=reporter.report) as log:
        try:
            outcome = trainer.fit(on_epoch=[log] if callback is None else [log, callback])
        except BudgetTooShort:
            run.discard()
            raise
    scores = check_saved_network(setup, outcome, tuner=tuner)
    reporter.verified(scores)
    write_facts(run.facts, run_facts(setup, outcome, scores))
    return run


def speed_of_machine(recipe: Recipe) -> StepRates | None:
    """Return the speed of this machine, which is measured only if the time budget is long; None if it is not known."""
    precision, seconds = choose_precision(recipe.training.precision), planned_seconds(recipe)
    is_long = seconds is not None and seconds >= _MIN_BUDGET_TO_MEASURE_SPEED
    with on_one_device():
        return find_rates(precision) if is_long else cached_rates(precision)


def _report_new_images(run: Run, recipe: Recipe, reporter: Reporter) -> None:
    """Report images that were added to the folders after the run began; they are not used in the resumed run."""
    if added := new_images(run, recipe.data):
        images = "1 image that was" if len(added) == 1 else f"{len(added)} images that were"
        reporter.report(
            f"Resuming without {images} added since the run began, such as {added[0]}. "
            "To use all images, start again with --overwrite."
        )


def _write_start_network(run: Run, networks: Networks) -> None:
    """Write the network before the first step, so that its file is not needed when the run is resumed."""

    def write() -> None:
        run.start_network.parent.mkdir(exist_ok=True)
        with atomic_path(run.start_network) as temporary:
            networks.build_inference_model().save(temporary)

    write_or_raise(run.start_network, write)


def _write_contact_sheet(file: Path, patches: Patches, bundle: Bundle) -> None:
    """Write the first batch, as the network receives it, to an image file, which reveals wrong pairs and shifted
    masks."""
    images, masks = patches.augmented(0)
    shown = np.stack([to_display((image * 255).round().astype(np.uint8)) for image in images])
    write_image(file, contact_sheet(shown, masks, bundle.labels), effort=1)
