"""Check a data set for problems before training."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from maskwright.data import problems as rules
from maskwright.data.mask_values import MAX_PROPOSED_VALUES, MaskValues, WrongMaskValues
from maskwright.data.object_masks import OBJECT_MASKS_REMEDY, are_object_masks
from maskwright.data.pairs import Pairing
from maskwright.data.pixel_values import Value
from maskwright.data.problems import Problem
from maskwright.data.propose_mask_values import propose_mask_values
from maskwright.data.scan import ScannedPair, readable_masks
from maskwright.data.summary import DataSummary, summarise
from maskwright.errors import wrong_argument
from maskwright.images.errors import ImageFault


@dataclass(frozen=True, slots=True)
class ScannedSet:
    """Paired and scanned files of the training set or the validation set."""

    pairing: Pairing
    scanned: Sequence[ScannedPair]


@dataclass(frozen=True, slots=True)
class CheckReport:
    """Result of `check`: all problems, fatal ones first, the label table, and a summary of each set.

    ``mask_values`` is the given table or a proposed one, or None if no table could be proposed for the masks.
    """

    problems: tuple[Problem, ...]
    mask_values: MaskValues | None
    train: DataSummary
    validation: DataSummary | None

    @property
    def fatal(self) -> list[Problem]:
        """The problems that prevent training."""
        return [problem for problem in self.problems if problem.severity == "fatal"]

    @property
    def warnings(self) -> list[Problem]:
        """The problems that do not prevent training."""
        return [problem for problem in self.problems if problem.severity == "warning"]


def check(
    train: ScannedSet,
    validation: ScannedSet | None = None,
    *,
    mask_values: MaskValues | None = None,
    classes: int | Sequence[str] | None = None,
    ignore: Value | None = None,
    channels: int | None = None,
) -> CheckReport:
    """Find all problems in the training and validation files.

    The following problems are fatal: unreadable files, a mask whose size differs from that of its image, images
    that cannot be converted to the same number of channels without loss, a mixture of float and integer images, a
    mixture of palette and RGB masks, mask values without a class, and classes whose values cannot be written to
    predicted masks. All other problems are warnings. An image in both sets is only a warning, because some users
    intentionally validate on training images.

    Args:
        train: Paired and scanned training files.
        validation: Paired and scanned validation files, or None if validation pairs are split off from the training
            files.
        mask_values: Label table; by default, `propose_mask_values` proposes one from the masks of both sets. If it
            contains ``others``, the sets must have been scanned with it.
        classes: Number or names of the classes, passed to `propose_mask_values`.
        ignore: Mask value to ignore, passed to `propose_mask_values`.
        channels: Number of channels that all images must have or to which they can be converted without loss; by
            default, any common number is accepted.

    Raises:
        WrongArgument, WrongLabelTable: ``classes`` or ``ignore`` is invalid or combined with ``mask_values``.
    """
    for argument, given in (("classes", classes), ("ignore", ignore)):
        if mask_values is not None and given is not None:
            raise wrong_argument(argument, given, expected="None together with mask_values, which defines the classes")
    sets = [train] if validation is None else [train, validation]
    pairs = [pair for part in sets for pair in part.scanned]
    found = [problem for part in sets for problem in (*rules.unpaired(part.pairing), *rules.duplicates(part.scanned))]
    found += rules.channels(pairs, expected=channels)
    for rule in (rules.unreadable, rules.sizes, rules.dtypes, rules.mixed_masks, rules.palettes):
        found += rule(pairs)
    if validation is not None:
        found += rules.leak(train.scanned, validation.scanned)

    masks = readable_masks(pairs)
    palette = {value: colour for mask in masks.values() for value, colour in mask.palette.items()}
    if mask_values is not None:
        mask_values = mask_values.with_palette(palette)
    elif masks:
        try:
            mask_values = propose_mask_values(_total(pairs), classes=classes, ignore=ignore, palette=palette)
        except ImageFault as error:
            found.append(_no_table(error, pairs))
        else:
            found += rules.object_numbers(pairs, mask_values) if classes is None else ()
    if mask_values is not None:
        found += [*rules.unknown_values(pairs, mask_values), *rules.constant_masks(pairs, mask_values)]
        found += rules.unwritable_values(pairs, mask_values)
        found += rules.unseen_classes(train.scanned, mask_values)
    return CheckReport(
        problems=tuple(sorted(found, key=lambda problem: problem.severity != "fatal")),
        mask_values=mask_values,
        train=summarise(train.scanned, mask_values=mask_values),
        validation=None if validation is None else summarise(validation.scanned, mask_values=mask_values),
    )


def _total(pairs: Sequence[ScannedPair]) -> Counter[Value]:
    pixels = Counter[Value]()
    for mask in readable_masks(pairs).values():
        pixels.update(mask.values)
    return pixels


def _no_table(error: ImageFault, pairs: Sequence[ScannedPair]) -> Problem:
    """Convert an error raised by `propose_mask_values` to a problem that lists the masks that caused it.

    These are the masks that contain the values named in the error or that have too many values. If there are no such
    masks, the problem lists all masks. If the masks look like object masks, the problem states that and lists all.
    """
    masks = readable_masks(pairs)
    if are_object_masks(masks.values()):
        error = WrongMaskValues(
            file="The masks",
            found=f"{len(_total(pairs))} different values, which look like the numbers of objects",
            expected="one value per class",
            remedy=OBJECT_MASKS_REMEDY,
        )
        return Problem("mask values", "fatal", tuple(masks), str(error))
    values = error.fields.get("values")
    named = set(values) if isinstance(values, tuple) else set()
    with_named = tuple(file for file, mask in masks.items() if not named.isdisjoint(mask.values))
    with_too_many = tuple(file for file, mask in masks.items() if len(mask.values) > MAX_PROPOSED_VALUES)
    return Problem("mask values", "fatal", with_named or with_too_many or tuple(masks), str(error))
