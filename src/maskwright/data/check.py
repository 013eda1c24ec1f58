"""Everything wrong with a data set, found in one pass and said at once, before anything is trained on it."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from maskwright.data import problems as rules
from maskwright.data.mask_values import MOST_PROPOSED, MaskValues
from maskwright.data.pairs import Pairing
from maskwright.data.pixel_values import Value
from maskwright.data.problems import Problem
from maskwright.data.propose_mask_values import propose
from maskwright.data.scan import Scanned, masks_of
from maskwright.data.summary import Summary, summarise
from maskwright.errors import wrong_argument
from maskwright.images.errors import ImageFault


@dataclass(frozen=True, slots=True)
class ScannedSet:
    """The files of one set, paired and scanned."""

    pairing: Pairing
    scanned: Sequence[Scanned]


@dataclass(frozen=True, slots=True)
class Report:
    """What `check` found: the problems, fatal ones first, and the table of mask values.

    ``proposed`` is the table that was given, or else a prediction to confirm; None where no table fits the masks.
    """

    problems: tuple[Problem, ...]
    proposed: MaskValues | None
    train: Summary
    validation: Summary | None

    @property
    def fatal(self) -> list[Problem]:
        """The problems that training must not start with."""
        return [problem for problem in self.problems if problem.severity == "fatal"]

    @property
    def warnings(self) -> list[Problem]:
        """The problems to know of."""
        return [problem for problem in self.problems if problem.severity == "warning"]


def check(
    train: ScannedSet,
    validation: ScannedSet | None = None,
    *,
    mask_values: MaskValues | None = None,
    classes: int | Sequence[str] | None = None,
    ignore: Value | None = None,
    channels: int | None = None,
) -> Report:
    """Every problem of the files to train on and to validate with.

    Fatal are: files that cannot be read; a mask of another size than its image; channels that cannot be made equal
    without loss; float images beside integer ones; palette masks beside RGB masks; values that are no class, or
    classes of values that cannot be written. The rest are warnings. So is an image in both sets: its scores flatter,
    yet nothing breaks, and some train on their validation set on purpose.

    Args:
        train: The training files.
        validation: The validation files, where they are given and not drawn from the training files.
        mask_values: What the values stand for; without it, `propose` predictions from the masks of both sets.
        classes: How many classes there are or their names, for `propose`.
        ignore: The value that does not count, for `propose`.
        channels: What every image must have or, gray as it is, can be given; one number for all if absent.

    Raises:
        WrongArgument, WrongMaskTable: ``classes`` or ``ignore`` makes no sense, or comes beside ``mask_values``.
    """
    for argument, given in (("classes", classes), ("ignore", ignore)):
        if mask_values is not None and given is not None:
            raise wrong_argument(argument, given, expected="nothing beside mask_values, which already says it")
    sets = [train] if validation is None else [train, validation]
    everything = [one for each in sets for one in each.scanned]
    found = [problem for each in sets for problem in (*rules.unpaired(each.pairing), *rules.duplicates(each.scanned))]
    found += rules.channels(everything, wanted=channels)
    for rule in (rules.unreadable, rules.sizes, rules.dtypes, rules.mixed_masks, rules.palettes):
        found += rule(everything)
    if validation is not None:
        found += rules.leak(train.scanned, validation.scanned)

    masks = masks_of(everything)
    palette = {number: colour for mask in masks.values() for number, colour in mask.palette.items()}
    if mask_values is not None:
        mask_values = mask_values.with_palette(palette)
    elif masks:
        try:
            mask_values = propose(_total(everything), classes=classes, ignore=ignore, palette=palette)
        except ImageFault as error:
            found.append(_no_table(error, everything))
    if mask_values is not None:
        found += [*rules.strange_values(everything, mask_values), *rules.constant_masks(everything, mask_values)]
        found += rules.unwritable_values(everything, mask_values)
        found += rules.unseen_classes(train.scanned, mask_values)
    return Report(
        problems=tuple(sorted(found, key=lambda problem: problem.severity != "fatal")),
        proposed=mask_values,
        train=summarise(train.scanned, mask_values=mask_values),
        validation=None if validation is None else summarise(validation.scanned, mask_values=mask_values),
    )


def _total(scanned: Sequence[Scanned]) -> Counter[Value]:
    pixels = Counter[Value]()
    for mask in masks_of(scanned).values():
        pixels.update(mask.values)
    return pixels


def _no_table(error: ImageFault, scanned: Sequence[Scanned]) -> Problem:
    """The problem that `propose` met, with the masks that hold the values it names, or too many, or all masks."""
    masks = masks_of(scanned)
    values = error.fields.get("values")
    strange = set(values) if isinstance(values, tuple) else set()
    naming = tuple(file for file, mask in masks.items() if not strange.isdisjoint(mask.values))
    crowded = tuple(file for file, mask in masks.items() if len(mask.values) > MOST_PROPOSED)
    files = naming or crowded or tuple(masks)
    return Problem("mask values", "fatal", files, str(error))
