"""Sample batches of training patches that depend only on the seed, the step and the patch size."""

import math
from collections.abc import Callable, Collection, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from maskwright.data.augment import Augmentation, GeometricAugmentation
from maskwright.data.mask_values import MaskValues
from maskwright.data.pairs import Pair
from maskwright.data.patch_sampling import PatchWindow, sample_patch
from maskwright.images.channels import to_channels
from maskwright.images.coord_channels import CoordChannel, add_coord_channels, ramp
from maskwright.images.labels import IGNORED
from maskwright.images.normalise import Normalisation
from maskwright.images.read import read_image, read_mask

PREFETCHED_BATCHES: Final = 3
"""Number of training batches that are prepared in advance."""
_MAX_STEPS_PER_EPOCH: Final = 250
_MAX_IMAGES_WITHOUT_FOREGROUND: Final = 20  # maximum number of images with one class only that are drawn for one patch

Batch = tuple[NDArray[np.float32], NDArray[np.uint8]]


class PairReader:
    """A sequence of decoded pairs, each an image (h, w, c) with ``channels`` channels and its label indices (h, w).

    Decoded pairs are cached up to a total of ``cache_bytes`` bytes, so that small data sets are decoded only once.
    """

    def __init__(self, pairs: Sequence[Pair], *, channels: int, mask_values: MaskValues, cache_bytes: int) -> None:
        self.pairs = pairs
        self.channels = channels
        self.mask_values = mask_values
        self._free_bytes = cache_bytes
        self._cache: dict[int, tuple[NDArray[np.generic], NDArray[np.uint8]]] = {}

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> tuple[NDArray[np.generic], NDArray[np.uint8]]:
        """Return the decoded image and label indices of the pair at ``index``."""
        if index in self._cache:
            return self._cache[index]
        pair = self.pairs[index]
        image = to_channels(read_image(pair.image), self.channels, file=pair.image)
        labels = self.mask_values.encode(read_mask(pair.mask), file=pair.mask)
        size = image.nbytes + labels.nbytes
        if size <= self._free_bytes:
            self._free_bytes -= size
            self._cache[index] = image, labels
        return image, labels


class Patches:
    """Batches of random patches that are augmented and normalised.

    ``batch(step)`` depends only on the seed, the step and the patch size, so a resumed run continues with the same
    batches. Images are drawn in proportion to the number of patches that cover them and without replacement within an
    epoch.

    Args:
        reader: Reader of the training pairs.
        sizes: Size (height, width) of each image of ``reader`` in pixels, in the same order.
        patch_size: Size (height, width) of a patch in pixels. Smaller images are extended by reflection.
        batch_size: Number of patches in a batch.
        seed: Random seed for the order of images, the windows and the augmentation.
        normalisation: Normalisation of the pixel values, which is applied last.
        augmentation: Augmentation of the sampled patches, which is applied to pixels in [0, 1].
        geometry: Random flips, zoom and rotation, which are applied during sampling.
        scale: Factor by which images are resized; a patch covers ``patch_size / scale`` image pixels.
        coord_channels: Coordinate channels to append to the normalised images.
        foreground_oversampling: Fraction of the patches, 0 to 1, that are placed on a random pixel of a random class
            other than the most common class of the image. Classes are drawn uniformly. If an image has one class only,
            another image is drawn, up to 20 times. nnU-Net uses a fraction of 1/3 (Isensee et al. 2021).
    """

    def __init__(
        self,
        reader: PairReader,
        *,
        sizes: Sequence[tuple[int, int]],
        patch_size: tuple[int, int],
        batch_size: int,
        seed: int,
        normalisation: Normalisation,
        augmentation: Augmentation,
        geometry: GeometricAugmentation = GeometricAugmentation(),
        foreground_oversampling: float = 0.0,
        scale: float = 1.0,
        coord_channels: Sequence[CoordChannel] = (),
    ) -> None:
        self.reader = reader
        self.patch_size = patch_size
        self.coord_channels = coord_channels
        self._covered_size = (patch_size[0] / scale, patch_size[1] / scale)
        self.batch_size = batch_size
        self.seed = seed
        self.normalisation = normalisation
        self.augmentation = augmentation
        self.geometry = geometry
        self.foreground_oversampling = foreground_oversampling
        self._missed: Sequence[tuple[int, frozenset[int]]] = ()
        self._missed_fraction = 0.0
        self._draws = np.repeat(np.arange(len(sizes)), [patches_in(size, self._covered_size) for size in sizes])

    def oversample_missed(self, missed: Sequence[tuple[int, Collection[int]]], *, fraction: float) -> None:
        """Place ``fraction`` of the patches on pixels of missed classes in images that contain such a class.

        Args:
            missed: Pairs of the first step and the label indices of the missed classes, in order of step; each pair
                applies until the first step of the next pair.
            fraction: Fraction of the patches to place on missed classes, 0 to 1.
        """
        self._missed = [(first, frozenset(labels)) for first, labels in missed]
        self._missed_fraction = fraction

    @property
    def steps_per_epoch(self) -> int:
        """Number of steps whose patches cover all pixels about once, at most 250, so that validation is frequent."""
        return min(math.ceil(len(self._draws) / self.batch_size), _MAX_STEPS_PER_EPOCH)

    def batch(self, step: int, size: tuple[int, int] | None = None) -> Batch:
        """Return the normalised images (n, h, w, c) and the label indices (n, h, w) for a training step.

        Args:
            step: Index of the training step, from 0.
            size: Size (height, width), in pixels, to which patches are resampled; by default, ``patch_size``.
        """
        images, masks, coordinates = self._sample_batch(step, size or self.patch_size, self.geometry)
        images, masks = self._augment(step, images, masks)
        return self._normalise(images, coordinates), masks

    def unaugmented(self, step: int) -> NDArray[np.float32]:
        """Return the normalised images for a training step, without augmentation."""
        images, _, coordinates = self._sample_batch(step, self.patch_size, GeometricAugmentation())
        return self._normalise(images, coordinates)

    def augmented(self, step: int, size: tuple[int, int] | None = None) -> Batch:
        """Return the augmented batch for a training step before normalisation, with pixels in [0, 1], for display."""
        images, masks, _ = self._sample_batch(step, size or self.patch_size, self.geometry)
        return self._augment(step, images, masks)

    def stream(
        self, first: int, *, size: Callable[[int], tuple[int, int] | None] = lambda step: None
    ) -> Generator[Batch]:
        """Yield batches endlessly from step ``first``; a thread prepares `PREFETCHED_BATCHES` of them in advance.

        Args:
            first: Index of the first training step.
            size: Function that returns the patch size for a training step; see `batch`.
        """
        with ThreadPoolExecutor(1, thread_name_prefix="patches") as pool:
            pending = [pool.submit(self.batch, step, size(step)) for step in range(first, first + PREFETCHED_BATCHES)]
            try:
                for step in range(first + PREFETCHED_BATCHES, 2**62):
                    pending.append(pool.submit(self.batch, step, size(step)))
                    yield pending.pop(0).result()
            finally:
                for future in pending:
                    future.cancel()

    def _augment(self, step: int, images: NDArray[np.float32], masks: NDArray[np.uint8]) -> Batch:
        return self.augmentation(images, masks, seed=_derived_seed((self.seed, 2, step)))

    def _normalise(self, images: NDArray[np.float32], coordinates: NDArray[np.float32] | None) -> NDArray[np.float32]:
        """Convert images with pixels in [0, 1] to inputs of the network."""
        normalised = self.normalisation.standardise(images)
        if coordinates is None:
            return normalised
        return add_coord_channels(normalised, self.coord_channels, coordinates[..., 0], coordinates[..., 1])

    def _sample_batch(self, step: int, size: tuple[int, int], geometry: GeometricAugmentation) -> tuple[Any, Any, Any]:
        first = step * self.batch_size
        patches = [self._sample(index, size, geometry) for index in range(first, first + self.batch_size)]
        images, masks, coordinates = zip(*patches, strict=True)
        return np.stack(images), np.stack(masks), np.stack(coordinates) if self.coord_channels else None

    def _sample(
        self, index: int, size: tuple[int, int], geometry: GeometricAugmentation
    ) -> tuple[NDArray[np.float32], NDArray[np.uint8], NDArray[np.float32] | None]:
        """Return the pixels in [0, 1], the labels and the pixel coordinates of patch ``index`` of training."""
        epoch, position = divmod(index, len(self._draws))
        order = np.random.default_rng((self.seed, 0, epoch)).permutation(self._draws)
        image, labels = self.reader[int(order[position])]
        generator = np.random.default_rng((self.seed, 1, index))
        zoom = geometry.draw_zoom(generator)
        window_size = _window_size(labels.shape, self._covered_size, zoom)
        step, corner = index // self.batch_size, None
        missed = next((labels for first, labels in reversed(self._missed) if first <= step), frozenset())
        if missed and generator.random() < self._missed_fraction:
            corner = _corner_with_class(labels, window_size, generator, classes=missed)
        elif self.foreground_oversampling and generator.random() < self.foreground_oversampling:
            for _ in range(_MAX_IMAGES_WITHOUT_FOREGROUND):
                corner = _corner_with_class(labels, window_size, generator)
                if corner is not None:
                    break
                image, labels = self.reader[int(generator.choice(self._draws))]
                window_size = _window_size(labels.shape, self._covered_size, zoom)
        top, left = corner or [
            _random_start(side, length, generator) for side, length in zip(labels.shape, window_size, strict=True)
        ]
        window = PatchWindow(top, left, *window_size, **geometry.draw_orientation(generator))
        patch, patch_labels = sample_patch(image, labels, window, size)
        coordinates = _coordinates(labels, window, size) if self.coord_channels else None
        return self.normalisation.to_unit(patch), patch_labels, coordinates


def patches_in(size: tuple[int, int], patch_size: tuple[float, float]) -> int:
    """Return the number of patches, rounded up, whose total area equals the area of an image.

    >>> patches_in((360, 480), (256, 256))
    3
    """
    return math.ceil(size[0] * size[1] / (patch_size[0] * patch_size[1]))


def _coordinates(labels: NDArray[np.uint8], window: PatchWindow, size: tuple[int, int]) -> NDArray[np.float32]:
    """Return the row and column coordinates, (h, w, 2), of the pixels of a patch in the image, each from -1 to 1."""
    height, width = labels.shape
    axes = ramp(height)[:, None, None], ramp(width)[None, :, None]
    sampled = [sample_patch(np.broadcast_to(axis, (height, width, 1)), labels, window, size)[0] for axis in axes]
    return np.concatenate(sampled, axis=-1).astype(np.float32)


def _window_size(size: tuple[int, ...], patch_size: tuple[float, float], zoom: float) -> tuple[float, float]:
    """Return the (height, width) of the window of a patch at a zoom, reduced proportionally to fit into the image.

    If the image is smaller than the patch, the window may be as large as the patch.
    """
    fit = min(1.0, *(max(side, length) * zoom / length for side, length in zip(size, patch_size, strict=True)))
    height, width = (length * fit / zoom for length in patch_size)
    return height, width


def _random_start(side: int, length: float, generator: np.random.Generator) -> float:
    """Return a random start of a window along a side.

    The start is an integer if the length of the window is an integer, so that no interpolation is needed.
    """
    room = max(0.0, side - length)
    return float(generator.integers(int(room) + 1) if length.is_integer() else generator.uniform(0, room))


def _corner_with_class(
    labels: NDArray[np.uint8],
    window_size: tuple[float, float],
    generator: np.random.Generator,
    *,
    classes: Collection[int] | None = None,
) -> list[float] | None:
    """Return the top and left coordinates of a random window that contains a random pixel of a random class.

    ``classes`` restricts the eligible classes, by default all except the most common class of the mask. The result is
    None if the mask contains no eligible class.
    """
    counts = np.zeros(IGNORED + 1, np.int64)
    for row in labels:  # np.bincount of the whole mask would require eight times the memory of the mask
        counts += np.bincount(row, minlength=len(counts))
    counts[IGNORED] = 0
    if classes is None:
        counts[counts.argmax()] = 0
    else:
        counts[[label for label in range(len(counts)) if label not in classes]] = 0
    eligible = counts.nonzero()[0]
    if not eligible.size:
        return None
    chosen = generator.choice(eligible)
    cumulative = np.cumsum([np.count_nonzero(row == chosen) for row in labels])
    index = int(generator.integers(cumulative[-1]))  # index among the pixels of the class, row by row
    row = int(np.searchsorted(cumulative, index, side="right"))
    column = int(np.flatnonzero(labels[row] == chosen)[index - (cumulative[row - 1] if row else 0)])
    corner = []
    for pixel, side, length in zip((row, column), labels.shape, window_size, strict=True):
        first, last = max(0, pixel - math.floor(length) + 1), max(0, min(pixel, math.floor(side - length)))
        corner.append(float(generator.integers(first, max(first, last) + 1)))
    return corner


def _derived_seed(entropy: tuple[int, ...]) -> int:
    """Return a 31-bit seed derived from several integers."""
    return int(np.random.SeedSequence(entropy).generate_state(1)[0] >> 1)
