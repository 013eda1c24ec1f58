"""Engines without a framework: known functions of the pixels."""

import numpy as np

from maskwright.images.labels import Label
from maskwright.images.normalise import Normalisation
from maskwright.inference.bundle import Bundle

BACKGROUND = Label(name="background", value=0, colour=(0, 0, 0), background=True)
CELL = Label(name="cell", value=255, colour=(230, 159, 0))
IDENTITY = Normalisation(mean=(0.0,), std=(1.0,))


def bundle(**changes):
    fields = {
        "channels": 1,
        "pixels": ("uint8",),
        "normalisation": IDENTITY,
        "labels": (BACKGROUND, CELL),
        "activation": "sigmoid",
    }
    return Bundle(**(fields | changes))


class Brightness:
    """Returns each pixel's brightness as its probability, and records the sizes of its inputs."""

    def __init__(self, **changes):
        self.bundle = bundle(**changes)
        self.sizes = []

    def __call__(self, images):
        self.sizes.append(images.shape[1:3])
        return images[..., :1]


class Blur(Brightness):
    """Returns the mean over 11 x 11 pixels, zero-padded like a convolution: a receptive radius of 5 pixels."""

    def __call__(self, images):
        self.sizes.append(images.shape[1:3])
        padded = np.pad(images, ((0, 0), (5, 5), (5, 5), (0, 0)))
        height, width = images.shape[1:3]
        shifts = [padded[:, dy : dy + height, dx : dx + width] for dy in range(11) for dx in range(11)]
        return np.mean(shifts, axis=0, dtype=np.float64).astype(np.float32)
