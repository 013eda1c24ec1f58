"""A first prediction at what the values of masks stand for, for a person to confirm or correct."""

from collections.abc import Mapping, Sequence
from shlex import quote

from maskwright.data.label_table import BACKGROUND_WORD, IGNORED_WORD, MOST_LABELS, raw_value
from maskwright.data.mask_values import MOST_PROPOSED, MaskValues, WrongMaskValues, parse_mask_values, wrong_values
from maskwright.data.pixel_values import Value, as_colours, code, counted
from maskwright.errors import wrong_argument
from maskwright.images.errors import ImageFault
from maskwright.images.labels import Colour

_BLACK = "#000000"
_VOID = 255  # the id that most data sets with more than one class give to pixels nobody labelled
_NEAR = 16  # JPEG moves a flat 0 or 255 by about this much beside an edge
_MOSTLY = 0.9
_BLURRED = (
    "They look like masks of two values saved as JPEG or resized smoothly: save them again as PNG, and resize masks "
    "by nearest neighbour. If each value is a class, say so with --mask-values."
)
_PICTURES = (
    "Check that they are masks, not pictures, saved as PNG and never resized smoothly; "
    "if so, say what each value is in a YAML file given to --mask-values."
)


class OneMaskValue(ImageFault):
    """Masks that hold one value, from which nothing can be learnt."""


class TooManyMaskValues(ImageFault):
    """Masks with more values than classes are likely to have, or with two that are smeared."""


def propose(
    counts: Mapping[Value, int],
    *,
    classes: int | Sequence[str] | None = None,
    ignore: Value | None = None,
    palette: Mapping[int, Colour] | None = None,
) -> MaskValues:
    """What the values counted in a set of masks most likely stand for.

    Zero and one other number are the background and one class (``classes`` 1 or not given) or two classes (2).
    ``classes`` of N are otherwise the numbers 0 to N-1. Without ``classes`` every value is a class of its own, black
    is the background, and 255 beside two or more ids below 64 is ignored.

    Args:
        counts: Pixels of each raw value, in all masks together.
        classes: How many classes there are, or their names in order; ``background`` and ``ignored`` may be among them.
        ignore: A value whose pixels count neither in the loss nor in scores.
        palette: Colours that the masks themselves give to their numbers.

    Raises:
        OneMaskValue: fewer than two values are left to tell apart.
        TooManyMaskValues: more than 64 values, and no ``classes``; or 0 and 255 smeared into values close to both,
            as masks of two values are when they are saved as JPEG or resized with smoothing.
        WrongMaskValues: values that ``classes`` does not account for.
        WrongArgument, WrongMaskTable: ``classes`` or ``ignore`` makes no sense.

    >>> propose({0: 900, 255: 100}).text
    '0=background,255=foreground'
    >>> propose({0: 5, 1: 4, 2: 1, 255: 2}).text
    '0=class_0,1=class_1,2=class_2,255=ignored'
    """
    names, counts = _names(classes), _of_one_kind(counts)
    coloured = any(isinstance(value, str) for value in counts)
    void = None if ignore is None else raw_value(ignore, source="--ignore")
    if void is not None and isinstance(void, str) != coloured:
        expected = f"a {'colour such as #ff0000' if coloured else 'number'}, as in the masks"
        raise wrong_argument("ignore", ignore, expected=expected)
    if void is None and names is None and not coloured and _looks_void(list(counts)):
        void = _VOID
    counts = {value: pixels for value, pixels in counts.items() if value != void}
    if len(counts) < 2:
        raise OneMaskValue(
            file="The masks",
            found=f"only {counted(counts)}" if counts else "no value that counts",
            expected="two or more",
            remedy="Check that this is the folder of masks and that they are not empty.",
        )
    smeared = _smeared(counts)
    if smeared or (len(counts) > MOST_PROPOSED and (coloured or names is None)):
        raise _too_many(counts, smeared)
    words = _colour_words(counts, classes) if coloured else _number_words(counts, names)
    if void is not None:
        words = {**words, void: IGNORED_WORD}
    return parse_mask_values(words).with_palette(palette or {})


def _names(classes: int | Sequence[str] | None) -> list[str] | None:
    if classes is None:
        return None
    if isinstance(classes, int):
        if not 1 <= classes <= MOST_LABELS:
            raise wrong_argument("classes", classes, expected=f"1 to {MOST_LABELS}")
        return ["foreground"] if classes == 1 else [f"class_{number}" for number in range(classes)]
    names = list(classes)
    if isinstance(classes, str) or not 1 <= len(set(names)) == len(names):
        raise wrong_argument("classes", classes, expected="a number, or a list of different names")
    return names


def _of_one_kind(counts: Mapping[Value, int]) -> dict[Value, int]:
    """The counts in order of value, without zeros, as numbers only or colours only."""
    coloured = any(isinstance(value, str) for value in counts)
    present = {value: pixels for value, pixels in (as_colours(counts) if coloured else counts).items() if pixels}
    strangers: dict[Value, int] = {value: present[value] for value in present if coloured and isinstance(value, int)}
    if strangers:
        known = {value: str(value) for value in present if value not in strangers}
        raise wrong_values(strangers, words=known, file="The masks")
    return dict(sorted(present.items(), key=lambda item: code(item[0])))


def _looks_void(values: Sequence[Value]) -> bool:
    """Whether 255 stands beside small ids, as the id of what nobody labelled."""
    *ids, last = map(code, values or [0])
    return len(ids) > 1 and last == _VOID and ids[0] >= 0 and ids[-1] < MOST_PROPOSED


def _number_words(counts: Mapping[Value, int], names: Sequence[str] | None) -> dict[Value, str]:
    low, high = min(counts, key=code), max(counts, key=code)
    two_valued = len(counts) == 2 and low == 0
    if names is None:
        if two_valued:
            return {low: BACKGROUND_WORD, high: "foreground"}
        return {value: f"class_{value}" for value in counts}
    if two_valued and len(names) <= 2:
        return dict(zip((low, high), [BACKGROUND_WORD, *names][-2:], strict=True))
    words: dict[Value, str] = dict(enumerate(names))
    if len(names) == 1:  # zero, and the commonest of the others: what is left over are the strangers
        commonest = max((value for value in counts if value != 0), key=lambda value: counts[value])
        words = {0: BACKGROUND_WORD, commonest: names[0]}
    unexpected = {value: pixels for value, pixels in counts.items() if value not in words}
    if unexpected:
        raise wrong_values(unexpected, words=words, file="The masks")
    return words


def _colour_words(counts: Mapping[Value, int], classes: int | Sequence[str] | None) -> dict[Value, str]:
    words = {value: BACKGROUND_WORD if value == _BLACK else str(value) for value in counts}
    beside_black = [value for value in counts if value != _BLACK]
    if classes is None or (isinstance(classes, int) and classes in (len(words), len(beside_black))):
        return words
    if not isinstance(classes, int) and len(classes) == 1 == len(beside_black):
        return {**words, beside_black[0]: classes[0]}
    count = classes if isinstance(classes, int) else len(classes)
    raise WrongMaskValues(
        file="The masks",
        found=counted(counts),
        expected=f"{count} classes, and to be told which colour is which",
        remedy=f"Name every colour with --mask-values {quote(','.join(f'{value}=NAME' for value in counts))}.",
        values=(),
    )


def _smeared(counts: Mapping[Value, int]) -> tuple[Value, ...]:
    """The values just above 0 and just below 255, if there are both and hardly a pixel is far from those two."""
    above = [value for value in counts if value in range(1, _NEAR + 1)]
    below = [value for value in counts if value in range(_VOID - _NEAR, _VOID)]
    return (*above, *below) if above and below and _near_ends(counts) >= _MOSTLY else ()


def _near_ends(counts: Mapping[Value, int]) -> float:
    ends = {*range(_NEAR + 1), *range(_VOID - _NEAR, _VOID + 1)}
    return sum(pixels for value, pixels in counts.items() if value in ends) / sum(counts.values())


def _too_many(counts: Mapping[Value, int], smeared: tuple[Value, ...]) -> TooManyMaskValues:
    numbers = any(isinstance(value, int) for value in counts)
    share = f", {_near_ends(counts):.0%} of the pixels within {_NEAR} of 0 or 255" if numbers else ""
    return TooManyMaskValues(
        file="The masks",
        found=f"{len(counts)} different values{share}",
        expected="0 and 255 alone" if smeared else f"at most {MOST_PROPOSED}, one for each class",
        remedy=_BLURRED if smeared else _PICTURES,
        values=smeared,
    )
