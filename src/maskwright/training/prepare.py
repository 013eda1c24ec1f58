"""Prepare for training: read and check the data, split it, and complete the recipe."""

import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from maskwright.data.check import CheckReport, ScannedSet, check
from maskwright.data.fingerprint import fingerprint
from maskwright.data.grouping import Groups, identical_groups, infer_groups
from maskwright.data.mask_values import MaskValues, parse_mask_values
from maskwright.data.pairs import Pair, pair_folders
from maskwright.data.problems import with_file_names
from maskwright.data.propose_mask_values import object_mask_values
from maskwright.data.scan import ScannedPair, scan
from maskwright.data.split import folds, mask_coverage, split
from maskwright.data.strata import read_strata
from maskwright.errors import InputError
from maskwright.images.channels import to_channels
from maskwright.images.normalise import Normalisation
from maskwright.images.read import image_size, read_image
from maskwright.inference.bounded_pool import BoundedPool
from maskwright.inference.bundle import Bundle
from maskwright.training.candidates import REFERENCE_RATES
from maskwright.training.plan import GIVEN, Decision, decisions_of_run, plan_recipe, split_decision
from maskwright.training.planning_rules import Facts
from maskwright.training.recipe import DataRecipe, Recipe
from maskwright.training.recipe_text import WrongRecipe
from maskwright.training.run import Run
from maskwright.training.step_work import StepRates

if TYPE_CHECKING:  # imports Keras, which is not needed to check data
    from maskwright.training.start_network import Start

_MAX_NORMALISATION_IMAGES: Final = 200
_MAX_READ_AHEAD_PIXELS: Final = 2**22  # while a larger image is processed, no other image is read
_MAX_CACHE_FRACTION: Final = 0.25  # fraction of the memory of the machine
_FALLBACK_MEMORY_BYTES: Final = 8 * 2**30

ScanProgress = Callable[[int, int], None]
"""Function called with the number of pairs read and the total number of pairs."""
CheckedData = tuple[CheckReport, ScannedSet, ScannedSet | None]


class DataCheck(Protocol):
    """Type of `check_data` and of functions that return the same result from another source."""

    def __call__(self, data: DataRecipe, *, progress: ScanProgress | None = None) -> CheckedData:
        """Check the data as described in `check_data`."""
        ...


class UnusableData(InputError):
    """Raised if the data has fatal problems."""

    text = "The data cannot be used for training:\n{problems}"


@dataclass(frozen=True)
class Prepared:
    """Complete recipe, decisions about its fields, and training and validation pairs; sizes are (height, width) in
    pixels."""

    recipe: Recipe
    bundle: Bundle
    mask_values: MaskValues
    train: tuple[Pair, ...]
    validation: tuple[Pair, ...]
    train_sizes: tuple[tuple[int, int], ...]
    validation_sizes: tuple[tuple[int, int], ...]
    decisions: tuple[Decision, ...]
    start: "Start | None" = None
    """Trained network from which training starts."""

    @property
    def cache_bytes(self) -> int:
        """Size of the cache of decoded training pairs in bytes; at most one quarter of the memory of the machine."""
        pixel_bytes = self.bundle.channels * max(np.dtype(kind).itemsize for kind in self.bundle.pixels) + 1
        needed = sum(height * width * pixel_bytes for height, width in self.train_sizes)
        return min(needed, int(_MAX_CACHE_FRACTION * machine_memory()))


def check_data(data: DataRecipe, *, progress: ScanProgress | None = None) -> CheckedData:
    """Pair, read and check the files in the folders of a recipe; return the report, the training set and the validation
    set.

    Raises:
        InputError: The folders cannot be paired, or the table of mask values is invalid.
    """
    given, classes, ignore = None, data.classes, data.ignore
    if data.mask_values is not None:
        given = parse_mask_values(data.mask_values)
    elif data.mask_kind == "objects":
        given, classes, ignore = object_mask_values(classes=classes, ignore=ignore), None, None
    train = _scan_folders(data.images, data.masks, data.mask_suffix, given, progress)
    validation = None
    if data.val_images is not None and data.val_masks is not None:
        validation = _scan_folders(data.val_images, data.val_masks, data.mask_suffix, given, progress)
    report = check(train, validation, mask_values=given, classes=classes, ignore=ignore, channels=data.channels)
    return report, train, validation


def prepare(
    recipe: Recipe,
    checked: CheckedData,
    *,
    rates: StepRates = REFERENCE_RATES,
    pretrained_backbone: str | None = None,
) -> tuple[Prepared, CheckReport]:
    """Split the data, and choose values for the unset fields of the recipe.

    Args:
        recipe: Recipe as given by the user.
        checked: Result of `check_data`.
        rates: Seconds that operations of a training step take on this machine.
        pretrained_backbone: Encoder whose pretrained weights were chosen, if the recipe does not name it.

    Raises:
        UnusableData: The data has fatal problems; the message lists all of them.
        WrongRecipe: ``training.monitor`` is not supported for the classes of the data.
    """
    report, train, validation = checked
    if report.fatal or report.mask_values is None or report.train.channels is None:
        raise UnusableData(
            problems="\n".join(f"- {with_file_names(problem.message, problem.files)}" for problem in report.fatal)
        )
    values = report.mask_values
    if validation is not None:
        sides = tuple(train.scanned), tuple(validation.scanned)
        split_choice = Decision("data.val_images", f"{len(validation.scanned)} images", GIVEN)
    else:
        groups = _group(train.scanned, recipe.data)
        sides = _split(train.scanned, values, groups, recipe)
        split_choice = split_decision(recipe, groups, [scanned.pair.name for scanned in sides[1]])
    train_pairs, validation_pairs = (tuple(scanned.pair for scanned in side) for side in sides)
    train_sizes, validation_sizes = (tuple(scanned.image.size for scanned in side if scanned.image) for side in sides)
    channels = recipe.data.channels or report.train.channels
    bundle = Bundle(
        channels=channels,
        pixels=report.train.dtypes,
        normalisation=_measure_normalisation(train_pairs, train_sizes, channels),
        labels=values.labels,
        activation="sigmoid" if values.channels == 1 else "softmax",
        scale=recipe.data.scale,
        coord_channels=recipe.data.coord_channels,
    )
    if recipe.training.monitor == "mean_precision" and bundle.activation != "sigmoid":
        problem = f"training.monitor: mean_precision needs one class and a background, not {len(values.labels)} classes"
        raise WrongRecipe(source="recipe", problems=problem)
    # The table of mask values already includes the values of the fields classes and ignore.
    complete = recipe.changed("data", mask_values=dict(values.classes_by_value), classes=None, ignore=None)
    found = fingerprint(sides[0], mask_values=values, normalisation=bundle.normalisation)
    complete, decisions = plan_recipe(complete, Facts(found.at_scale(bundle.scale), rates, pretrained_backbone))
    decisions = split_choice, *decisions
    return Prepared(
        complete, bundle, values, train_pairs, validation_pairs, train_sizes, validation_sizes, decisions
    ), report


def prepare_resumed(run: Run) -> Prepared:
    """Read the prepared data and recipe of an interrupted run from its files, without decoding any image.

    Tuned values, which a killed session may have written, are not used.

    Raises:
        InputError: A file of the run or an image in its split is missing or damaged.
    """
    recipe, bundle, sides = run.read_recipe(), run.read_bundle().untuned(), run.read_split()
    train, validation = tuple(sides["train"]), tuple(sides["validation"])
    train_sizes, validation_sizes = (tuple(image_size(pair.image) for pair in side) for side in (train, validation))
    values = parse_mask_values(recipe.data.mask_values or {})
    return Prepared(recipe, bundle, values, train, validation, train_sizes, validation_sizes, decisions_of_run(recipe))


def new_images(run: Run, data: DataRecipe) -> list[Path]:
    """Return the images in the folders of the recipe that have a mask but are not in the split of ``run``."""
    known = {pair.image for side in run.read_split().values() for pair in side}
    folders = [(data.images, data.masks), (data.val_images, data.val_masks)]
    try:
        pairings = [
            pair_folders(images, masks, mask_suffix=data.mask_suffix) for images, masks in folders if images and masks
        ]
    except InputError:  # missing files are reported when they are read
        return []
    return [pair.image for pairing in pairings for pair in pairing.pairs if pair.image not in known]


def _scan_folders(
    images: Path, masks: Path, mask_suffix: str, mask_values: MaskValues | None, progress: ScanProgress | None
) -> ScannedSet:
    pairing = pair_folders(images, masks, mask_suffix=mask_suffix)
    return ScannedSet(pairing, scan(pairing.pairs, mask_values=mask_values, progress=progress))


def _group(scanned: Sequence[ScannedPair], data: DataRecipe) -> Groups:
    """Group images that must stay on the same side of the split, as specified by ``grouping`` in the recipe."""
    images = {entry.pair.name: entry.image for entry in scanned if entry.image is not None}
    digests = {name: image.digest for name, image in images.items()}
    if data.grouping == "duplicates":
        return identical_groups(list(images), digests=digests)
    return infer_groups(
        list(images), digests=digests, hashes={name: image.perceptual_hash for name, image in images.items()}
    )


def _split(
    scanned: Sequence[ScannedPair], values: MaskValues, groups: Groups, recipe: Recipe
) -> tuple[tuple[ScannedPair, ...], tuple[ScannedPair, ...]]:
    """Split a set into training and validation pairs without splitting any group."""
    by_name = {entry.pair.name: entry for entry in scanned}
    mask_counts = {name: entry.mask.values for name, entry in by_name.items() if entry.mask is not None}
    coverage = mask_coverage(mask_counts, values)
    data, names = recipe.data, list(by_name)
    strata = None if data.strata is None else read_strata(data.strata)
    seed = recipe.training.seed if data.split_seed is None else data.split_seed
    if data.fold is None:
        train, validation = split(
            names, coverage, fraction=data.validation_fraction, seed=seed, groups=groups.of, strata=strata
        )
    else:
        fold, number = data.fold
        validation = folds(names, coverage, number=number, seed=seed, groups=groups.of, strata=strata)[fold - 1]
        train = sorted(set(names) - set(validation))
    return tuple(by_name[name] for name in train), tuple(by_name[name] for name in validation)


def _measure_normalisation(pairs: Sequence[Pair], sizes: Sequence[tuple[int, int]], channels: int) -> Normalisation:
    """Measure the normalisation on evenly spaced training images, which are read ahead by threads."""
    indices = np.unique(np.linspace(0, len(pairs) - 1, _MAX_NORMALISATION_IMAGES).round().astype(int))

    def read(index: int) -> NDArray[np.generic]:
        return to_channels(read_image(pairs[index].image), channels, file=pairs[index].image)

    with BoundedPool[NDArray[np.generic]](limit=_MAX_READ_AHEAD_PIXELS) as pool:
        return Normalisation.measure(pool.ahead(read, indices.tolist(), cost=lambda index: math.prod(sizes[index])))


def machine_memory() -> int:
    """Return the memory of this machine or container in bytes; 8 GiB if it is unknown."""
    try:
        installed = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return _FALLBACK_MEMORY_BYTES
    limit = Path("/sys/fs/cgroup/memory.max")
    text = limit.read_text(encoding="ascii").strip() if limit.is_file() else ""
    return min(installed, int(text)) if text.isdecimal() else installed
