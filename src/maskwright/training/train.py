"""One training from beginning to end: prepare, fit, save, and prove that what was saved is what was trained."""

import os
import platform
import shlex
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from maskwright.data.augment import Augmentation, Geometry, Light
from maskwright.data.check import Report
from maskwright.data.pairs import Pair, spread
from maskwright.data.patches import PairReader, Patches
from maskwright.errors import InputError
from maskwright.framework import no_gc
from maskwright.images.contact_sheet import contact_sheet
from maskwright.images.overlay import to_display
from maskwright.images.write import write_image, write_mask, write_text
from maskwright.inference.engines.engine import Engine, open_engine
from maskwright.inference.predict_image import prepared_size
from maskwright.losses.catalogue import SORTING, loss_of_words
from maskwright.metrics.scores import Scores
from maskwright.networks.auxiliary_outputs import mask_only
from maskwright.rewrite.for_training import rewrite_for_training
from maskwright.training.cost import estimate_cost
from maskwright.training.custom import NOTHING, FunctionMissing, Own, OwnLoss, refuse_encoder
from maskwright.training.devices import Part, on_one_device, shared_out
from maskwright.training.evaluate import Evaluation, evaluate_pairs
from maskwright.training.find_lr import STEPS, Curve, try_rates
from maskwright.training.logs import logged
from maskwright.training.network import (
    Precision,
    build_network,
    choose_precision,
    compile_for_training,
    dtype_policy,
    encoder_layers,
    encoder_pixels,
    targets,
)
from maskwright.training.plan import patch_for
from maskwright.training.prepare import (
    Check,
    Prepared,
    ScanProgress,
    came_since,
    check_data,
    prepare,
    prepared_before,
)
from maskwright.training.recipe import NetworkRecipe, Recipe
from maskwright.training.reporter import Narrator, Plan, Silent
from maskwright.training.run import OtherRecipe, Run
from maskwright.training.run_records import RunFacts, write_facts, write_scores
from maskwright.training.run_lock import alone
from maskwright.training.schedule import Stopwatch, patch_size
from maskwright.training.time_budget import BudgetTooShort
from maskwright.training.train_step import Step, step_of
from maskwright.training.trainer import Outcome, Trainer
from maskwright.training.validation import thinned

# Of a probability: two float32 evaluations of one network agree to rounding; more is another network.
_TOLERANCE = 1e-3
_RECORDED = {  # the recipe's fields for what a user brings
    "loss": ("training", "custom_loss"),
    "network": ("network", "custom"),
    "augmentation": ("augmentation", "custom"),
}


class SavedIsNotTrained(InputError):
    """The saved run does not answer as the network that was trained."""

    text = (
        "{run}: the saved network answers otherwise than the trained one, by up to {difference:.2g} of a probability. "
        "Do not use this run; please report it."
    )


def train(
    recipe: Recipe,
    out: str | Path,
    *,
    overwrite: bool = False,
    own: Own = NOTHING,
    narrator: Narrator | None = None,
    started: float | None = None,
    check: Check = check_data,
) -> Run:
    """Train as ``recipe`` says, into the folder ``out``. Nothing is written before the data has been found usable.

    A run in ``out`` that was begun with the same recipe and did not come to its end is gone on with, as by `resume`.

    Args:
        recipe: Everything the training depends on.
        out: The run's folder, new or empty.
        overwrite: Replace a run that is there already.
        own: What the user brings in place of the recipe's.
        narrator: What is told of the progress.
        started: When the command began, on the clock of `time.monotonic`; a time budget counts from there.
        check: What reads and checks the data.

    Raises:
        OutputHoldsARun, OutputNotEmpty, RunInUse: ``out`` cannot be used.
        UnusableData: The data has a fatal fault.
        LossNotFinite: The training diverged, and did so again at lower learning rates.
        BudgetTooShort: The time budget leaves none to learn in.
        NoEncoder, FunctionMissing: ``own`` does not go with the recipe.
        SavedIsNotTrained: The saved run does not answer as the trained network.
    """
    stopwatch = Stopwatch(time.monotonic() if started is None else started)
    narrator = narrator or Silent()
    asked = recipe_with(recipe, own)
    with shared_out(recipe.training, Path(out)) as (folder, part):
        again = not overwrite and Run(folder).is_unfinished(asked)
        if again and Run(folder).is_begun:
            if new := came_since(Run(folder), recipe.data):
                narrator.say(
                    f"Goes on without images that came since it began: {len(new)}, such as {new[0]}. To train on them "
                    "too, begin anew with --overwrite."
                )
            return _go_on(folder, part, own, narrator, stopwatch)
        run = Run.planned(folder, overwrite=overwrite or again)
        prepared, report = _prepare(recipe, own, narrator.reading, check)
        networks = _build_networks(prepared, prepared.recipe.network, own)
        reasons = {decision.field: decision.reason for decision in prepared.decisions}
        with alone(run.folder):
            # Looked at once more: while the data was read, another process may have trained here.
            Run.planned(folder, overwrite=overwrite or run.is_unfinished(asked))
            run.begin(prepared.recipe.to_yaml(reasons=reasons), asked=asked.to_yaml())
            run.write_split(train=prepared.train, validation=prepared.validation)
            prepared.bundle.write(run.folder, write_text)
            return _train(run, prepared, networks, own, narrator, stopwatch, part, report=report)


def explain(
    recipe: Recipe,
    out: str | Path,
    *,
    own: Own = NOTHING,
    progress: ScanProgress | None = None,
) -> Plan:
    """What `train` would do, why, and what it would take on this machine; nothing is trained, written or downloaded.

    Args:
        recipe: As of `train`, and so is ``own``.
        out: The folder that the plan names; it is not looked at.
        progress: Called with the pairs that were read and all there are.

    Raises:
        UnusableData: The data has a fatal fault.
    """
    prepared, report = _prepare(recipe, own, progress)
    networks = _build_networks(prepared, prepared.recipe.network.model_copy(update={"encoder_weights": None}), own)
    return _plan(Run(Path(out)), prepared, networks, _build_patches(prepared, own.augment()), report)


def find_rate(
    recipe: Recipe,
    *,
    own: Own = NOTHING,
    steps: int = STEPS,
    reading: ScanProgress | None = None,
    watch: Callable[[int, int], None] = lambda done, total: None,
) -> Curve:
    """The loss at rising learning rates, of the training that ``recipe`` describes; nothing is written.

    Args:
        recipe: As of `train`; patches have the size that they have at the beginning of a run.
        own: As of `train`.
        steps: The most steps to take.
        reading: Called with the pairs that were read and all there are.
        watch: Called with the steps taken and all there are.

    Raises:
        UnusableData: The data has a fatal fault.
    """
    prepared, _ = _prepare(recipe, own, reading)
    networks = _build_networks(prepared, prepared.recipe.network, own)
    patches, training = _build_patches(prepared, own.augment()), prepared.recipe.training
    learn = step_of(networks.learning)
    optimizer = networks.learning.optimizer
    optimizer.encoder_rate.assign(training.encoder_lr_multiplier)

    def step(images: Any, masks: Any) -> float:
        return learn(images, targets(networks.learning, masks))

    def set_rate(rate: float) -> None:
        optimizer.learning_rate = rate

    first = patch_size(0.0, patch=patches.patch, resize=training.progressive_resize)
    with closing(patches.stream(0, size=lambda _: first)) as batches:
        return try_rates(step, set_rate, batches, steps=steps, watch=watch)


def resume(
    out: str | Path,
    *,
    own: Own = NOTHING,
    narrator: Narrator | None = None,
    started: float | None = None,
) -> Run:
    """Go on with the run in ``out`` from its last checkpoint, as its own recipe says; arguments as of `train`.

    Raises:
        NothingToResume: There is no run, or it is complete.
        OtherRecipe: The run was started with other functions of the user's own.
        RunInUse: Another process is training there.
        UnreadableCheckpoint: The checkpoint is damaged, and so is the one before it.
        LossNotFinite, SavedIsNotTrained: As `train` does.
    """
    stopwatch = Stopwatch(time.monotonic() if started is None else started)
    training = Run.interrupted(out).read_recipe().training
    with shared_out(training, Path(out)) as (folder, part):
        return _go_on(folder, part, own, narrator or Silent(), stopwatch)


def _go_on(folder: Path, part: Part, own: Own, narrator: Narrator, stopwatch: Stopwatch) -> Run:
    """Train on from the last checkpoint in ``folder``."""
    run = Run.interrupted(folder)
    prepared = prepared_before(run)
    for field, before in _recorded(prepared.recipe).items():
        if before != own.name(field):
            found = f"{field} {own.name(field) or 'of the recipe'}, not {before or 'of the recipe'}"
            raise OtherRecipe(folder=folder, found=found)
    with alone(run.folder):
        # All weights are in the checkpoint; those the encoder began with need not be there any more.
        begun = {"encoder_weights": None} if run.has_checkpoint else {}
        networks = _build_networks(prepared, prepared.recipe.network.model_copy(update=begun), own)
        return _train(run, prepared, networks, own, narrator, stopwatch, part, report=None)


def _prepare(
    recipe: Recipe, own: Own, progress: ScanProgress | None, check: Check = check_data
) -> tuple[Prepared, Report]:
    prepared, report = prepare(recipe_with(recipe, own), progress=progress, check=check)
    if prepared.recipe.data.normalisation == "encoder":
        prepared = replace(prepared, bundle=encoder_pixels(prepared.recipe.network, prepared.bundle))
    return prepared, report


def _plan(run: Run, prepared: Prepared, networks: "_Networks", patches: Patches, report: Report | None) -> Plan:
    training = prepared.recipe.training
    cost = estimate_cost(
        networks.learning, patch=patches.patch, batch_size=training.batch_size, cache_bytes=prepared.cache_bytes
    )
    steps = training.epochs and training.epochs * patches.steps_per_epoch
    return Plan(prepared, report, cost, precision=networks.precision, steps=steps, run=run)


def recipe_with(recipe: Recipe, own: Own) -> Recipe:
    """The recipe with all that was given beside it.

    Raises:
        FunctionMissing: The recipe is of a training with functions that are not given.
        NoEncoder: It asks something of the encoder, and the network is the user's own.
    """
    if own.network is not None:
        refuse_encoder(recipe)
    for field, name in _recorded(recipe).items():
        if name is not None and name != own.name(field):
            raise FunctionMissing(field=field, found=own.name(field) or "the recipe's own", expected=name)
    for field, (section, name) in _RECORDED.items():
        recipe = recipe.changed(section, **{name: own.name(field)})
    return recipe


def _recorded(recipe: Recipe) -> dict[str, str | None]:
    """What of the user's own a recipe was trained with, by field."""
    return {field: getattr(getattr(recipe, section), name) for field, (section, name) in _RECORDED.items()}


@dataclass(frozen=True)
class _Networks:
    """The network that learns, and what makes its float32 twin, which is what is saved; ``order`` is of its layers.

    ``late`` makes it learn from the recipe's late loss from now on, and gives the step that does.
    """

    learning: keras.Model
    order: Sequence[str]
    twin: Callable[[], keras.Model]
    precision: Precision
    late: Callable[[], Step]


@no_gc()
def _build_networks(prepared: Prepared, recipe: NetworkRecipe, own: Own = NOTHING) -> _Networks:
    training, bundle = prepared.recipe.training, prepared.bundle
    keras.utils.set_random_seed(training.seed)
    precision = choose_precision(training.precision)
    if own.network is not None:
        with dtype_policy(precision):
            plain = own.build(bundle)
    else:
        plain = build_network(recipe, bundle, precision=precision, learning=True)
    learning = rewrite_for_training(plain)
    slower = training.encoder_lr_multiplier < 1 or training.freeze_encoder_until > 0
    encoder = encoder_layers(recipe, bundle) if slower and own.network is None else ()
    loss = None if own.loss is None else OwnLoss(own.loss)
    compile_for_training(learning, training, bundle, encoder=encoder, loss=loss)
    if training.final_loss is not None:
        loss_of_words(training.final_loss.loss, channels=bundle.outputs)  # known before hours have gone by
    twin = partial(build_network, recipe, bundle) if own.network is None else partial(own.build, bundle)

    def late() -> Step:
        words = training.final_loss.loss if training.final_loss else training.loss
        then = training.model_copy(update={"loss": words})
        compile_for_training(learning, then, bundle, optimizer=learning.optimizer)
        return step_of(learning, fuse_loss=not SORTING & words.keys())

    return _Networks(learning, [layer.name for layer in mask_only(plain).layers], twin, precision, late)


def _build_patches(prepared: Prepared, augmentation: Augmentation | None) -> Patches:
    training, drawn = prepared.recipe.training, prepared.recipe.augmentation
    if augmentation is None:
        geometry = Geometry(flip=drawn.flip, zoom=drawn.zoom, rotation=drawn.rotation)
        augmentation = Light(brightness=drawn.brightness, contrast=drawn.contrast)
    else:
        geometry = Geometry()
    return Patches(
        PairReader(
            prepared.train,
            channels=prepared.bundle.channels,
            mask_values=prepared.mask_values,
            cache_bytes=prepared.cache_bytes,
        ),
        sizes=prepared.train_sizes,
        patch=training.patch_size or patch_for(prepared.train_sizes),
        batch_size=training.batch_size,
        seed=training.seed,
        normalisation=prepared.bundle.normalisation,
        augmentation=augmentation,
        geometry=geometry,
        foreground=training.foreground_oversampling,
        scale=prepared.bundle.scale,
        position=prepared.bundle.position,
    )


def _train(
    run: Run,
    prepared: Prepared,
    networks: _Networks,
    own: Own,
    narrator: Narrator,
    stopwatch: Stopwatch,
    part: Part,
    *,
    report: Report | None,
) -> Run:
    training = prepared.recipe.training
    if part.index:  # one process tells, calls and logs for all
        narrator, own = Silent(), replace(own, callback=None)
        prepared = replace(prepared, recipe=prepared.recipe.changed("training", log=()))
    run.tidy()
    run.report.unlink(missing_ok=True)  # of an earlier sitting; it is what tells that a run is complete
    patches = _build_patches(prepared, own.augment())
    _write_contact_sheet(run, prepared, patches)
    narrator.plan(_plan(run, prepared, networks, patches, report))
    trainer = Trainer(
        networks.learning,
        networks.twin,
        bundle=prepared.bundle,
        order=networks.order,
        patches=patches,
        validate=lambda engine, images: _evaluate(engine, prepared, spread(prepared.validation, images)),
        validation_sizes=[prepared_size(prepared.bundle, size) for size in prepared.validation_sizes],
        run=run,
        part=part,
        recipe=training,
        precision=networks.precision,
        fuse_loss=own.loss is None and not SORTING & training.loss.keys(),
        late=None if own.loss is not None or training.final_loss is None else networks.late,
        stopwatch=stopwatch,
        say=narrator.say,
    )
    trainer.resume()

    with logged(run, prepared.recipe, first=trainer.state.step + 1, say=narrator.say) as log:

        def epoch_done(row: Mapping[str, Any]) -> None:
            narrator.epoch(row)
            log(row)
            if own.callback is not None:
                own.callback(dict(row))

        try:
            outcome = trainer.fit(narrator.step, epoch_done)
        except BudgetTooShort:
            run.discard()
            raise
    with on_one_device():
        scores = _verify(run, prepared, patches, answered=outcome.state.best_answer)
    narrator.verified(scores)
    write_facts(run.facts, _facts(networks, outcome, scores, prepared, seconds=stopwatch.seconds()))
    return run


def _evaluate(
    engine: Engine,
    prepared: Prepared,
    pairs: Sequence[Pair],
    *,
    seen: Callable[[Pair, NDArray[np.uint8] | None], None] | None = None,
) -> Evaluation:
    """Scores on validation pairs; they were checked, so one that fails now was changed meanwhile."""
    options = {} if seen is None else {"seen": seen}
    evaluation = evaluate_pairs(engine, pairs, mask_values=prepared.mask_values, **options)
    for failure in evaluation.failures:
        raise failure
    return evaluation


def _verify(run: Run, prepared: Prepared, patches: Patches, *, answered: Sequence[float]) -> Scores:
    """Open the run as any later command will, see that it answers as before, and predict as `predict` will."""
    engine = open_engine(run.folder)
    again = thinned(engine(patches.plain(0)[:1]))
    difference = float(np.abs(np.subtract(again, answered)).max())
    if not difference <= _TOLERANCE:
        raise SavedIsNotTrained(run=run.folder, difference=difference)

    def keep(pair: Pair, indices: NDArray[np.uint8] | None) -> None:
        if indices is not None:
            write_mask(run.validation / f"{pair.name}.png", engine.bundle.values(indices))

    evaluation = _evaluate(engine, prepared, prepared.validation, seen=keep)
    write_scores(run.scores, evaluation.record())
    return evaluation.scores


def _write_contact_sheet(run: Run, prepared: Prepared, patches: Patches) -> None:
    """The first batch as the network will see it, so that a wrong pairing or a shifted mask shows at a glance."""
    images, masks = patches.augmented(0)
    shown = np.stack([to_display((image * 255).round().astype(np.uint8)) for image in images])
    write_image(run.contact_sheet, contact_sheet(shown, masks, prepared.bundle.labels), effort=1)


def _facts(
    networks: _Networks, outcome: Outcome, scores: Scores, prepared: Prepared, *, seconds: float
) -> RunFacts:
    """Return the content of ``run.json``."""
    some, every = outcome.state.looked_at, len(prepared.validation)
    backend = keras.backend.backend()
    return RunFacts(
        command=shlex.join(["maskwright", *sys.argv[1:]]),
        stopped_by=outcome.stopped_by,
        seconds=round(seconds, 1),
        steps=outcome.state.step,
        best_step=outcome.state.best_step,
        nan_recoveries=tuple(outcome.state.went_back),
        intermediate_validation=f"{some} of {every} images" if some < every else None,
        validation_mean_iou=scores.mean_iou,
        validation_pixel_accuracy=scores.pixel_accuracy,
        parameters=networks.learning.count_params(),
        precision=networks.precision,
        backend=backend,
        versions={
            "maskwright": version("maskwright"),
            "keras": keras.__version__,
            backend: sys.modules[backend].__version__,
            "python": platform.python_version(),
        },
        machine=f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
    )
