"""Pairs of files to batches of patches, in an order that is a pure function of seed and step."""

import math
from collections.abc import Callable, Collection, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from maskwright.data.augment import Augmentation, Geometry
from maskwright.data.mask_values import MaskValues
from maskwright.data.pairs import Pair
from maskwright.data.patch_sampling import View, seen
from maskwright.images.channels import to_channels
from maskwright.images.coord_channels import Position, ramp, with_position
from maskwright.images.labels import IGNORED
from maskwright.images.normalise import Normalisation
from maskwright.images.read import read_image, read_mask

AHEAD: Final = 3
"""Batches that are prepared before they are asked for."""
_LONGEST_EPOCH: Final = 250

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

    ``batch(step)`` depends on the seed, the step and the size alone: a run that starts again at a step sees what it
    would have seen. Each image is drawn about as often as patches fit into it, every image once before any is drawn
    again.

    Args:
        reader: The training pairs.
        sizes: Their (height, width), in the same order.
        patch: (height, width) of a patch, pixels. A smaller image is reflected up to it.
        geometry: How patches look at their images.
        augmentation: What is done to the patches themselves.
        scale: What images are resized by: a patch shows so many fewer of their pixels, down and across.
        position: Channels that tell where pixels lie in their image, added to the normalised ones.
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
        geometry: Geometry = Geometry(),
        foreground: float = 0.0,
        scale: float = 1.0,
        position: Sequence[Position] = (),
    ) -> None:
        self.reader = reader
        self.patch = patch
        self.position = position
        self._shown = (patch[0] / scale, patch[1] / scale)
        self.batch_size = batch_size
        self.seed = seed
        self.normalisation = normalisation
        self.augmentation = augmentation
        self.geometry = geometry
        self.foreground = foreground
        self._sought: Sequence[tuple[int, frozenset[int]]] = ()
        self._share = 0.0
        self._draws = np.repeat(np.arange(len(sizes)), [patches_in(size, self._shown) for size in sizes])

    def seek(self, sought: Sequence[tuple[int, Collection[int]]], *, share: float) -> None:
        """From some steps on, lay ``share`` of the patches on some label indices, where an image has one of them.

        Each of ``sought`` is a step and the labels from there on, until the next.
        """
        self._sought = [(first, frozenset(labels)) for first, labels in sought]
        self._share = share

    @property
    def steps_per_epoch(self) -> int:
        """Steps that show about as many pixels as the images hold, once; at most 250, so that news is never far."""
        return min(math.ceil(len(self._draws) / self.batch_size), _LONGEST_EPOCH)

    def batch(self, step: int, size: tuple[int, int] | None = None) -> Batch:
        """Images (n, h, w, c), normalised, and label indices (n, h, w), of step ``step``.

        Args:
            step: Which one.
            size: (height, width) the patches are brought to; their own, ``patch``, if absent.
        """
        images, masks, places = self._cut_batch(step, size or self.patch, self.geometry)
        images, masks = self._augment(step, images, masks)
        return self._prepared(images, places), masks

    def plain(self, step: int) -> NDArray[np.float32]:
        """The images of step ``step``, normalised, as they would be without augmentation."""
        images, _, places = self._cut_batch(step, self.patch, Geometry())
        return self._prepared(images, places)

    def augmented(self, step: int, size: tuple[int, int] | None = None) -> Batch:
        """The batch of step ``step`` in unit scale, before normalisation: what a person can look at."""
        images, masks, _ = self._cut_batch(step, size or self.patch, self.geometry)
        return self._augment(step, images, masks)

    def _augment(self, step: int, images: NDArray[np.float32], masks: NDArray[np.uint8]) -> Batch:
        return self.augmentation(images, masks, seed=_draw((self.seed, 2, step)))

    def _prepared(self, images: NDArray[np.float32], places: NDArray[np.float32] | None) -> NDArray[np.float32]:
        """Images in unit scale as the network takes them."""
        normalised = self.normalisation.standardise(images)
        return (
            normalised if places is None else with_position(normalised, self.position, places[..., 0], places[..., 1])
        )

    def _cut_batch(self, step: int, size: tuple[int, int], geometry: Geometry) -> tuple[Any, Any, Any]:
        first = step * self.batch_size
        cut = [self._cut(place, size, geometry) for place in range(first, first + self.batch_size)]
        images, masks, places = zip(*cut, strict=True)
        return np.stack(images), np.stack(masks), np.stack(places) if self.position else None

    def _cut(
        self, place: int, size: tuple[int, int], geometry: Geometry
    ) -> tuple[NDArray[np.float32], NDArray[np.uint8], NDArray[np.float32] | None]:
        """One patch: the image by the epoch's own order, where and how it is looked at by chance; and where that is."""
        epoch, position = divmod(place, len(self._draws))
        order = np.random.default_rng((self.seed, 0, epoch)).permutation(self._draws)
        image, labels = self.reader[int(order[position])]
        generator = np.random.default_rng((self.seed, 1, place))
        window = _window(labels.shape, self._shown, geometry.draw_zoom(generator))
        step, corner = place // self.batch_size, None
        sought = next((labels for since, labels in reversed(self._sought) if since <= step), frozenset())
        if sought and generator.random() < self._share:
            corner = _corner_by_a_class(labels, window, generator, of=sought)
        elif self.foreground and generator.random() < self.foreground:
            corner = _corner_by_a_class(labels, window, generator)
        top, left = corner or [
            _start(side, length, generator) for side, length in zip(labels.shape, window, strict=True)
        ]
        view = View(top, left, *window, **geometry.draw_turn(generator))
        patch, patch_labels = seen(image, labels, view, size)
        places = _places(labels, view, size) if self.position else None
        return self.normalisation.to_unit(patch), patch_labels, places

    def stream(
        self, first: int, *, size: Callable[[int], tuple[int, int] | None] = lambda step: None
    ) -> Generator[Batch]:
        """Batches from step ``first`` on, for ever, prepared `AHEAD` in a thread while the network computes.

        Args:
            first: The first step.
            size: What to bring the patches of a step to, see `batch`.
        """
        with ThreadPoolExecutor(1, thread_name_prefix="patches") as pool:
            waiting = [pool.submit(self.batch, step, size(step)) for step in range(first, first + AHEAD)]
            try:
                for step in range(first + AHEAD, 2**62):
                    waiting.append(pool.submit(self.batch, step, size(step)))
                    yield waiting.pop(0).result()
            finally:
                for future in waiting:
                    future.cancel()


def _places(labels: NDArray[np.uint8], view: View, size: tuple[int, int]) -> NDArray[np.float32]:
    """Where in the whole image the pixels of a patch lie, (height, width, 2): down and across, from -1 to 1."""
    height, width = labels.shape
    axes = ramp(height)[:, None, None], ramp(width)[None, :, None]
    each = [seen(np.broadcast_to(axis, (height, width, 1)), labels, view, size)[0] for axis in axes]
    return np.concatenate(each, axis=-1).astype(np.float32)


def patches_in(size: tuple[int, int], patch: tuple[float, float]) -> int:
    """How many patches cover an image's pixels.

    >>> patches_in((360, 480), (256, 256))
    3
    """
    return math.ceil(size[0] * size[1] / (patch[0] * patch[1]))


def _window(size: tuple[int, ...], patch: tuple[float, float], zoom: float) -> tuple[float, float]:
    """(height, width) of what a patch shows: as much more as it is zoomed out, but no more than there is."""
    fits = min(1.0, *(max(side, length) * zoom / length for side, length in zip(size, patch, strict=True)))
    height, width = (length * fits / zoom for length in patch)
    return height, width


def _start(side: int, length: float, generator: np.random.Generator) -> float:
    """Where a window begins: at a whole pixel where it has whole pixels, so that patches are what is there."""
    room = max(0.0, side - length)
    return float(generator.integers(int(room) + 1) if length.is_integer() else generator.uniform(0, room))


def _corner_by_a_class(
    labels: NDArray[np.uint8],
    window: tuple[float, float],
    generator: np.random.Generator,
    *,
    of: Collection[int] | None = None,
) -> list[float] | None:
    """The top and left of a window that holds a random pixel of a random class, if there is one.

    Classes are those of ``of``, or all beside the commonest.
    """
    pixels = np.zeros(IGNORED + 1, np.int64)
    for row in labels:  # all at once would take eight times the mask's memory
        pixels += np.bincount(row, minlength=len(pixels))
    pixels[IGNORED] = 0
    if of is None:
        pixels[pixels.argmax()] = 0
    else:
        pixels[[place for place in range(len(pixels)) if place not in of]] = 0
    classes = pixels.nonzero()[0]
    if not classes.size:
        return None
    chosen = generator.choice(classes)
    by_row = np.cumsum([np.count_nonzero(row == chosen) for row in labels])
    place = int(generator.integers(by_row[-1]))  # of all its pixels, row by row
    at_row = int(np.searchsorted(by_row, place, side="right"))
    at_column = int(np.flatnonzero(labels[at_row] == chosen)[place - (by_row[at_row - 1] if at_row else 0)])
    corner = []
    for at, side, length in zip((at_row, at_column), labels.shape, window, strict=True):
        first, last = max(0, at - math.floor(length) + 1), max(0, min(at, math.floor(side - length)))
        corner.append(float(generator.integers(first, max(first, last) + 1)))
    return corner


def _draw(entropy: tuple[int, ...]) -> int:
    """A 31-bit seed from several numbers."""
    return int(np.random.SeedSequence(entropy).generate_state(1)[0] >> 1)
