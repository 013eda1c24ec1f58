"""Recognise object masks, in which every object has its own number."""

from collections.abc import Collection
from typing import Final

from maskwright.data.pixel_values import Value, is_colour
from maskwright.data.scan import MaskFacts

OBJECT_MASKS_REMEDY: Final = (
    "If every object has its own number, use --set data.mask_kind=objects to train, and --mask-kind objects to check. "
    "If every value is a class, give all values a class name with --mask-values."
)
_MIN_VALUES: Final = 17  # sets with fewer different values are treated as class ids
_MIN_COMPACT_FRACTION: Final = 0.8
_MIN_CONSECUTIVE_FRACTION: Final = 0.5
_MIN_WIDTH: Final = 2  # mean run length in pixels; it is near 1 in photographs and in masks that were saved as JPEG
_MAX_RUNS_PER_SIDE: Final = 3  # number of runs, relative to the side of a square of the same area; 1.1 for a disc


def are_object_masks(masks: Collection[MaskFacts]) -> bool:
    """Return whether masks look as if every object had its own number.

    This is the case if there are at least 17 different numbers other than 0, at least 80% of them are compact regions
    within their mask, and at least half of the numbers between the smallest and the second largest number of a mask
    occur in it. The largest number is left out, because it often marks ignored pixels. Photographs are not compact, and
    most masks of many classes contain few of their classes each. The masks must have been scanned without a label
    table.
    """
    different: set[Value] = set()
    regions = compact = occurring = between = 0
    for mask in masks:
        if any(is_colour(value) for value in mask.values):
            return False
        numbers = sorted(value for value in mask.values if isinstance(value, int) and value != 0)
        different.update(numbers)
        regions += len(numbers)
        compact += sum(_is_compact(mask.values[number], mask.runs[number]) for number in numbers)
        if len(numbers) > 1:
            occurring += mask.distinct_values - (0 in mask.values) - 1
            between += numbers[-2] - numbers[0] + 1
    return (
        len(different) >= _MIN_VALUES
        and compact >= _MIN_COMPACT_FRACTION * regions
        and occurring >= _MIN_CONSECUTIVE_FRACTION * between
    )


def _is_compact(pixels: int, runs: int) -> bool:
    """Return whether the pixels of a value are few wide regions, judged by the number of its horizontal runs."""
    return pixels >= _MIN_WIDTH * runs and runs**2 <= _MAX_RUNS_PER_SIDE**2 * pixels
