"""Random augmentation of training patches: geometric, photometric, or by a user-defined callable."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from maskwright.errors import InputError

Images = NDArray[np.float32]
Masks = NDArray[np.uint8]


class Augmentation(Protocol):
    """A function that augments a batch; equal seeds produce equal results."""

    def __call__(self, images: Images, masks: Masks, *, seed: int) -> tuple[Images, Masks]:
        """Return augmented copies of images (n, h, w, c) in [0, 1] and masks (n, h, w) of label indices."""
        ...


class WrongAugmentation(InputError):
    """A user-defined augmentation that returned an invalid image or mask."""

    text = "augmentation {name} returned {found}; expected an image {image} and a mask {mask} with the given labels."


@dataclass(frozen=True, slots=True)
class GeometricAugmentation:
    """Random flips, zoom and rotation, drawn independently for each patch.

    Args:
        flip: Directions in which patches are flipped, each with probability 1/2: ``none``, ``horizontal``, ``vertical``
            or ``horizontal_and_vertical``.
        zoom: Largest relative enlargement or reduction, 0 or more.
        rotation: Largest clockwise or counter-clockwise rotation in degrees.
    """

    flip: str = "none"
    zoom: float = 0.0
    rotation: float = 0.0

    def draw_zoom(self, generator: np.random.Generator) -> float:
        """Return a random magnification, log-uniformly distributed from 1 / (1 + zoom) to 1 + zoom."""
        return float((1 + self.zoom) ** generator.uniform(-1, 1)) if self.zoom else 1.0

    def draw_orientation(self, generator: np.random.Generator) -> dict[str, Any]:
        """Return random values of the `PatchWindow` fields ``angle``, ``flip_horizontal`` and ``flip_vertical``."""
        return {
            "angle": float(generator.uniform(-self.rotation, self.rotation)) if self.rotation else 0.0,
            "flip_horizontal": "horizontal" in self.flip and generator.random() < 0.5,
            "flip_vertical": "vertical" in self.flip and generator.random() < 0.5,
        }


class PhotometricAugmentation:
    """Random brightness and contrast of each image, as an `Augmentation`; masks are returned unchanged.

    Args:
        brightness: Largest increase or decrease of the pixel values, as a fraction of the value range.
        contrast: Largest relative change of the differences between the pixel values and the mean of their image.
    """

    def __init__(self, *, brightness: float = 0.0, contrast: float = 0.0) -> None:
        self.brightness = brightness
        self.contrast = contrast

    def __call__(self, images: Images, masks: Masks, *, seed: int) -> tuple[Images, Masks]:
        """Return augmented images, clipped to [0, 1], and unchanged masks; see `Augmentation`."""
        if not (self.brightness or self.contrast):
            return images, masks
        generator = np.random.default_rng(seed)
        augmented = np.empty_like(images)
        for image, out in zip(images, augmented, strict=True):
            scale = 1 + generator.uniform(-self.contrast, self.contrast)
            shift = (1 - scale) * image.mean() + generator.uniform(-self.brightness, self.brightness)
            np.multiply(image, np.float32(scale), out=out)
            out += np.float32(shift)
        return np.clip(augmented, 0, 1, out=augmented), masks


class CallableAugmentation:
    """A user-defined ``callable(image=..., mask=...)``, such as an albumentations ``Compose``, as an `Augmentation`.

    The callable receives one image, (h, w, c) float32 in [0, 1], and one mask, (h, w) uint8, of label indices with 255
    for ignored pixels. It returns both, as a pair or as a mapping with the keys ``image`` and ``mask``. The global
    random generator of NumPy is seeded before each call.

    Raises:
        WrongAugmentation: The returned image or mask has another shape, or the returned mask has labels
            that the given mask does not have.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        self._name = getattr(function, "__qualname__", type(function).__name__)

    def __call__(self, images: Images, masks: Masks, *, seed: int) -> tuple[Images, Masks]:
        """Return augmented images and masks; see `Augmentation`."""
        pairs = [
            self._augment(image, mask, np.random.SeedSequence((seed, index)).generate_state(1)[0])
            for index, (image, mask) in enumerate(zip(images, masks, strict=True))
        ]
        return np.stack([image for image, _ in pairs]), np.stack([mask for _, mask in pairs])

    def _augment(self, image: Images, mask: Masks, seed: int) -> tuple[Images, Masks]:
        np.random.seed(seed)
        result = self.function(image=image.copy(), mask=mask.copy())
        if isinstance(result, Mapping):
            result = result.get("image"), result.get("mask")
        if not (isinstance(result, tuple) and len(result) == 2):
            raise self._error(type(result).__name__, image, mask)
        augmented, labels = np.asarray(result[0], np.float32), np.asarray(result[1])
        if augmented.shape != image.shape or labels.shape != mask.shape:
            raise self._error(f"an image {augmented.shape} and a mask {labels.shape}", image, mask)
        new_labels = np.setdiff1d(labels, mask)
        if new_labels.size:
            raise self._error(f"labels {new_labels[:5].tolist()} that are not in the given mask", image, mask)
        return augmented, labels.astype(np.uint8)

    def _error(self, found: str, image: Images, mask: Masks) -> WrongAugmentation:
        return WrongAugmentation(name=self._name, found=found, image=image.shape, mask=mask.shape)
