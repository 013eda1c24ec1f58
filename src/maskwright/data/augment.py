"""Random changes of training patches: how each looks at its image, in what light, or what a user's callable does."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from maskwright.errors import InputError

Images = NDArray[np.float32]
Masks = NDArray[np.uint8]


class Augmentation(Protocol):
    """What changes a batch: equal seeds give equal changes. ``name`` is how a recipe records it."""

    name: str

    def __call__(self, images: Images, masks: Masks, *, seed: int) -> tuple[Images, Masks]:
        """Images (n, h, w, c) in [0, 1] and masks (n, h, w) of label indices, changed together."""
        ...


class WrongAugmentation(InputError):
    """A user's augmentation whose answer cannot be used."""

    text = (
        "augmentation {name} returned {found}; expected an image {image} and a mask {mask} of the labels it was given."
    )


@dataclass(frozen=True, slots=True)
class Geometry:
    """How views of an image differ: mirrored with probability one half where ``flip`` allows, zoomed and turned.

    ``zoom`` is the largest relative change of scale and ``rotation`` the largest turn, in degrees, both in either
    direction.
    """

    flip: str = "none"
    zoom: float = 0.0
    rotation: float = 0.0

    def draw_zoom(self, generator: np.random.Generator) -> float:
        """How many times larger things are shown, from 1 / (1 + zoom) to 1 + zoom, the middle at 1."""
        return float((1 + self.zoom) ** generator.uniform(-1, 1)) if self.zoom else 1.0

    def draw_turn(self, generator: np.random.Generator) -> dict[str, Any]:
        """The rest of a `View`, beside its window."""
        return {
            "angle": float(generator.uniform(-self.rotation, self.rotation)) if self.rotation else 0.0,
            "mirrored": "horizontal" in self.flip and generator.random() < 0.5,
            "upside_down": "vertical" in self.flip and generator.random() < 0.5,
        }


class Light:
    """Random brightness and contrast of each image, as an `Augmentation`; masks stay as they are.

    Args:
        brightness: Largest shift of intensity, as a share of the value range.
        contrast: Largest relative change of the distance to the image's mean.
    """

    name = "light"

    def __init__(self, *, brightness: float = 0.0, contrast: float = 0.0) -> None:
        self.brightness = brightness
        self.contrast = contrast

    def __call__(self, images: Images, masks: Masks, *, seed: int) -> tuple[Images, Masks]:
        """See `Augmentation`. Values stay in [0, 1]."""
        if not (self.brightness or self.contrast):
            return images, masks
        generator = np.random.default_rng(seed)
        lighter = np.empty_like(images)
        for image, out in zip(images, lighter, strict=True):
            scale = 1 + generator.uniform(-self.contrast, self.contrast)
            shift = (1 - scale) * image.mean() + generator.uniform(-self.brightness, self.brightness)
            np.multiply(image, np.float32(scale), out=out)
            out += np.float32(shift)
        return np.clip(lighter, 0, 1, out=lighter), masks


class CallableAugmentation:
    """A user's ``callable(image=..., mask=...)`` as an `Augmentation`; an albumentations ``Compose`` is one.

    It is given one image, (h, w, c) float32 in [0, 1], and one mask, (h, w) uint8 of label indices (255: ignored), and
    returns both, as a pair or a mapping with the keys ``image`` and ``mask``. NumPy's global generator is seeded before
    each call.

    Raises:
        WrongAugmentation: The answer has other shapes, or labels the mask did not hold.
    """

    def __init__(self, change: Callable[..., Any]) -> None:
        self.change = change
        self.name = getattr(change, "__qualname__", type(change).__name__)

    def __call__(self, images: Images, masks: Masks, *, seed: int) -> tuple[Images, Masks]:
        """See `Augmentation`."""
        pairs = [
            self._one(image, mask, np.random.SeedSequence((seed, place)).generate_state(1)[0])
            for place, (image, mask) in enumerate(zip(images, masks, strict=True))
        ]
        return np.stack([image for image, _ in pairs]), np.stack([mask for _, mask in pairs])

    def _one(self, image: Images, mask: Masks, seed: int) -> tuple[Images, Masks]:
        np.random.seed(seed)
        answer = self.change(image=image.copy(), mask=mask.copy())
        if isinstance(answer, Mapping):
            answer = answer.get("image"), answer.get("mask")
        if not (isinstance(answer, tuple) and len(answer) == 2):
            raise self._wrong(type(answer).__name__, image, mask)
        changed, labels = np.asarray(answer[0], np.float32), np.asarray(answer[1])
        if changed.shape != image.shape or labels.shape != mask.shape:
            raise self._wrong(f"an image {changed.shape} and a mask {labels.shape}", image, mask)
        new = np.setdiff1d(labels, mask)
        if new.size:
            raise self._wrong(f"labels {new[:5].tolist()} that the mask did not hold", image, mask)
        return changed, labels.astype(np.uint8)

    def _wrong(self, found: str, image: Images, mask: Masks) -> WrongAugmentation:
        return WrongAugmentation(name=self.name, found=found, image=image.shape, mask=mask.shape)
