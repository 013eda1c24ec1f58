"""A small data set that is drawn, not downloaded: cells and fibres under a fluorescence microscope."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from maskwright.errors import wrong_argument
from maskwright.images.write import write_image, write_mask

Field = NDArray[np.float64]  # (h, w)
Light = NDArray[np.float64]  # (h, w, 3), linear, 1 is the brightest the camera records

CELL_RADIUS: Final = (12.0, 18.0)
FIBRE_RADIUS: Final = (3.8, 5.4)

# Every object glows in a random mixture of two stains, whatever its class: colour does not tell cells from fibres.
_STAINS: Final = np.array([[0.05, 0.62, 0.70], [0.86, 0.22, 0.62]])
_BRIGHTNESS: Final = (0.45, 0.8)
_SMALLEST: Final = 16


class Scene(NamedTuple):
    """A drawn picture and its truth."""

    image: NDArray[np.uint8]
    """(h, w, 3)."""
    mask: NDArray[np.uint8]
    """(h, w): 0 background, 1 cell, 2 fibre."""


def draw_demo(
    folder: str | Path,
    *,
    training: int = 48,
    validation: int = 12,
    new: int = 6,
    size: tuple[int, int] = (160, 192),
    seed: int = 0,
) -> None:
    """Draw three sets of pairs below ``folder``: ``train``, ``val`` and ``new``, each with ``images`` and ``masks``.

    Masks hold 0 (background), 1 (cell) and 2 (fibre). Pictures of ``new`` have odd sizes that differ, as pictures met
    after training do. A picture depends on ``seed``, its set and its number, not on how many others are drawn. Files of
    the same names are replaced, all others stay.

    Args:
        folder: Made if missing.
        training: Pairs to train on.
        validation: Pairs to validate with.
        new: Pairs that no training sees.
        size: Height and width in pixels, at least 32 each.
        seed: Not negative.

    Raises:
        WrongArgument: A number is negative, or a side is too short.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     draw_demo(folder, training=2, validation=1, new=0, size=(32, 48))
    ...     sorted(path.relative_to(folder).as_posix() for path in Path(folder).rglob("*.png"))[:3]
    ['train/images/000.png', 'train/images/001.png', 'train/masks/000.png']
    """
    counts: Mapping[str, int] = {"training": training, "validation": validation, "new": new}
    for name, given in {**counts, "seed": seed}.items():
        if given < 0:
            raise wrong_argument(name, given, expected="a number that is not negative")
    _check_sides(size, least=2 * _SMALLEST)
    for index, (subfolder, count) in enumerate(zip(("train", "val", "new"), counts.values(), strict=True)):
        for number in range(count):
            odd = (size[0] - 9 + 14 * (number % 6), size[1] + 11 + 18 * (number % 6))
            rng = np.random.Generator(np.random.PCG64([seed, index, number]))
            scene = draw_scene(rng, size=odd if subfolder == "new" else size)
            write_image(Path(folder, subfolder, "images", f"{number:03}.png"), scene.image)
            write_mask(Path(folder, subfolder, "masks", f"{number:03}.png"), scene.mask)


def draw_scene(rng: np.random.Generator, *, size: tuple[int, int]) -> Scene:
    """One picture of ``size`` (height, width): clusters of touching cells, fibres across them, and what is neither.

    Cells are grainy and round, with soft membranes; fibres are long and striped along their course. Both are equally
    bright and of the same colours, and so are the blurred shapes, out of focus, that belong to the background.

    Raises:
        WrongArgument: a side is under 16 pixels.
    """
    _check_sides(size, least=_SMALLEST)
    area = size[0] * size[1] / (160 * 192)
    rows, columns = np.indices(size)
    light = _haze(rng, size)
    for _ in range(round(4 * area)):
        across = _fibre(rng, size)[2]
        light = _over(light, 0.6 * np.exp(-(across**2) / 4), _glow(rng))
        (y, x), radius = rng.uniform((0, 0), size), rng.uniform(*CELL_RADIUS)
        light = _over(light, 0.9 * np.exp(-((np.hypot(rows - y, columns - x) / radius) ** 4)), _glow(rng))
    mask = np.zeros(size, np.uint8)
    for _ in range(max(1, round(3 * area))):
        light, mask = _draw_cells(rng, light, mask)
    for _ in range(max(1, round(4 * area))):
        light, mask = _draw_fibre(rng, light, mask)
    return Scene(_photograph(rng, _draw_dust(rng, light, count=round(12 * area))), mask)


def _check_sides(size: tuple[int, int], *, least: int) -> None:
    if min(size) < least:
        raise wrong_argument("size", size, expected=f"sides of at least {least} pixels")


def _draw_cells(rng: np.random.Generator, light: Light, mask: NDArray[np.uint8]) -> tuple[Light, NDArray[np.uint8]]:
    """A cluster of cells, each touching one drawn before it."""
    size = mask.shape
    warp = [grid + 1.6 * _noise(rng, size, 14) for grid in np.indices(size)]
    radii = rng.uniform(*CELL_RADIUS, rng.integers(3, 8))
    centres = [rng.uniform((0, 0), size)]
    for number, radius in enumerate(radii[1:], start=1):
        other = rng.integers(number)
        centres.append(centres[other] + 0.9 * (radii[other] + radius) * _direction(rng))
    away = np.stack([np.hypot(warp[0] - y, warp[1] - x) - r for (y, x), r in zip(centres, radii, strict=True)])
    nearest = away.argmin(axis=0)
    away.sort(axis=0)
    depth = np.minimum(-away[0], (away[1] - away[0]) / 2)  # pixels to the cell's own membrane
    grain = 0.85 * np.exp(0.6 * _noise(rng, size, 2.2))
    nuclei = rng.uniform(0.5, 1.3, len(radii))[nearest]
    body = np.where(depth > 0.45 * radii[nearest], nuclei, 1.0) * grain + 0.6 * np.exp(-((depth / 1.5) ** 2))
    colours = np.stack([_glow(rng) for _ in radii])[nearest]
    inside = away[0] < 0
    return _lay_on(light, inside, colours * body[..., None]), np.where(inside, 1, mask).astype(np.uint8)


def _draw_fibre(rng: np.random.Generator, light: Light, mask: NDArray[np.uint8]) -> tuple[Light, NDArray[np.uint8]]:
    """A strand over whatever lies there."""
    inside, along, across = _fibre(rng, mask.shape)
    twist, strands = rng.uniform(-0.25, 0.25), rng.uniform(1.8, 2.6)
    body = 1.1 + 0.6 * np.cos(np.pi * strands * across + twist * along) + 0.15 * _noise(rng, mask.shape, 4)
    return _lay_on(light, inside > 0, _glow(rng) * body[..., None]), np.where(inside > 0, 2, mask).astype(np.uint8)


def _lay_on(light: Light, inside: NDArray[np.bool_], glow: Light) -> Light:
    """An object in focus, which takes some light from what is next to it."""
    shaded = light * (1 - 0.5 * _blur(inside, 4))[..., None]
    return _over(shaded, 0.95 * _blur(inside, 1), glow)


def _fibre(rng: np.random.Generator, size: tuple[int, ...]) -> tuple[Field, Field, Field]:
    """Where a strand is (above 0), and each pixel's place along it (pixels) and across it (-1 to 1, edge to edge)."""
    (down, right), (y, x) = _direction(rng), rng.uniform((0, 0), size)
    rows, columns = np.indices(size)
    along = (rows - y) * down + (columns - x) * right
    across = (columns - x) * down - (rows - y) * right
    slope = np.zeros(size)
    for wavelength in rng.uniform((60, 110), (110, 240)):
        bend, turns = wavelength * rng.uniform(0.05, 0.1), 2 * np.pi / wavelength
        phase = along * turns + rng.uniform(0, 2 * np.pi)
        across = across - bend * np.sin(phase)
        slope = slope + bend * turns * np.cos(phase)
    across = across / np.sqrt(1 + slope**2) / rng.uniform(*FIBRE_RADIUS)
    inside = np.minimum(1 - np.abs(across), rng.uniform(45, 110) - np.abs(along))
    return inside, along, across


def _draw_dust(rng: np.random.Generator, light: Light, *, count: int) -> Light:
    """Bright and dark specks of one or two pixels."""
    height, width = light.shape[:2]
    specks = np.zeros((height, width))
    specks[rng.integers(height, size=count), rng.integers(width, size=count)] = 5.0
    return _over(light, np.minimum(_blur(specks, 2), 0.8), rng.choice([0.05, 0.9]) * np.ones(3))


def _photograph(rng: np.random.Generator, light: Light) -> NDArray[np.uint8]:
    """Uneven lighting, the lens, the camera's noise and its 8 bits."""
    lamp = np.clip(1 + 0.35 * _noise(rng, light.shape[:2], 120), 0.45, 1.6) * rng.uniform(0.8, 1.2)
    seen = np.stack([_blur(channel * lamp, 1) for channel in np.moveaxis(light, -1, 0)], axis=-1)
    noisy = seen + np.sqrt(0.002 * seen + 0.0003) * rng.standard_normal(seen.shape)
    return np.round(255 * np.sqrt(np.clip(noisy, 0, 1))).astype(np.uint8)


def _haze(rng: np.random.Generator, size: tuple[int, int]) -> Light:
    """Background light: two stains, each in clouds of its own."""
    clouds = [0.5 * _noise(rng, size, 70) + 0.3 * _noise(rng, size, 25) + 0.15 * _noise(rng, size, 6) for _ in _STAINS]
    return np.clip(0.15 + 0.12 * np.stack(clouds, axis=-1), 0.02, None) @ _STAINS


def _glow(rng: np.random.Generator) -> NDArray[np.float64]:
    """Colour and brightness of one object, (3,)."""
    share = rng.uniform()
    return rng.uniform(*_BRIGHTNESS) * (np.array([share, 1 - share]) @ _STAINS)


def _direction(rng: np.random.Generator) -> NDArray[np.float64]:
    angle = rng.uniform(0, 2 * np.pi)
    return np.array([np.sin(angle), np.cos(angle)])


def _over(below: Light, opacity: Field, colour: NDArray[np.float64]) -> Light:
    """``colour``, (3,) or (h, w, 3), laid over light."""
    share = opacity[..., None]
    return below * (1 - share) + colour * share


def _noise(rng: np.random.Generator, size: tuple[int, ...], scale: float) -> Field:
    """Smooth noise of mean 0 and a spread of about 1: random numbers every ``scale`` pixels, smoothly joined."""
    parts = []
    for side in size:
        place = np.arange(side) / scale
        share = place % 1
        parts.append((place.astype(int), share * share * (3 - 2 * share)))
    (y, down), (x, right) = parts
    knots = rng.standard_normal((y[-1] + 2, x[-1] + 2))
    rows = knots[y] * (1 - down)[:, None] + knots[y + 1] * down[:, None]
    return 1.4 * (rows[:, x] * (1 - right) + rows[:, x + 1] * right)


def _blur(field: NDArray[np.generic], steps: int) -> Field:
    """Smoothed by ``steps`` binomial filters, a standard deviation of sqrt(steps / 2) pixels; borders are repeated."""
    smooth = field.astype(np.float64)
    for _ in range(steps):
        for axis in (0, 1):
            padded = np.pad(smooth, [(1, 1) if axis == i else (0, 0) for i in (0, 1)], mode="edge")
            first, middle, last = (np.take(padded, np.arange(i, i + smooth.shape[axis]), axis) for i in (0, 1, 2))
            smooth = (first + 2 * middle + last) / 4
    return smooth
