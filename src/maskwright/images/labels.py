"""Labels: the name, value and display colour of each class."""

from functools import cache
from typing import Annotated, Final

import numpy as np
from pydantic import BaseModel, Field

Channel = Annotated[int, Field(ge=0, le=255)]
Colour = tuple[Channel, Channel, Channel]

IGNORED: Final = 255
"""Label index that marks pixels excluded from loss and scores in memory."""

BACKGROUND_COLOUR: Final[Colour] = (0, 0, 0)

# Okabe and Ito (2008), "Color universal design": colours distinguishable with all common types of colour vision.
_OKABE_ITO: Final[tuple[Colour, ...]] = (
    (230, 159, 0),
    (86, 180, 233),
    (204, 121, 167),
    (0, 158, 115),
    (213, 94, 0),
    (240, 228, 66),
    (0, 114, 178),
)

# Machado, Oliveira and Fernandes (2009), severity 1: simulation of protanopia and deuteranopia in linear RGB.
_VISION_MATRICES: Final = np.array(
    [
        [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    ]
)

# Ottosson (2020), "A perceptual color space for image processing": linear RGB to cone responses to Oklab.
_TO_CONES: Final = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
)
_TO_OKLAB: Final = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
)


class Label(BaseModel, frozen=True, extra="forbid"):
    """The name, mask value and colour of one class.

    >>> Label(name="road", value=3, colour=(128, 64, 128)).background
    False
    """

    name: str = Field(min_length=1, description="Class name.")
    value: int = Field(description="Pixel value of the class in id masks.")
    colour: Colour = Field(description="Red, green and blue, 0 to 255, of the class in overlays and colour masks.")
    background: bool = Field(default=False, description="Whether the label is the background.")


def distinct_colours(n: int) -> tuple[Colour, ...]:
    """Return the first ``n`` colours of a fixed sequence, for classes without colours of their own (``0 <= n <= 254``).

    All colours are different, and none is black, the colour of the background. The first seven are those of Okabe and
    Ito. Each further colour is neither dark, pale nor gray and has the largest Oklab distance from all previous
    colours, where the distance is the minimum over normal, protanopic and deuteranopic vision.

    >>> distinct_colours(2)
    ((230, 159, 0), (86, 180, 233))
    """
    return _sequence()[:n]


@cache
def _sequence() -> tuple[Colour, ...]:
    levels = np.linspace(0, 255, 16).round()
    candidates = np.stack(np.meshgrid(levels, levels, levels, indexing="ij"), axis=-1).reshape(-1, 3)
    lightness, green_red, blue_yellow = _perceived(candidates)[0].T
    vivid = (lightness > 0.4) & (lightness < 0.93) & (np.hypot(green_red, blue_yellow) > 0.08)
    candidates = candidates[vivid]
    perceived = _perceived(candidates)
    chosen = list(_OKABE_ITO)
    nearest = np.full(len(candidates), np.inf)
    for chosen_colour in _perceived(np.array(_OKABE_ITO)).swapaxes(0, 1):
        nearest = np.minimum(nearest, _distance(perceived, chosen_colour))
    while len(chosen) < IGNORED - 1:
        farthest = int(nearest.argmax())
        red, green, blue = candidates[farthest].astype(int).tolist()
        chosen.append((red, green, blue))
        nearest = np.minimum(nearest, _distance(perceived, perceived[:, farthest]))
    return tuple(chosen)


def _perceived(colours: np.ndarray) -> np.ndarray:
    """Return Oklab coordinates, (vision types, n, 3), of colours (n, 3) from 0 to 255 for each type of vision."""
    unit = colours / 255
    linear = np.where(unit <= 0.04045, unit / 12.92, ((unit + 0.055) / 1.055) ** 2.4)  # sRGB, IEC 61966-2-1
    simulated = np.clip(linear @ _VISION_MATRICES.swapaxes(1, 2), 0, 1)
    return np.cbrt(simulated @ _TO_CONES.T) @ _TO_OKLAB.T


def _distance(colours: np.ndarray, colour: np.ndarray) -> np.ndarray:
    return np.linalg.norm(colours - colour[:, None], axis=-1).min(axis=0)
