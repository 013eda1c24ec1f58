"""A scanned data set in a few numbers: how many, how large, of what, and how its classes are shared out."""

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from maskwright.data.mask_values import MaskValues
from maskwright.data.pixel_values import Value, as_colours
from maskwright.data.scan import ImageFacts, Scanned, images_of, masks_of


@dataclass(frozen=True, slots=True)
class Balance:
    """One raw value of the masks: its word, its pixels, their share of all pixels (0 to 1), the masks it is in."""

    value: Value
    word: str
    pixels: int
    share: float
    masks: int


@dataclass(frozen=True, slots=True)
class Summary:
    """A scanned data set.

    ``heights`` and ``widths`` are (least, greatest), pixels. ``channels`` is what every image can be brought to
    without loss, None where there is no such number. ``balance`` has a row for each value in the table of mask values;
    it is empty while nobody knows what the values stand for. What could not be read counts in ``pairs`` only.
    """

    pairs: int
    heights: tuple[int, int]
    widths: tuple[int, int]
    channels: int | None
    dtypes: tuple[str, ...]
    balance: tuple[Balance, ...]


def summarise(scanned: Sequence[Scanned], *, mask_values: MaskValues | None) -> Summary:
    """The numbers of one scanned data set, its classes named by ``mask_values``; zeros where there is no image."""
    images = images_of(scanned).values()
    heights, widths = ([image.size[axis] for image in images] or [0] for axis in (0, 1))
    return Summary(
        pairs=len(scanned),
        heights=(min(heights), max(heights)),
        widths=(min(widths), max(widths)),
        channels=common_channels(images),
        dtypes=tuple(sorted({image.dtype for image in images})),
        balance=() if mask_values is None else _balance(scanned, mask_values),
    )


def common_channels(images: Collection[ImageFacts]) -> int | None:
    """The channels that all images have or, as grey becomes RGB, can be given; None if there is no such number."""
    found = {image.channels for image in images}
    if found == {1, 3}:
        return 3
    return found.pop() if len(found) == 1 else None


def _balance(scanned: Sequence[Scanned], mask_values: MaskValues) -> tuple[Balance, ...]:
    pixels, masks = Counter[Value](), Counter[Value]()
    for mask in masks_of(scanned).values():
        counts = as_colours(mask.values) if mask_values.kind == "colours" else mask.values
        pixels.update(counts)
        masks.update(counts.keys())
    total = pixels.total() or 1
    return tuple(
        Balance(value, word, pixels[value], pixels[value] / total, masks[value])
        for value, word in mask_values.words.items()
    )
