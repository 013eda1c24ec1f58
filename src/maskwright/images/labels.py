"""What a value of a mask is called and how it is drawn."""

from functools import cache
from typing import Annotated, Final

import numpy as np
from pydantic import BaseModel, Field

Channel = Annotated[int, Field(ge=0, le=255)]
Colour = tuple[Channel, Channel, Channel]

IGNORED: Final = 255
"""Label index, in memory, of pixels that count neither in a loss nor in a score."""

BACKGROUND_COLOUR: Final[Colour] = (0, 0, 0)

# Okabe and Ito (2008), "Color universal design": seven colours told apart by every common kind of colour vision.
_FIRST: Final[tuple[Colour, ...]] = (
    (230, 159, 0),
    (86, 180, 233),
    (204, 121, 167),
    (0, 158, 115),
    (213, 94, 0),
    (240, 228, 66),
    (0, 114, 178),
)

# Machado, Oliveira and Fernandes (2009), severity 1: how linear RGB is seen without the first or second cone type.
_VISIONS: Final = np.array(
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
    """One class of a segmentation.

    >>> Label(name="road", value=3, colour=(128, 64, 128)).background
    False
    """

    name: str = Field(min_length=1, description="Name shown to people.")
    value: int = Field(description="Number written into id masks.")
    colour: Colour = Field(description="Red, green and blue, 0 to 255, in overlays and colour masks.")
    background: bool = Field(default=False, description="Whether this is the class of everything that is nothing else.")


def distinct_colours(n: int) -> tuple[Colour, ...]:
    """The first ``n`` of one fixed row of colours, for classes that come without their own (``0 <= n <= 254``).

    No two are equal and none is black, which is left to the background. The first seven are those of Okabe and Ito;
    each later one, neither dark nor pale nor gray, is the farthest in Oklab from all before it as seen by the least
    discerning of normal, protanopic and deuteranopic eyes. Asking for more never changes those already given.

    >>> distinct_colours(2)
    ((230, 159, 0), (86, 180, 233))
    """
    return _row()[:n]


@cache
def _row() -> tuple[Colour, ...]:
    levels = np.linspace(0, 255, 16).round()
    candidates = np.stack(np.meshgrid(levels, levels, levels, indexing="ij"), axis=-1).reshape(-1, 3)
    lightness, green_red, blue_yellow = _seen(candidates)[0].T
    vivid = (lightness > 0.4) & (lightness < 0.93) & (np.hypot(green_red, blue_yellow) > 0.08)
    candidates = candidates[vivid]
    seen = _seen(candidates)
    chosen = list(_FIRST)
    nearest = np.full(len(candidates), np.inf)
    for taken in _seen(np.array(_FIRST)).swapaxes(0, 1):
        nearest = np.minimum(nearest, _distance(seen, taken))
    while len(chosen) < IGNORED - 1:
        farthest = int(nearest.argmax())
        red, green, blue = candidates[farthest].astype(int).tolist()
        chosen.append((red, green, blue))
        nearest = np.minimum(nearest, _distance(seen, seen[:, farthest]))
    return tuple(chosen)


def _seen(colours: np.ndarray) -> np.ndarray:
    """Oklab coordinates, (visions, n, 3), of colours (n, 3) in 0..255 under each kind of colour vision."""
    unit = colours / 255
    linear = np.where(unit <= 0.04045, unit / 12.92, ((unit + 0.055) / 1.055) ** 2.4)  # sRGB, IEC 61966-2-1
    perceived = np.clip(linear @ _VISIONS.swapaxes(1, 2), 0, 1)
    return np.cbrt(perceived @ _TO_CONES.T) @ _TO_OKLAB.T


def _distance(seen: np.ndarray, one: np.ndarray) -> np.ndarray:
    return np.linalg.norm(seen - one[:, None], axis=-1).min(axis=0)
