"""Propose a label table, based on the values in a set of masks, for the user to confirm or correct."""

from collections.abc import Mapping, Sequence
from shlex import quote
from typing import Final

from maskwright.data.label_table import BACKGROUND_NAME, IGNORED_NAME, MAX_LABELS, raw_value
from maskwright.data.mask_values import (
    MAX_PROPOSED_VALUES,
    MaskValues,
    WrongMaskValues,
    parse_mask_values,
    unknown_values_error,
)
from maskwright.data.pixel_values import OTHERS, Value, as_colours, code, described_counts
from maskwright.errors import wrong_argument
from maskwright.images.labels import Colour

_BLACK: Final = "#000000"
_VOID: Final = 255  # value that most multi-class data sets assign to unlabelled pixels
_JPEG_ERROR: Final = 16  # largest change that JPEG compression causes near an edge in regions of value 0 or 255
_MIN_FRACTION_NEAR_ENDS: Final = 0.9
_BLURRED_REMEDY: Final = (
    "The masks were probably binary and were saved as JPEG or resized by interpolation: save them again as PNG, and "
    "resize masks by nearest neighbour. If each value is a class, list the values with --mask-values."
)
_PHOTOGRAPH_REMEDY: Final = (
    "Check that these are masks and not photographs, saved as PNG and resized by nearest neighbour. "
    "If they are, list the values in a YAML file and pass it with --mask-values{objects}."
)
_OBJECTS: Final = ", or, if every object has its own number, use --set data.mask_kind=objects"


def propose_mask_values(
    counts: Mapping[Value, int],
    *,
    classes: int | Sequence[str] | None = None,
    ignore: Value | None = None,
    palette: Mapping[int, Colour] | None = None,
) -> MaskValues:
    """Return the most likely label table for the values of a set of masks.

    If the values are zero and one other number, they are background and one class if ``classes`` is 1 or None, and two
    classes if it is 2. Otherwise, N ``classes`` have the values 0 to N-1. Without ``classes``, every value is a class,
    except that black is background and 255 is ignored if there are at least two other values, all below 64.

    Args:
        counts: Number of pixels of each raw value, summed over all masks.
        classes: Number of classes, or their names in order; ``background`` and ``ignored`` are allowed as names.
        ignore: Raw value whose pixels are excluded from the loss and the scores.
        palette: Colour of each value in palette masks.

    Raises:
        WrongMaskValues: Fewer than two values other than ``ignore`` occur, ``classes`` does not cover all values, or
            there are more than 64 values and ``classes`` is None. Also raised if there are values close to both 0 and
            255 and hardly any others, as in binary masks that were saved as JPEG or resized by interpolation.
        WrongArgument, WrongLabelTable: ``classes`` or ``ignore`` is invalid.

    >>> propose_mask_values({0: 900, 255: 100}).text
    '0=background,255=foreground'
    >>> propose_mask_values({0: 5, 1: 4, 2: 1, 255: 2}).text
    '0=class_0,1=class_1,2=class_2,255=ignored'
    """
    names, counts = _class_names(classes), _uniform_counts(counts)
    has_colours = any(isinstance(value, str) for value in counts)
    void = None if ignore is None else raw_value(ignore, source="--ignore")
    if void is not None and isinstance(void, str) != has_colours:
        expected = f"a {'colour such as #ff0000' if has_colours else 'number'}, as in the masks"
        raise wrong_argument("ignore", ignore, expected=expected)
    if void is None and names is None and not has_colours and _has_void(list(counts)):
        void = _VOID
    counts = {value: pixels for value, pixels in counts.items() if value != void}
    if len(counts) < 2:
        raise WrongMaskValues(
            file="The masks",
            found=f"only {described_counts(counts)}" if counts else "no value that is not ignored",
            expected="at least two values",
            remedy="Check that this is the folder of masks and that they are not empty.",
        )
    blurred = _blurred_values(counts)
    if blurred or (len(counts) > MAX_PROPOSED_VALUES and (has_colours or names is None)):
        raise _too_many_error(counts, blurred)
    table = _colour_table(counts, classes) if has_colours else _number_table(counts, names)
    if void is not None:
        table = {**table, void: IGNORED_NAME}
    return parse_mask_values(table).with_palette(palette or {})


def object_mask_values(*, classes: int | Sequence[str] | None = None, ignore: Value | None = None) -> MaskValues:
    """Return the label table of object masks, in which 0 is background and all other values are objects of one class.

    Args:
        classes: Name of the class, as the only entry of a sequence beside ``background``; by default, ``object``.
        ignore: Raw value whose pixels are excluded from the loss and the scores.

    Raises:
        WrongArgument, WrongLabelTable: ``classes`` is not a single class, or ``ignore`` is not a number other than 0.

    >>> object_mask_values(classes=["nucleus"], ignore=65535).text
    '0=background,others=nucleus,65535=ignored'
    """
    names = _class_names(classes)
    if isinstance(classes, int) or names is None:
        names = ["object"] * (1 if names is None else len(names))
    names = [name for name in names if name.strip().lower() != BACKGROUND_NAME]
    if len(names) != 1 or names[0].strip().lower() == IGNORED_NAME:
        expected = "1 or a single class name together with mask_kind=objects, which makes all objects one class"
        raise wrong_argument("classes", classes, expected=expected)
    table: dict[Value, str] = {0: BACKGROUND_NAME, OTHERS: names[0]}
    if ignore is not None:
        void = raw_value(ignore, source="--ignore")
        if void == 0 or isinstance(void, str):
            expected = "a number other than 0 together with mask_kind=objects, which makes 0 the background"
            raise wrong_argument("ignore", ignore, expected=expected)
        table[void] = IGNORED_NAME
    return parse_mask_values(table)


def _class_names(classes: int | Sequence[str] | None) -> list[str] | None:
    if classes is None:
        return None
    if isinstance(classes, int):
        if not 1 <= classes <= MAX_LABELS:
            raise wrong_argument("classes", classes, expected=f"1 to {MAX_LABELS}")
        return ["foreground"] if classes == 1 else [f"class_{number}" for number in range(classes)]
    names = list(classes)
    if isinstance(classes, str) or not 1 <= len(set(names)) == len(names):
        raise wrong_argument("classes", classes, expected="a number, or a list of different names")
    return names


def _uniform_counts(counts: Mapping[Value, int]) -> dict[Value, int]:
    """Return the non-zero counts in order of value, with all values as numbers or all values as colours."""
    has_colours = any(isinstance(value, str) for value in counts)
    present = {value: pixels for value, pixels in (as_colours(counts) if has_colours else counts).items() if pixels}
    numbers: dict[Value, int] = {value: present[value] for value in present if has_colours and isinstance(value, int)}
    if numbers:
        colours = {value: str(value) for value in present if value not in numbers}
        raise unknown_values_error(numbers, classes_by_value=colours, file="The masks")
    return dict(sorted(present.items(), key=lambda item: code(item[0])))


def _has_void(values: Sequence[Value]) -> bool:
    """Return whether 255 occurs together with small ids; it then usually marks unlabelled pixels."""
    *ids, last = map(code, values or [0])
    return len(ids) > 1 and last == _VOID and ids[0] >= 0 and ids[-1] < MAX_PROPOSED_VALUES


def _number_table(counts: Mapping[Value, int], names: Sequence[str] | None) -> dict[Value, str]:
    low, high = min(counts, key=code), max(counts, key=code)
    is_binary = len(counts) == 2 and low == 0
    if names is None:
        if is_binary:
            return {low: BACKGROUND_NAME, high: "foreground"}
        return {value: f"class_{value}" for value in counts}
    if is_binary and len(names) <= 2:
        return dict(zip((low, high), [BACKGROUND_NAME, *names][-2:], strict=True))
    table: dict[Value, str] = dict(enumerate(names))
    if len(names) == 1:  # zero is background, the most frequent other value is the class; others are unknown
        foreground = max((value for value in counts if value != 0), key=lambda value: counts[value])
        table = {0: BACKGROUND_NAME, foreground: names[0]}
    unknown = {value: pixels for value, pixels in counts.items() if value not in table}
    if unknown:
        raise unknown_values_error(unknown, classes_by_value=table, file="The masks")
    return table


def _colour_table(counts: Mapping[Value, int], classes: int | Sequence[str] | None) -> dict[Value, str]:
    table = {value: BACKGROUND_NAME if value == _BLACK else str(value) for value in counts}
    foreground = [value for value in counts if value != _BLACK]
    if classes is None or (isinstance(classes, int) and classes in (len(table), len(foreground))):
        return table
    if not isinstance(classes, int) and len(classes) == 1 == len(foreground):
        return {**table, foreground[0]: classes[0]}
    count = classes if isinstance(classes, int) else len(classes)
    raise WrongMaskValues(
        file="The masks",
        found=described_counts(counts),
        expected=f"{count} classes with an assigned colour",
        remedy=f"Give every colour a name with --mask-values {quote(','.join(f'{value}=NAME' for value in counts))}.",
        values=(),
    )


def _blurred_values(counts: Mapping[Value, int]) -> tuple[Value, ...]:
    """Return the values just above 0 and just below 255 if both kinds occur and nearly all pixels are near 0 or 255."""
    above = [value for value in counts if value in range(1, _JPEG_ERROR + 1)]
    below = [value for value in counts if value in range(_VOID - _JPEG_ERROR, _VOID)]
    return (*above, *below) if above and below and _fraction_near_ends(counts) >= _MIN_FRACTION_NEAR_ENDS else ()


def _fraction_near_ends(counts: Mapping[Value, int]) -> float:
    ends = {*range(_JPEG_ERROR + 1), *range(_VOID - _JPEG_ERROR, _VOID + 1)}
    return sum(pixels for value, pixels in counts.items() if value in ends) / sum(counts.values())


def _too_many_error(counts: Mapping[Value, int], blurred: tuple[Value, ...]) -> WrongMaskValues:
    has_numbers = any(isinstance(value, int) for value in counts)
    near = f", {_fraction_near_ends(counts):.0%} of the pixels within {_JPEG_ERROR} of 0 or 255" if has_numbers else ""
    return WrongMaskValues(
        file="The masks",
        found=f"{len(counts)} different values{near}",
        expected="only 0 and 255" if blurred else f"at most {MAX_PROPOSED_VALUES}, one per class",
        remedy=_BLURRED_REMEDY if blurred else _PHOTOGRAPH_REMEDY.format(objects=_OBJECTS if has_numbers else ""),
        values=blurred,
    )
