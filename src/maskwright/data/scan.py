"""What the files of a data set hold: every image and mask is decoded, described and let go of."""

import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Final

import numpy as np

from maskwright.data.near_duplicates import look_of
from maskwright.data.pairs import Pair
from maskwright.data.pixel_values import Value, count_values
from maskwright.errors import InputError
from maskwright.images.channels import to_channels
from maskwright.images.errors import WrongChannels
from maskwright.images.labels import Colour
from maskwright.images.read import read_image, read_mask_and_palette

MOST_VALUES: Final = 1024
"""Values of one mask that are kept; a mask with more holds a picture, and its rarest values tell nothing."""
_SAMPLED_ROWS: Final = 8  # in which nearly every coloured image shows a colour


@dataclass(frozen=True, slots=True)
class ImageFacts:
    """One image: ``size`` is (height, width) in pixels, ``digest`` names its decoded pixels.

    ``channels`` leaves out an alpha channel that is opaque everywhere, ``is_gray`` says whether the others are equal;
    ``look`` is that of `look_of`.
    """

    size: tuple[int, int]
    channels: int
    is_gray: bool
    dtype: str
    digest: str
    look: bytes | None


@dataclass(frozen=True, slots=True)
class MaskFacts:
    """One mask: its (height, width), the pixels of each raw value, and the colours its palette gives those values.

    ``upper`` are the pixels of each value in the upper half, ``runs`` the horizontal runs of each: pixels by runs is
    how wide its parts are.
    """

    size: tuple[int, int]
    values: Mapping[Value, int]
    palette: Mapping[int, Colour]
    upper: Mapping[Value, int]
    runs: Mapping[Value, int]


@dataclass(frozen=True, slots=True)
class Scanned:
    """One pair of files: the facts of each, None for a file that could not be read, and why it could not."""

    pair: Pair
    image: ImageFacts | None
    mask: MaskFacts | None
    failures: Mapping[Path, InputError]


def scan(pairs: Sequence[Pair], *, progress: Callable[[int, int], None] | None = None) -> list[Scanned]:
    """Reads the image and the mask of every pair, several at a time; the answers are in the order of ``pairs``.

    At most one image and one mask for each processor are in memory at a time.

    Files that cannot be read do not end the scan: see `Scanned.failures`.

    Args:
        pairs: What to read.
        progress: Called after each pair with the number of pairs done and of all pairs.
    """
    scanned: list[Scanned] = []
    with ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="scan") as pool:
        for one in pool.map(_scan_pair, pairs):
            scanned.append(one)
            if progress is not None:
                progress(len(scanned), len(pairs))
    return scanned


def images_of(scanned: Iterable[Scanned]) -> dict[Path, ImageFacts]:
    """The images that could be read, by file."""
    return {one.pair.image: one.image for one in scanned if one.image is not None}


def masks_of(scanned: Iterable[Scanned]) -> dict[Path, MaskFacts]:
    """The masks that could be read, by file."""
    return {one.pair.mask: one.mask for one in scanned if one.mask is not None}


def _scan_pair(pair: Pair) -> Scanned:
    failures: dict[Path, InputError] = {}
    image: ImageFacts | None = None
    mask: MaskFacts | None = None
    try:
        image = _image_facts(pair.image)
    except InputError as error:
        failures[pair.image] = error
    try:
        mask = _mask_facts(pair.mask)
    except InputError as error:
        failures[pair.mask] = error
    return Scanned(pair, image, mask, failures)


def _image_facts(file: Path) -> ImageFacts:
    image = read_image(file)
    digest = sha256(f"{image.dtype} {image.shape}".encode())
    digest.update(np.ascontiguousarray(image).data)
    height, width = image.shape[:2]
    channels = _channels(image, file)
    seen = image[..., :channels]
    is_gray = _is_gray(seen[:: max(1, height // _SAMPLED_ROWS)]) and _is_gray(seen)
    return ImageFacts((height, width), channels, is_gray, str(image.dtype), digest.hexdigest(), look_of(seen))


def _is_gray(image: np.ndarray) -> bool:
    return bool((image == image[..., :1]).all())


def _channels(image: np.ndarray, file: Path) -> int:
    """Channels without an opaque alpha, by the same rule that will drop it when the image is used."""
    channels = int(image.shape[-1])
    if channels not in (2, 4):
        return channels
    try:
        return int(to_channels(image, channels - 1, file=file).shape[-1])
    except WrongChannels:
        return channels


def _mask_facts(file: Path) -> MaskFacts:
    mask, colours = read_mask_and_palette(file)
    values = dict(Counter(count_values(mask)).most_common(MOST_VALUES))
    palette = {} if colours is None else _used(colours, values)
    height, width = mask.shape[:2]
    upper, runs = (
        {value: pixels for value, pixels in counts.items() if value in values}
        for counts in (count_values(mask[: height // 2]), count_values(mask, where=_run_starts(mask)))
    )
    return MaskFacts((height, width), values, palette, upper, runs)


def _run_starts(mask: np.ndarray) -> np.ndarray:
    """Where, (h, w), a value follows another in its row, or begins the row."""
    starts = np.ones(mask.shape[:2], bool)
    changes = mask[:, 1:] != mask[:, :-1]
    starts[:, 1:] = changes if mask.ndim == 2 else changes.any(axis=-1)
    return starts


def _used(colours: np.ndarray, values: Mapping[Value, int]) -> dict[int, Colour]:
    rows = {number: colours[number].tolist() for number in values if isinstance(number, int) and number < len(colours)}
    return {number: (red, green, blue) for number, (red, green, blue) in sorted(rows.items())}
