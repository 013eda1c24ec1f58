"""Tune test-time augmentation, threshold, hole filling and minimum component size on held-out images."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Final

from maskwright.errors import InputError
from maskwright.inference.engines.engine import open_engine
from maskwright.inference.ensemble import check_compatible, write_ensemble
from maskwright.report.page import write_report
from maskwright.training.run import Run
from maskwright.training.tuning_record import TriedOption
from maskwright.tune.compare_networks import compare_networks
from maskwright.tune.halves import MIN_IMAGES, frame_groups
from maskwright.tune.held_out import HeldOutPredictions, NetworkOfRun, held_out_images, predict_held_out
from maskwright.tune.options import common_transforms, tune_options
from maskwright.tune.page import write_tuning
from maskwright.tune.result import TuningResult
from maskwright.tune.scoring import Mask, MaskScorer
from maskwright.tune.time_limit import TimeLimit
from maskwright.tune.tune_run import Progress, tune_run

_PREDICTION_FRACTION: Final = 0.8  # maximum fraction of the time that is used for predictions


def _no_progress(done: int, total: int) -> None:
    """Ignore the progress of prediction."""


class NothingToTune(InputError):
    """A folder without a finished run."""

    text = "{folder}: found {found}; expected a finished run, or a folder of finished runs written by `train --folds`."


def tune(folder: str | Path, *, seconds: float | None = None, progress: Progress = _no_progress) -> TuningResult:
    """Tune the run in ``folder``, or combine the runs in ``folder`` into an ensemble and tune the ensemble.

    Masks of each image are predicted only by the networks for which it was held out. Values are chosen on one half of
    the images, and an option that does not increase the scores of both halves is turned off. For a single run, the
    tuned values are stored in the run's bundle, and the scores, validation masks and report are updated. For a folder
    of runs, an ensemble with a separate bundle is created. All scores are written to ``tuning.json`` and
    ``tuning.html``.

    Args:
        folder: Folder of a finished run, or folder of several finished runs.
        seconds: Time limit in seconds. If it is too short, options are left out, or only some of the images are used.
            All images are predicted once by a single run in any case. If None, there is no limit.
        progress: Function called with the number of finished images and the total.

    Raises:
        NothingToTune, NothingHeldOut: The folder contains no finished run, or the run has no validation images.
        WrongEnsemble: The runs differ in classes, channels or pixel type.
        InputError: An image or a mask cannot be read.
    """
    folder = Path(folder)
    runs = _finished_runs(folder)
    if runs[0].folder != folder:
        return tune_ensemble(
            [NetworkOfRun(run.folder, run) for run in runs], folder, seconds=seconds, progress=progress
        )
    result, _ = tune_run(runs[0], open_engine(folder), limit=TimeLimit.of(seconds), progress=progress)
    write_report(folder)
    return result


def tune_ensemble(
    networks: Sequence[NetworkOfRun], out: Path, *, seconds: float | None = None, progress: Progress = _no_progress
) -> TuningResult:
    """Write an ensemble of the networks whose averaged predictions score best, and tune the ensemble.

    Args:
        networks: Networks, which may belong to different runs.
        out: Folder to which the ensemble is written.
        seconds: Time limit, in seconds. If it is too short for all images, each network predicts as many as possible,
            and at least one batch. If None, there is no limit.
        progress: Function called with the number of finished images and the total.

    Raises:
        NothingHeldOut, WrongEnsemble, InputError: Raised under the same conditions as in `tune`.
    """
    check_compatible(out, [network.folder for network in networks])
    disk = next(parent for parent in (out.absolute(), *out.absolute().parents) if parent.is_dir())
    result = _tune_networks(networks, disk, limit=TimeLimit.of(seconds), progress=progress)
    write_ensemble(out, [network.folder for network in result.networks], result.bundle)
    write_tuning(result, out)
    return result


def _tune_networks(
    networks: Sequence[NetworkOfRun],
    disk: Path,
    *,
    limit: TimeLimit,
    progress: Progress,
    tried: Sequence[TriedOption] = (),
) -> TuningResult:
    """Tune the mean of the predictions of all networks, or of fewer networks if more do not improve the score.

    Args:
        networks: Networks whose predictions are to be averaged.
        disk: Existing folder on the disk on which the predictions are stored.
        limit: Time limit.
        progress: Function called with the number of finished images and the total.
        tried: Options that were tried earlier and by which these networks were chosen.
    """
    runs = [network.run for network in networks]
    bundle = runs[0].read_bundle().untuned()
    result = TuningResult.untuned(bundle, networks)
    transforms_by_option = common_transforms([run.read_recipe() for run in runs])
    transforms = tuple(dict.fromkeys(chain.from_iterable(transforms_by_option.values())))
    images, validated = held_out_images(networks, variants=1 + len(transforms), folder=disk)
    if len(images) < MIN_IMAGES:
        return result.without_tuning(len(images))
    are_shared = sum(len(network.pairs) for network in validated) > len(images)
    # If images were held out for several networks, some networks may be left out. The others then predict again.
    fraction = _PREDICTION_FRACTION / 2 if are_shared else _PREDICTION_FRACTION
    with HeldOutPredictions(images, transforms, bundle.outputs, folder=disk) as predicted:
        masks: list[dict[int, Mask]] = [{} for _ in networks]
        seconds = fraction * limit.left()
        for number, index, plain in predict_held_out(validated, predicted, seconds=seconds, progress=progress):
            masks[number][index] = bundle.decide(plain)
        scorer = MaskScorer(predicted, bundle, result.monitor, groups=frame_groups(runs))
        same_images = all(network.pairs.keys() == validated[0].pairs.keys() for network in validated)
        options, kept = compare_networks(scorer, masks, same_images=same_images)
        result = replace(result, options=(*tried, *options))
        if len(kept) == len(networks):
            return tune_options(scorer, result, transforms_by_option, limit=limit)
    fewer = [networks[number] for number in kept]
    return _tune_networks(fewer, disk, limit=limit, progress=progress, tried=result.options)


def _finished_runs(folder: Path) -> list[Run]:
    """Return the run in ``folder``, or the finished runs directly below it."""
    if Run(folder).exists:
        runs = [Run(folder)]
    else:
        below = sorted(folder.iterdir()) if folder.is_dir() else []
        runs = [run for run in map(Run, below) if run.exists]
    if not runs:
        raise NothingToTune(folder=folder, found="no run")
    if unfinished := [run.folder.name for run in runs if not run.is_complete]:
        raise NothingToTune(folder=folder, found=f"unfinished runs: {', '.join(unfinished[:5])}")
    return runs
