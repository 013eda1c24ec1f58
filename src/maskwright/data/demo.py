"""Draw a small synthetic data set: cells and fibres in fluorescence microscopy."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from maskwright.errors import wrong_argument
from maskwright.images.write import write_image, write_mask

Field = NDArray[np.float64]  # (h, w)
Radiance = NDArray[np.float64]  # (h, w, 3), linear; 1 is the brightest value the camera records

CELL_RADIUS: Final = (12.0, 18.0)
"""Smallest and largest radius of a cell, in pixels."""
FIBRE_RADIUS: Final = (3.8, 5.4)
"""Smallest and largest half width of a fibre, in pixels."""

# The ratio of the two stains is random and independent of the class, so colour does not distinguish cells from fibres.
_STAINS: Final = np.array([[0.05, 0.62, 0.70], [0.86, 0.22, 0.62]])
_BRIGHTNESS: Final = (0.45, 0.8)  # radiance of the dimmest and the brightest object
_MIN_SIDE: Final = 16  # pixels


class Scene(NamedTuple):
    """An image and its mask."""

    image: NDArray[np.uint8]
    """RGB image, (h, w, 3)."""
    mask: NDArray[np.uint8]
    """Mask, (h, w), with 0 for background, 1 for cells and 2 for fibres."""


def draw_demo(
    folder: str | Path,
    *,
    training: int = 48,
    validation: int = 12,
    new: int = 6,
    size: tuple[int, int] = (160, 192),
    seed: int = 0,
) -> None:
    """Draw the sets ``train``, ``val`` and ``new`` in subfolders of ``folder``, each with ``images`` and ``masks``.

    Masks contain 0 (background), 1 (cell) and 2 (fibre). Images of ``new`` have various odd sizes, like the images to
    which a trained network may be applied later. An image depends on ``seed``, its set and its index, but not on the
    number of images. Existing files of the same names are replaced, and all other files are kept.

    Args:
        folder: Output folder, created if missing.
        training: Number of training pairs.
        validation: Number of validation pairs.
        new: Number of pairs with new images, for prediction.
        size: (height, width) of the training and validation images in pixels, at least 32 each.
        seed: Random seed, 0 or more.

    Raises:
        WrongArgument: A number of pairs or ``seed`` is negative, or a side in ``size`` is shorter than 32 pixels.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     draw_demo(folder, training=2, validation=1, new=0, size=(32, 48))
    ...     sorted(path.relative_to(folder).as_posix() for path in Path(folder).rglob("*.png"))[:3]
    ['train/images/000.png', 'train/images/001.png', 'train/masks/000.png']
    """
    counts: Mapping[str, int] = {"training": training, "validation": validation, "new": new}
    for name, given in {**counts, "seed": seed}.items():
        if given < 0:
            raise wrong_argument(name, given, expected="0 or more")
    _check_sides(size, minimum=2 * _MIN_SIDE)
    for index, (subfolder, count) in enumerate(zip(("train", "val", "new"), counts.values(), strict=True)):
        for number in range(count):
            odd_size = (size[0] - 9 + 14 * (number % 6), size[1] + 11 + 18 * (number % 6))
            rng = np.random.Generator(np.random.PCG64([seed, index, number]))
            scene = draw_scene(rng, size=odd_size if subfolder == "new" else size)
            write_image(Path(folder, subfolder, "images", f"{number:03}.png"), scene.image)
            write_mask(Path(folder, subfolder, "masks", f"{number:03}.png"), scene.mask)


def draw_scene(rng: np.random.Generator, *, size: tuple[int, int]) -> Scene:
    """Draw an image of ``size`` (height, width) and its mask.

    Fibres cross clusters of touching cells, and specks and blurred shapes belong to the background. Cells are grainy
    and round, with soft membranes; fibres are long and striped along their axis. Cells, fibres and blurred shapes have
    the same brightness and colours.

    Raises:
        WrongArgument: A side is shorter than 16 pixels.
    """
    _check_sides(size, minimum=_MIN_SIDE)
    area = size[0] * size[1] / (160 * 192)
    rows, columns = np.indices(size)
    radiance = _haze(rng, size)
    for _ in range(round(4 * area)):
        across = _fibre(rng, size)[2]
        radiance = _blend(radiance, 0.6 * np.exp(-(across**2) / 4), _object_colour(rng))
        (y, x), radius = rng.uniform((0, 0), size), rng.uniform(*CELL_RADIUS)
        radiance = _blend(
            radiance, 0.9 * np.exp(-((np.hypot(rows - y, columns - x) / radius) ** 4)), _object_colour(rng)
        )
    mask = np.zeros(size, np.uint8)
    for _ in range(max(1, round(3 * area))):
        radiance, mask = _draw_cells(rng, radiance, mask)
    for _ in range(max(1, round(4 * area))):
        radiance, mask = _draw_fibre(rng, radiance, mask)
    return Scene(_photograph(rng, _draw_dust(rng, radiance, count=round(12 * area))), mask)


def _check_sides(size: tuple[int, int], *, minimum: int) -> None:
    if min(size) < minimum:
        raise wrong_argument("size", size, expected=f"sides of at least {minimum} pixels")


def _draw_cells(
    rng: np.random.Generator, radiance: Radiance, mask: NDArray[np.uint8]
) -> tuple[Radiance, NDArray[np.uint8]]:
    """Add a cluster of cells; each cell touches one that was added before it."""
    size = mask.shape
    warp = [grid + 1.6 * _noise(rng, size, 14) for grid in np.indices(size)]
    radii = rng.uniform(*CELL_RADIUS, rng.integers(3, 8))
    centres = [rng.uniform((0, 0), size)]
    for number, radius in enumerate(radii[1:], start=1):
        neighbour = rng.integers(number)
        centres.append(centres[neighbour] + 0.9 * (radii[neighbour] + radius) * _direction(rng))
    distances = np.stack([np.hypot(warp[0] - y, warp[1] - x) - r for (y, x), r in zip(centres, radii, strict=True)])
    nearest = distances.argmin(axis=0)
    distances.sort(axis=0)
    depth = np.minimum(-distances[0], (distances[1] - distances[0]) / 2)  # pixels to the membrane of the cell
    grain = 0.85 * np.exp(0.6 * _noise(rng, size, 2.2))
    nuclei = rng.uniform(0.5, 1.3, len(radii))[nearest]
    body = np.where(depth > 0.45 * radii[nearest], nuclei, 1.0) * grain + 0.6 * np.exp(-((depth / 1.5) ** 2))
    colours = np.stack([_object_colour(rng) for _ in radii])[nearest]
    inside = distances[0] < 0
    return _draw_object(radiance, inside, colours * body[..., None]), np.where(inside, 1, mask).astype(np.uint8)


def _draw_fibre(
    rng: np.random.Generator, radiance: Radiance, mask: NDArray[np.uint8]
) -> tuple[Radiance, NDArray[np.uint8]]:
    """Add a fibre on top of all objects drawn so far."""
    inside, along, across = _fibre(rng, mask.shape)
    twist, strands = rng.uniform(-0.25, 0.25), rng.uniform(1.8, 2.6)
    body = 1.1 + 0.6 * np.cos(np.pi * strands * across + twist * along) + 0.15 * _noise(rng, mask.shape, 4)
    drawn = inside > 0
    colours = _object_colour(rng) * body[..., None]
    return _draw_object(radiance, drawn, colours), np.where(drawn, 2, mask).astype(np.uint8)


def _draw_object(radiance: Radiance, inside: NDArray[np.bool_], colour: Radiance) -> Radiance:
    """Add an object in focus that also shades its surroundings."""
    shaded = radiance * (1 - 0.5 * _blur(inside, 4))[..., None]
    return _blend(shaded, 0.95 * _blur(inside, 1), colour)


def _fibre(rng: np.random.Generator, size: tuple[int, ...]) -> tuple[Field, Field, Field]:
    """Return three maps of a random fibre.

    They contain a number that is positive inside the fibre, the position along the fibre in pixels, and the position
    across it from -1 to 1.
    """
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


def _draw_dust(rng: np.random.Generator, radiance: Radiance, *, count: int) -> Radiance:
    """Add bright or dark specks of one or two pixels."""
    height, width = radiance.shape[:2]
    specks = np.zeros((height, width))
    specks[rng.integers(height, size=count), rng.integers(width, size=count)] = 5.0
    return _blend(radiance, np.minimum(_blur(specks, 2), 0.8), rng.choice([0.05, 0.9]) * np.ones(3))


def _photograph(rng: np.random.Generator, radiance: Radiance) -> NDArray[np.uint8]:
    """Add uneven illumination, blur and camera noise, and quantise to 8 bits."""
    lamp = np.clip(1 + 0.35 * _noise(rng, radiance.shape[:2], 120), 0.45, 1.6) * rng.uniform(0.8, 1.2)
    blurred = np.stack([_blur(channel * lamp, 1) for channel in np.moveaxis(radiance, -1, 0)], axis=-1)
    noisy = blurred + np.sqrt(0.002 * blurred + 0.0003) * rng.standard_normal(blurred.shape)
    return np.round(255 * np.sqrt(np.clip(noisy, 0, 1))).astype(np.uint8)


def _haze(rng: np.random.Generator, size: tuple[int, int]) -> Radiance:
    """Return a background coloured by two stains whose amounts are independent smooth noise."""
    clouds = [0.5 * _noise(rng, size, 70) + 0.3 * _noise(rng, size, 25) + 0.15 * _noise(rng, size, 6) for _ in _STAINS]
    return np.clip(0.15 + 0.12 * np.stack(clouds, axis=-1), 0.02, None) @ _STAINS


def _object_colour(rng: np.random.Generator) -> NDArray[np.float64]:
    """Return the colour of one object, scaled by its brightness, as an array (3,)."""
    fraction = rng.uniform()
    return rng.uniform(*_BRIGHTNESS) * (np.array([fraction, 1 - fraction]) @ _STAINS)


def _direction(rng: np.random.Generator) -> NDArray[np.float64]:
    angle = rng.uniform(0, 2 * np.pi)
    return np.array([np.sin(angle), np.cos(angle)])


def _blend(below: Radiance, opacity: Field, colour: NDArray[np.float64]) -> Radiance:
    """Blend ``colour``, an array (3,) or (h, w, 3), over ``below`` with the given opacity."""
    alpha = opacity[..., None]
    return below * (1 - alpha) + colour * alpha


def _noise(rng: np.random.Generator, size: tuple[int, ...], scale: float) -> Field:
    """Return smooth noise with mean 0, standard deviation of about 1 and a random knot every ``scale`` pixels."""
    axes = []
    for side in size:
        position = np.arange(side) / scale
        fraction = position % 1
        axes.append((position.astype(int), fraction * fraction * (3 - 2 * fraction)))
    (y, down), (x, right) = axes
    knots = rng.standard_normal((y[-1] + 2, x[-1] + 2))
    rows = knots[y] * (1 - down)[:, None] + knots[y + 1] * down[:, None]
    return 1.4 * (rows[:, x] * (1 - right) + rows[:, x + 1] * right)


def _blur(field: NDArray[np.generic], steps: int) -> Field:
    """Apply ``steps`` binomial filters with edge padding: a blur with standard deviation sqrt(steps / 2) pixels."""
    smooth = field.astype(np.float64)
    for _ in range(steps):
        for axis in (0, 1):
            padded = np.pad(smooth, [(1, 1) if axis == i else (0, 0) for i in (0, 1)], mode="edge")
            first, middle, last = (np.take(padded, np.arange(i, i + smooth.shape[axis]), axis) for i in (0, 1, 2))
            smooth = (first + 2 * middle + last) / 4
    return smooth
