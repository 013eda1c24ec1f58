"""Summarise a scanned data set: number, sizes, channels and data types of the images, and class balance."""

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from maskwright.data.mask_values import MaskValues
from maskwright.data.pixel_values import Value
from maskwright.data.scan import ImageFacts, ScannedPair, readable_images, readable_masks


@dataclass(frozen=True, slots=True)
class ClassBalance:
    """A raw mask value, its class name, pixel count and fraction of all pixels, and the number of masks with it."""

    value: Value
    name: str
    pixels: int
    fraction: float
    masks: int


@dataclass(frozen=True, slots=True)
class DataSummary:
    """Summary of a scanned data set.

    ``heights`` and ``widths`` are the (minimum, maximum) over the images, in pixels. ``channels`` is the number of
    channels to which all images can be converted without loss, or None. ``balance`` has a row for each value of the
    label table and is empty without a table. Unreadable files are counted only in ``pairs``.
    """

    pairs: int
    heights: tuple[int, int]
    widths: tuple[int, int]
    channels: int | None
    dtypes: tuple[str, ...]
    balance: tuple[ClassBalance, ...]


def summarise(pairs: Sequence[ScannedPair], *, mask_values: MaskValues | None) -> DataSummary:
    """Summarise scanned pairs, with classes from ``mask_values``; image sizes are 0 if no image is readable."""
    images = readable_images(pairs).values()
    heights, widths = ([image.size[axis] for image in images] or [0] for axis in (0, 1))
    return DataSummary(
        pairs=len(pairs),
        heights=(min(heights), max(heights)),
        widths=(min(widths), max(widths)),
        channels=common_channels(images),
        dtypes=tuple(sorted({image.dtype for image in images})),
        balance=() if mask_values is None else _balance(pairs, mask_values),
    )


def common_channels(images: Collection[ImageFacts]) -> int | None:
    """Return the number of channels that all images have, or 3 for a mixture of gray and RGB images; otherwise None."""
    found = {image.channels for image in images}
    if found == {1, 3}:
        return 3
    return found.pop() if len(found) == 1 else None


def _balance(pairs: Sequence[ScannedPair], mask_values: MaskValues) -> tuple[ClassBalance, ...]:
    pixels, masks, total = Counter[Value](), Counter[Value](), 0
    for mask in readable_masks(pairs).values():
        counts = Counter[Value]()
        for value, number in mask.values.items():
            total += number
            if (key := mask_values.key_of(value)) is not None:
                counts[key] += number
        pixels.update(counts)
        masks.update(counts.keys())
    return tuple(
        ClassBalance(value, name, pixels[value], pixels[value] / (total or 1), masks[value])
        for value, name in mask_values.classes_by_value.items()
    )
