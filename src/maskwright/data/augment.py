"""Random changes of training patches, by Keras' own image layers, which move masks exactly with their images."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import keras
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


def layers_for(
    *, flip: str = "none", zoom: float = 0.0, rotation: float = 0.0, brightness: float = 0.0, contrast: float = 0.0
) -> list[keras.layers.Layer]:
    """The Keras layers of a recipe's augmentation; a zero leaves its layer out. ``rotation`` is in degrees.

    What comes into view at the borders is reflected, in image and mask alike, so that it keeps its true label.
    """
    layers: list[keras.layers.Layer] = []
    if flip != "none":
        layers.append(keras.layers.RandomFlip(flip))
    if zoom:
        layers.append(keras.layers.RandomZoom((-zoom, zoom), fill_mode="reflect"))
    if rotation:
        layers.append(keras.layers.RandomRotation(rotation / 360, fill_mode="reflect"))
    if brightness:
        layers.append(keras.layers.RandomBrightness(brightness, value_range=(0, 1)))
    if contrast:
        layers.append(keras.layers.RandomContrast(contrast, value_range=(0, 1)))
    return layers


class KerasAugmentation:
    """Keras image layers, one after the other, as an `Augmentation`."""

    name = "keras"

    def __init__(self, layers: Sequence[keras.layers.Layer]) -> None:
        self.layers = layers

    def __call__(self, images: Images, masks: Masks, *, seed: int) -> tuple[Images, Masks]:
        """See `Augmentation`. Masks move by nearest neighbour: no label comes out that did not go in."""
        if not self.layers:
            return images, masks
        generator = keras.random.SeedGenerator(seed)
        pixels, labels = keras.ops.convert_to_tensor(images), keras.ops.convert_to_tensor(masks[..., None], "float32")
        for layer in self.layers:
            data = {"images": pixels, "segmentation_masks": labels}
            change = layer.get_random_transformation(data, training=True, seed=generator)
            pixels = layer.transform_images(pixels, transformation=_copied(change), training=True)
            labels = layer.transform_segmentation_masks(labels, transformation=_copied(change), training=True)
        return _numpy(pixels, np.float32), _numpy(labels, np.uint8)[..., 0]


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


def _copied(change: Any) -> Any:
    """On torch Keras' affine layers write into what describes their change, so image and mask get one each."""
    return keras.tree.map_structure(lambda leaf: keras.ops.copy(leaf) if keras.ops.is_tensor(leaf) else leaf, change)


def _numpy(tensor: Any, dtype: type[np.generic]) -> NDArray[Any]:
    return keras.ops.convert_to_numpy(tensor).astype(dtype)
