"""Tune test-time augmentation, threshold, hole filling and minimum component size on held-out images."""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path

from maskwright.errors import InputError
from maskwright.images.write import write_json
from maskwright.inference.bundle import Bundle
from maskwright.inference.ensemble import TUNING_FILE, TUNING_PAGE, check_compatible, write_ensemble
from maskwright.inference.load_predictor import load_predictor
from maskwright.report.page import write_report
from maskwright.training.run import Run
from maskwright.training.score_run import score_run
from maskwright.tune.compare_networks import compare_networks
from maskwright.tune.held_out import HeldOutPredictions, NetworkOfRun, held_out_images, predict_held_out
from maskwright.tune.options import common_transforms, tune_options
from maskwright.tune.result import TriedOption, TuningResult
from maskwright.tune.scoring import Mask, MaskScorer

Progress = Callable[[int, int], None]


def _no_progress(done: int, total: int) -> None:
    """Ignore the progress of prediction."""


class NothingToTune(InputError):
    """A folder without a finished run."""

    text = "{folder}: found {found}; expected a finished run, or a folder of finished runs written by `train --folds`."


def tune(folder: str | Path, *, seconds: float | None = None, progress: Progress = _no_progress) -> TuningResult:
    """Tune the run in ``folder``, or combine the runs in ``folder`` into an ensemble and tune the ensemble.

    Masks of each image are predicted only by the networks for which it was held out. An option that does not raise the
    score is turned off. For a single run, the tuned values are stored in the run's bundle, and the scores, validation
    masks and report are updated. For a folder of runs, an ensemble with a separate bundle is created. All scores are
    written to ``tuning.json``.

    Args:
        folder: Folder of a finished run, or folder of several finished runs.
        seconds: Time limit, in seconds, for the predictions for held-out images. If it is too short for all images,
            only some of the images are used. If None, there is no limit.
        progress: Function called with the number of finished images and the total.

    Raises:
        NothingToTune, NothingHeldOut: The folder contains no finished run, or the run has no validation images.
        WrongEnsemble: The runs differ in classes, channels or pixel type.
        InputError: An image or a mask cannot be read.
    """
    folder = Path(folder)
    networks = [NetworkOfRun(run.folder, run) for run in _finished_runs(folder)]
    if networks[0].folder != folder:
        return tune_ensemble(networks, folder, seconds=seconds, progress=progress)
    result = _tune_networks(networks, folder, seconds=seconds, progress=progress)
    for name in (TUNING_FILE, TUNING_PAGE):
        (folder / name).unlink(missing_ok=True)  # both files describe the bundle before tuning
    result.bundle.write(folder)
    _update_scores(networks[0].run)
    write_json(folder / TUNING_FILE, result.to_json())
    return result


def tune_ensemble(
    networks: Sequence[NetworkOfRun], out: Path, *, seconds: float | None = None, progress: Progress = _no_progress
) -> TuningResult:
    """Write an ensemble of the networks whose averaged predictions score best, and tune the ensemble.

    Args:
        networks: Networks, which may belong to different runs.
        out: Folder to which the ensemble is written.
        seconds: Time limit, in seconds, for the predictions for held-out images; see `tune`.
        progress: Function called with the number of finished images and the total.

    Raises:
        NothingHeldOut, WrongEnsemble, InputError: Raised under the same conditions as in `tune`.
    """
    check_compatible(out, [network.folder for network in networks])
    disk = next(parent for parent in (out.absolute(), *out.absolute().parents) if parent.is_dir())
    result = _tune_networks(networks, disk, seconds=seconds, progress=progress)
    write_ensemble(out, [network.folder for network in result.networks], result.bundle)
    write_json(out / TUNING_FILE, result.to_json())
    return result


def _tune_networks(
    networks: Sequence[NetworkOfRun],
    disk: Path,
    *,
    seconds: float | None,
    progress: Progress,
    tried: Sequence[TriedOption] = (),
) -> TuningResult:
    """Tune the mean of the predictions of all networks, or of fewer networks if their mean scores equally well.

    Args:
        networks: Networks whose predictions are to be averaged.
        disk: Existing folder on the disk on which the predictions are stored.
        seconds: Time limit, in seconds, for the predictions for held-out images.
        progress: Function called with the number of finished images and the total.
        tried: Options that were tried earlier and by which these networks were chosen.
    """
    start, first_run = time.monotonic(), networks[0].run
    bundle = _untuned(first_run.read_bundle())
    transforms_by_option = common_transforms([network.run.read_recipe() for network in networks])
    transforms = tuple(dict.fromkeys(chain.from_iterable(transforms_by_option.values())))
    images, validated = held_out_images(networks, variants=1 + len(transforms))
    are_shared = sum(len(network.pairs) for network in validated) > len(images)
    # If images were held out for several networks, some networks may be left out. The others then predict again.
    seconds_now = seconds / 2 if seconds and are_shared else seconds
    with HeldOutPredictions(images, transforms, bundle.outputs, folder=disk) as predicted:
        scorer = MaskScorer(predicted, bundle, first_run.read_recipe().training.monitor)
        masks: list[dict[int, Mask]] = [{} for _ in networks]
        for number, index, plain in predict_held_out(validated, predicted, seconds=seconds_now, progress=progress):
            masks[number][index] = bundle.decide(plain)
        same_images = all(network.pairs.keys() == validated[0].pairs.keys() for network in validated)
        options, kept = compare_networks(scorer, masks, same_images=same_images)
        tried = [*tried, *options]
        if len(kept) == len(networks):
            result = tune_options(scorer, transforms_by_option, tried)
            return replace(result, held_out_images=_count_held_out(networks), networks=tuple(networks))
    seconds_left = None if seconds is None else max(0.0, seconds - (time.monotonic() - start))
    fewer = [networks[number] for number in kept]
    return _tune_networks(fewer, disk, seconds=seconds_left, progress=progress, tried=tried)


def _count_held_out(networks: Sequence[NetworkOfRun]) -> int:
    return len({pair.image for network in networks for pair in network.run.read_split()["validation"]})


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


def _untuned(bundle: Bundle) -> Bundle:
    """Return a copy of the bundle with the values that it had after training, before any tuning."""
    return bundle.model_copy(update={"tta": (), "min_component_sizes": (), "fill_holes": False, "threshold": 0.5})


def _update_scores(run: Run) -> None:
    """Update the scores, validation masks and report of a run with the settings of the tuned bundle."""
    score_run(run, load_predictor(run.folder))
    write_report(run.folder)
