"""Decode every file of a data set once and record the properties required for checks, splits and plans."""

import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Final

import numpy as np

from maskwright.data.mask_values import MaskValues
from maskwright.data.near_duplicates import perceptual_hash
from maskwright.data.pairs import Pair
from maskwright.data.pixel_values import OTHERS, Value, count_values
from maskwright.errors import InputError
from maskwright.images.channels import to_channels
from maskwright.images.errors import WrongChannels
from maskwright.images.labels import Colour
from maskwright.images.read import read_image, read_mask_and_palette

MAX_VALUES: Final = 1024
"""Largest number of values recorded for a mask without a label table that contains ``others``.

A mask with more values is likely a photograph or an object mask, and its rarest values are omitted.
"""
_PRECHECKED_ROWS: Final = 8  # in nearly every colour image, this number of rows contains a pixel that is not grey


@dataclass(frozen=True, slots=True)
class ImageFacts:
    """Properties of one image.

    ``size`` is the (height, width) in pixels, and ``digest`` is the SHA-256 digest of the data type, shape and pixels.
    ``channels`` is the number of channels, not counting an alpha channel that is opaque everywhere, and ``is_gray``
    states whether these channels are equal. ``perceptual_hash`` is None for an image with too little structure.
    """

    size: tuple[int, int]
    channels: int
    is_gray: bool
    dtype: str
    digest: str
    perceptual_hash: bytes | None


@dataclass(frozen=True, slots=True)
class MaskFacts:
    """Properties of one mask: its (height, width), the pixel count of each raw value and the colours in its palette.

    ``upper_half`` contains the pixel count of each value in the upper half of the mask, and ``runs`` contains the
    number of horizontal runs of each value. The pixel count of a value divided by its number of runs is the mean width
    of its regions. In these counts, the key ``others`` contains the sum over all values that the label table of the
    scan does not list; adjacent regions of different values are separate runs there too. ``distinct_values`` is the
    number of different values in the mask, including those that are not recorded.
    """

    size: tuple[int, int]
    values: Mapping[Value, int]
    palette: Mapping[int, Colour]
    upper_half: Mapping[Value, int]
    runs: Mapping[Value, int]
    distinct_values: int


@dataclass(frozen=True, slots=True)
class ScannedPair:
    """A pair with the properties of both files.

    The properties of an unreadable file are None, and its error is in ``failures``.
    """

    pair: Pair
    image: ImageFacts | None
    mask: MaskFacts | None
    failures: Mapping[Path, InputError]


def scan(
    pairs: Sequence[Pair],
    *,
    mask_values: MaskValues | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[ScannedPair]:
    """Read the image and the mask of every pair, with one thread per processor, and return results in the same order.

    Each thread has one image and one mask in memory. Unreadable files do not stop the scan; see `ScannedPair`.

    Args:
        pairs: Image and mask pairs to read.
        mask_values: Label table of the masks, if it is known. If it contains ``others``, only the listed values are
            recorded, and all other numbers are counted together. Otherwise, the `MAX_VALUES` most frequent values of
            each mask are recorded.
        progress: Function called after each pair with the number of finished pairs and the total.
    """
    listed: frozenset[Value] | None = None
    if mask_values is not None and OTHERS in mask_values.classes_by_value:
        listed = frozenset(mask_values.classes_by_value)
    scanned: list[ScannedPair] = []
    with ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="scan") as pool:
        for pair in pool.map(partial(_scan_pair, listed=listed), pairs):
            scanned.append(pair)
            if progress is not None:
                progress(len(scanned), len(pairs))
    return scanned


def readable_images(pairs: Iterable[ScannedPair]) -> dict[Path, ImageFacts]:
    """Return the properties of each readable image, by file."""
    return {pair.pair.image: pair.image for pair in pairs if pair.image is not None}


def readable_masks(pairs: Iterable[ScannedPair]) -> dict[Path, MaskFacts]:
    """Return the properties of each readable mask, by file."""
    return {pair.pair.mask: pair.mask for pair in pairs if pair.mask is not None}


def _scan_pair(pair: Pair, *, listed: frozenset[Value] | None) -> ScannedPair:
    failures: dict[Path, InputError] = {}
    image: ImageFacts | None = None
    mask: MaskFacts | None = None
    try:
        image = _image_facts(pair.image)
    except InputError as error:
        failures[pair.image] = error
    try:
        mask = _mask_facts(pair.mask, listed)
    except InputError as error:
        failures[pair.mask] = error
    return ScannedPair(pair, image, mask, failures)


def _image_facts(file: Path) -> ImageFacts:
    image = read_image(file)
    digest = sha256(f"{image.dtype} {image.shape}".encode())
    digest.update(np.ascontiguousarray(image).data)
    height, width = image.shape[:2]
    channels = _channels_without_opaque_alpha(image, file)
    colour = image[..., :channels]
    is_gray = _is_gray(colour[:: max(1, height // _PRECHECKED_ROWS)]) and _is_gray(colour)
    return ImageFacts((height, width), channels, is_gray, str(image.dtype), digest.hexdigest(), perceptual_hash(colour))


def _is_gray(image: np.ndarray) -> bool:
    return bool((image == image[..., :1]).all())


def _channels_without_opaque_alpha(image: np.ndarray, file: Path) -> int:
    """Return the number of channels without opaque alpha, counted as when the image is read for training."""
    channels = int(image.shape[-1])
    if channels not in (2, 4):
        return channels
    try:
        return int(to_channels(image, channels - 1, file=file).shape[-1])
    except WrongChannels:
        return channels


def _mask_facts(file: Path, listed: frozenset[Value] | None) -> MaskFacts:
    """Measure a mask; in a mask of numbers, values that are not in ``listed`` are counted together, unless it is None.

    Colours are recorded one by one, since ``others`` stands for numbers only.
    """
    mask, colours = read_mask_and_palette(file)
    height, width = mask.shape[:2]
    pixels = count_values(mask)
    upper_half, runs = count_values(mask[: height // 2]), count_values(mask, where=_run_starts(mask))
    distinct_values = len(pixels)
    if listed is None or mask.ndim == 3:
        pixels = dict(Counter(pixels).most_common(MAX_VALUES))
        upper_half, runs = (
            {value: number for value, number in counts.items() if value in pixels} for counts in (upper_half, runs)
        )
    else:
        pixels, upper_half, runs = (_with_others(counts, listed) for counts in (pixels, upper_half, runs))
    palette = {} if colours is None else _used_colours(colours, pixels)
    return MaskFacts((height, width), pixels, palette, upper_half, runs, distinct_values)


def _with_others(counts: Mapping[Value, int], listed: frozenset[Value]) -> dict[Value, int]:
    """Return the counts of the listed values, and the sum of all other counts, if there are any, as `OTHERS`."""
    recorded = {value: number for value, number in counts.items() if value in listed}
    others = sum(counts.values()) - sum(recorded.values())
    return recorded | ({OTHERS: others} if others else {})


def _run_starts(mask: np.ndarray) -> np.ndarray:
    """Return an array (h, w) that is true at pixels that are first in their row or differ from their left neighbour."""
    starts = np.ones(mask.shape[:2], bool)
    changes = mask[:, 1:] != mask[:, :-1]
    starts[:, 1:] = changes if mask.ndim == 2 else changes.any(axis=-1)
    return starts


def _used_colours(colours: np.ndarray, values: Mapping[Value, int]) -> dict[int, Colour]:
    rows = {index: colours[index].tolist() for index in values if isinstance(index, int) and index < len(colours)}
    return {index: (red, green, blue) for index, (red, green, blue) in sorted(rows.items())}
