"""Pairs of files to batches of patches, in an order that is a pure function of seed and step."""

import math
from collections.abc import Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maskwright.data.augment import Augmentation
from maskwright.data.mask_values import MaskValues
from maskwright.data.pairs import Pair
from maskwright.images.channels import to_channels
from maskwright.images.labels import IGNORED
from maskwright.images.normalise import Normalisation
from maskwright.images.read import read_image, read_mask

_LONGEST_EPOCH = 250

Batch = tuple[NDArray[np.float32], NDArray[np.uint8]]


class PairReader:
    """Decoded pairs: an image with the run's channels, (h, w, c), and its label indices, (h, w).

    Keeps what it has read until ``cache_bytes`` are full, so that small data sets are decoded once.
    """

    def __init__(self, pairs: Sequence[Pair], *, channels: int, mask_values: MaskValues, cache_bytes: int) -> None:
        self.pairs = pairs
        self.channels = channels
        self.mask_values = mask_values
        self._room = cache_bytes
        self._kept: dict[int, tuple[NDArray[np.generic], NDArray[np.uint8]]] = {}

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> tuple[NDArray[np.generic], NDArray[np.uint8]]:
        """The pair at ``index``."""
        if index in self._kept:
            return self._kept[index]
        pair = self.pairs[index]
        image = to_channels(read_image(pair.image), self.channels, file=pair.image)
        labels = self.mask_values.encode(read_mask(pair.mask), file=pair.mask)
        size = image.nbytes + labels.nbytes
        if size <= self._room:
            self._room -= size
            self._kept[index] = image, labels
        return image, labels


class Patches:
    """Batches of random patches, augmented and normalised.

    ``batch(step)`` depends on the seed and the step alone: a run that starts again at a step sees what it would have
    seen. Each image is drawn about as often as patches fit into it, every image once before any is drawn again.

    Args:
        reader: The training pairs.
        sizes: Their (height, width), in the same order.
        patch: (height, width) of a patch, pixels. A smaller image is reflected up to it.
        foreground: Share of the patches, 0 to 1, that are laid on a pixel of another class than the image's commonest,
            where there is one: each such class alike, whatever its size. (nnU-Net: a third; Isensee et al. 2021.)
    """

    def __init__(
        self,
        reader: PairReader,
        *,
        sizes: Sequence[tuple[int, int]],
        patch: tuple[int, int],
        batch_size: int,
        seed: int,
        normalisation: Normalisation,
        augmentation: Augmentation,
        foreground: float = 0.0,
    ) -> None:
        self.reader = reader
        self.patch = patch
        self.batch_size = batch_size
        self.seed = seed
        self.normalisation = normalisation
        self.augmentation = augmentation
        self.foreground = foreground
        self._draws = np.repeat(np.arange(len(sizes)), [patches_in(size, patch) for size in sizes])

    @property
    def steps_per_epoch(self) -> int:
        """Steps that show about as many pixels as the images hold, once; at most 250, so that news is never far."""
        return min(math.ceil(len(self._draws) / self.batch_size), _LONGEST_EPOCH)

    def batch(self, step: int) -> Batch:
        """Images (n, h, w, c), normalised, and label indices (n, h, w), of step ``step``."""
        images, masks = self.augmented(step)
        return self.normalisation.standardise(images), masks

    def plain(self, step: int) -> NDArray[np.float32]:
        """The images of step ``step``, normalised, as they would be without augmentation."""
        return self.normalisation.standardise(self._cut_batch(step)[0])

    def augmented(self, step: int) -> Batch:
        """The batch of step ``step`` in unit scale, before normalisation: what a person can look at."""
        return self.augmentation(*self._cut_batch(step), seed=_draw((self.seed, 2, step)))

    def _cut_batch(self, step: int) -> Batch:
        first = step * self.batch_size
        cut = [self._cut(place) for place in range(first, first + self.batch_size)]
        return np.stack([image for image, _ in cut]), np.stack([mask for _, mask in cut])

    def _cut(self, place: int) -> Batch:
        """One patch: the image by the epoch's own order, the corner by chance."""
        epoch, position = divmod(place, len(self._draws))
        order = np.random.default_rng((self.seed, 0, epoch)).permutation(self._draws)
        image, labels = self.reader[int(order[position])]
        generator = np.random.default_rng((self.seed, 1, place))
        window = tuple(
            slice(start := int(generator.integers(max(0, side - length) + 1)), start + length)
            for side, length in zip(labels.shape, self.patch, strict=True)
        )
        if self.foreground and generator.random() < self.foreground:
            window = _window_on_a_class(labels, self.patch, generator) or window
        unit = self.normalisation.to_unit(image[window])
        return _reflected(unit, self.patch), _reflected(labels[window], self.patch)

    def stream(self, first: int, *, ahead: int = 3) -> Generator[Batch]:
        """Batches from step ``first`` on, for ever, prepared ``ahead`` in a thread while the network computes."""
        with ThreadPoolExecutor(1, thread_name_prefix="patches") as pool:
            waiting = [pool.submit(self.batch, step) for step in range(first, first + ahead)]
            try:
                for step in range(first + ahead, 2**62):
                    waiting.append(pool.submit(self.batch, step))
                    yield waiting.pop(0).result()
            finally:
                for future in waiting:
                    future.cancel()


def patches_in(size: tuple[int, int], patch: tuple[int, int]) -> int:
    """How many patches cover an image's pixels.

    >>> patches_in((360, 480), (256, 256))
    3
    """
    return math.ceil(size[0] * size[1] / (patch[0] * patch[1]))


def _window_on_a_class(
    labels: NDArray[np.uint8], patch: tuple[int, int], generator: np.random.Generator
) -> tuple[slice, ...] | None:
    """A random window that holds a random pixel of a random class beside the commonest; None where there is no such."""
    pixels = np.bincount(labels.ravel(), minlength=IGNORED + 1)
    pixels[IGNORED] = 0
    pixels[pixels.argmax()] = 0
    classes = pixels.nonzero()[0]
    if not classes.size:
        return None
    places = np.argwhere(labels == generator.choice(classes))
    window = []
    for at, side, length in zip(generator.choice(places), labels.shape, patch, strict=True):
        first, last = max(0, at - length + 1), max(0, min(at, side - length))
        start = int(generator.integers(first, last + 1))
        window.append(slice(start, start + length))
    return tuple(window)


def _reflected(array: NDArray[Any], size: tuple[int, int]) -> NDArray[Any]:
    """Reflected at the bottom and right up to ``size``."""
    short = [max(0, length - side) for side, length in zip(array.shape, size, strict=False)]
    if not any(short):
        return array
    return np.pad(array, [(0, n) for n in short] + [(0, 0)] * (array.ndim - 2), mode="reflect")


def _draw(entropy: tuple[int, ...]) -> int:
    """A 31-bit seed from several numbers."""
    return int(np.random.SeedSequence(entropy).generate_state(1)[0] >> 1)
