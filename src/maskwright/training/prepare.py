"""From a recipe and folders to everything that is fixed before the first step; the data is read and checked here."""

import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from maskwright.data.check import Report, ScannedSet, check
from maskwright.data.fingerprint import fingerprint
from maskwright.data.grouping import Groups, guess_groups, identical_groups
from maskwright.data.mask_values import MaskValues, parse_mask_values
from maskwright.data.pairs import Pair, pair_folders
from maskwright.data.pixel_values import joined
from maskwright.data.problems import Problem
from maskwright.data.scan import Scanned, scan
from maskwright.data.split import folds, mask_coverage, split
from maskwright.data.strata import read_strata
from maskwright.errors import InputError
from maskwright.images.channels import to_channels
from maskwright.images.normalise import Normalisation
from maskwright.images.read import image_size, read_image
from maskwright.inference.bounded_pool import Crew
from maskwright.inference.bundle import Bundle
from maskwright.training.plan import GIVEN, Decision, as_begun, decide, split_decision
from maskwright.training.recipe import DataRecipe, Recipe, WrongRecipe
from maskwright.training.run import Run

_MEASURED_IMAGES = 200
_HELD_PIXELS = 2**22  # read and not yet measured; a larger image is held alone
_CACHE_SHARE = 0.25
_CACHE_FALLBACK = 2 * 2**30

ScanProgress = Callable[[int, int], None]
Checked = tuple[Report, ScannedSet, ScannedSet | None]


class Check(Protocol):
    """What `check_data` is, or has the same answer from elsewhere."""

    def __call__(self, data: DataRecipe, *, progress: ScanProgress | None = None) -> Checked:
        """See `check_data`."""
        ...


class UnusableData(InputError):
    """What the check found to be fatal."""

    text = "The data cannot be trained on:\n{problems}"


@dataclass(frozen=True)
class Prepared:
    """A recipe with every choice made and why, and the pairs it stands for; sizes are (height, width) in pixels."""

    recipe: Recipe
    bundle: Bundle
    mask_values: MaskValues
    train: tuple[Pair, ...]
    validation: tuple[Pair, ...]
    train_sizes: tuple[tuple[int, int], ...]
    validation_sizes: tuple[tuple[int, int], ...]
    decisions: tuple[Decision, ...]

    @property
    def cache_bytes(self) -> int:
        """Room for decoded training pairs: what they need, up to a quarter of this machine's memory."""
        width = self.bundle.channels * max(np.dtype(kind).itemsize for kind in self.bundle.pixels) + 1
        needed = sum(height * length * width for height, length in self.train_sizes)
        return min(needed, int(_CACHE_SHARE * machine_memory()))


def check_data(data: DataRecipe, *, progress: ScanProgress | None = None) -> Checked:
    """Pair, read and check the recipe's folders; the sets that were read come with the report.

    Raises:
        InputError: The folders cannot be paired, or the table of mask values not understood.
    """
    train = _scanned(data.images, data.masks, data.mask_suffix, progress)
    validation = None
    if data.val_images is not None and data.val_masks is not None:
        validation = _scanned(data.val_images, data.val_masks, data.mask_suffix, progress)
    given = None if data.mask_values is None else parse_mask_values(data.mask_values)
    report = check(
        train, validation, mask_values=given, classes=data.classes, ignore=data.ignore, channels=data.channels
    )
    return report, train, validation


def prepare(
    recipe: Recipe, *, progress: ScanProgress | None = None, check: Check = check_data
) -> tuple[Prepared, Report]:
    """Read and check the data, and decide by it what the recipe leaves open.

    Args:
        recipe: What is asked for.
        progress: Called with the pairs that were read and all there are.
        check: What reads and checks the data.

    Raises:
        UnusableData: The check found something fatal; every problem is named.
        InputError: The folders cannot be paired, or the table of mask values not understood.
    """
    report, train, validation = check(recipe.data, progress=progress)
    if report.fatal or report.proposed is None or report.train.channels is None:
        raise UnusableData(problems="\n".join(f"- {_with_files(problem)}" for problem in report.fatal))
    values = report.proposed
    if validation is not None:
        sides = tuple(train.scanned), tuple(validation.scanned)
        divided = Decision("data.val_images", f"{len(validation.scanned)} images", GIVEN)
    else:
        groups = _groups(train.scanned, recipe.data)
        sides = _split(train.scanned, values, groups, recipe)
        divided = split_decision(recipe, groups, [one.pair.name for one in sides[1]])
    train_pairs, validation_pairs = (tuple(one.pair for one in side) for side in sides)
    train_sizes, validation_sizes = (tuple(one.image.size for one in side if one.image) for side in sides)
    channels = recipe.data.channels or report.train.channels
    bundle = Bundle(
        channels=channels,
        pixels=report.train.dtypes,
        normalisation=_measured(train_pairs, train_sizes, channels),
        labels=values.labels,
        activation="sigmoid" if values.channels == 1 else "softmax",
        scale=recipe.data.scale,
        position=recipe.data.position,
    )
    if recipe.training.select == "mean_precision" and bundle.activation != "sigmoid":
        problem = (
            f"training.select: mean_precision is of one class and a background, not of {len(values.labels)} classes"
        )
        raise WrongRecipe(source="recipe", problems=problem)
    # From here on the words say it all: what was said with classes and ignore is in them.
    complete = recipe.changed("data", mask_values=dict(values.words), classes=None, ignore=None)
    found = fingerprint(sides[0], mask_values=values, normalisation=bundle.normalisation)
    complete, decisions = decide(complete, found.at_scale(bundle.scale))
    decisions = divided, *decisions
    return Prepared(
        complete, bundle, values, train_pairs, validation_pairs, train_sizes, validation_sizes, decisions
    ), report


def prepared_before(run: Run) -> Prepared:
    """What an interrupted run was started with; no image is decoded.

    Raises:
        InputError: A file of the run, or an image it was trained on, is gone or damaged.
    """
    recipe, bundle, sides = run.read_recipe(), Bundle.read(run.folder), run.read_split()
    train, validation = tuple(sides["train"]), tuple(sides["validation"])
    train_sizes, validation_sizes = (tuple(image_size(pair.image) for pair in side) for side in (train, validation))
    values = parse_mask_values(recipe.data.mask_values or {})
    return Prepared(recipe, bundle, values, train, validation, train_sizes, validation_sizes, as_begun(recipe))


def came_since(run: Run, data: DataRecipe) -> list[Path]:
    """Images in the recipe's folders that have a mask and were not there, or had none, when ``run`` began."""
    known = {pair.image for side in run.read_split().values() for pair in side}
    folders = [(data.images, data.masks), (data.val_images, data.val_masks)]
    try:
        pairings = [
            pair_folders(images, masks, mask_suffix=data.mask_suffix) for images, masks in folders if images and masks
        ]
    except InputError:  # what is gone is named where it is needed
        return []
    return [pair.image for pairing in pairings for pair in pairing.pairs if pair.image not in known]


def _with_files(problem: Problem) -> str:
    """The problem's message, and the files that have it where the message does not say."""
    unnamed = [str(file) for file in problem.files if str(file) not in problem.message]
    return f"{problem.message} In {joined(unnamed)}." if unnamed else problem.message


def _scanned(images: Path, masks: Path, mask_suffix: str, progress: ScanProgress | None) -> ScannedSet:
    pairing = pair_folders(images, masks, mask_suffix=mask_suffix)
    return ScannedSet(pairing, scan(pairing.pairs, progress=progress))


def _groups(scanned: Sequence[Scanned], data: DataRecipe) -> Groups:
    """Which images stay on one side, as the recipe says."""
    images = {one.pair.name: one.image for one in scanned if one.image is not None}
    digests = {name: image.digest for name, image in images.items()}
    if data.groups == "identical":
        return identical_groups(list(images), digests=digests)
    return guess_groups(list(images), digests=digests, looks={name: image.look for name, image in images.items()})


def _split(
    scanned: Sequence[Scanned], values: MaskValues, groups: Groups, recipe: Recipe
) -> tuple[tuple[Scanned, ...], tuple[Scanned, ...]]:
    """Both sides of one set; groups stay on one of them."""
    by_name = {one.pair.name: one for one in scanned}
    coverage = mask_coverage({name: one.mask.values for name, one in by_name.items() if one.mask is not None}, values)
    data, names = recipe.data, list(by_name)
    strata = None if data.strata is None else read_strata(data.strata)
    seed = recipe.training.seed if data.split_seed is None else data.split_seed
    if data.fold is None:
        train, validation = split(
            names, coverage, fraction=data.validation_share, seed=seed, groups=groups.of, strata=strata
        )
    else:
        place, number = data.fold
        validation = folds(names, coverage, number=number, seed=seed, groups=groups.of, strata=strata)[place - 1]
        train = sorted(set(names) - set(validation))
    return tuple(by_name[name] for name in train), tuple(by_name[name] for name in validation)


def _measured(pairs: Sequence[Pair], sizes: Sequence[tuple[int, int]], channels: int) -> Normalisation:
    """The normalisation of training images of ``sizes``, some spread evenly over the set, which threads read ahead."""
    places = np.unique(np.linspace(0, len(pairs) - 1, _MEASURED_IMAGES).round().astype(int))

    def read(place: int) -> NDArray[np.generic]:
        return to_channels(read_image(pairs[place].image), channels, file=pairs[place].image)

    with Crew[NDArray[np.generic]](limit=_HELD_PIXELS) as crew:
        return Normalisation.measure(crew.ahead(read, places.tolist(), cost=lambda place: math.prod(sizes[place])))


def machine_memory() -> int:
    """Bytes of memory this machine, or the container, has; a modest prediction where neither says."""
    try:
        installed = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return int(_CACHE_FALLBACK / _CACHE_SHARE)
    limit = Path("/sys/fs/cgroup/memory.max")
    text = limit.read_text(encoding="ascii").strip() if limit.is_file() else ""
    return min(installed, int(text)) if text.isdecimal() else installed
