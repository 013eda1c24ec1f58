"""Draw synthetic seismic images of 101 x 101 pixels with masks of salt, a third of which are empty.

    python benchmarks/draw_salt.py FOLDER [--train 800] [--test 300] [--seed 0]

It writes PNG files to ``train/images``, ``train/masks``, ``test/images`` and ``test/masks``; masks contain 0 and 255.
As in Kaggle's TGS salt identification challenge, the images are gray crops of a section, about a third of the masks are
empty, and some contain only a few pixels at the border of the crop. An image shows reflecting layers, which are bent
and shifted by a fault; salt has a weak, disordered texture. Some empty images have a similar zone of weak amplitudes
with ordered layers, so the amplitude alone does not distinguish salt from other rock.
"""

import argparse
from pathlib import Path

import numpy as np
from scipy.ndimage import gaussian_filter, gaussian_filter1d

from maskwright.images.write import write_image, write_mask

SIDE = 101
EMPTY_FRACTION = 1 / 3


def layers(rng: np.random.Generator, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Return the amplitudes (h, w) of bent layers with a fault."""
    bends = sum(
        rng.uniform(-9, 9) * np.sin(columns / rng.uniform(15, 60) + rng.uniform(0, 2 * np.pi)) for _ in range(3)
    )
    fault = rng.uniform(-14, 14) * (columns + rng.uniform(-0.7, 0.7) * rows > rng.uniform(0, SIDE))
    depth = rows + bends + rng.uniform(-0.5, 0.5) * columns + fault
    reflectivity = gaussian_filter1d(rng.normal(size=600), rng.uniform(1.0, 2.2))
    reflectivity = np.gradient(reflectivity) / np.std(np.gradient(reflectivity))
    return np.interp(depth, np.arange(600) - 250, reflectivity)


def zone(rng: np.random.Generator, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Return the approximate signed distance (h, w) to the border of a body, in pixels; it is positive inside."""
    centre = rng.uniform(-25, SIDE + 25, 2)
    angle = np.arctan2(rows - centre[0], columns - centre[1])
    radius = rng.uniform(18, 75)
    for order in range(1, 5):
        radius = radius + rng.normal() * 9 / order * np.sin(order * angle + rng.uniform(0, 2 * np.pi))
    return radius - np.hypot(rows - centre[0], columns - centre[1])


def draw(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return the image (h, w) and the mask (h, w) of one crop."""
    rows, columns = np.mgrid[:SIDE, :SIDE].astype(float)
    amplitudes = layers(rng, rows, columns)
    inside = zone(rng, rows, columns)
    is_empty = rng.random() < EMPTY_FRACTION
    weak = 1 / (1 + np.exp(-inside / 1.5))  # from 0 outside to 1 inside
    disordered = gaussian_filter(rng.normal(size=(SIDE, SIDE)), rng.uniform(1.0, 1.8))
    disordered *= rng.uniform(0.4, 0.9) / disordered.std()
    rim = rng.uniform(0.0, 0.9) * np.exp(-((inside / 2.2) ** 2))
    if is_empty:
        amplitudes = amplitudes * (1 - weak * rng.uniform(0.0, 0.75))
        mask = np.zeros((SIDE, SIDE), bool)
    else:
        amplitudes = amplitudes * (1 - weak * rng.uniform(0.55, 1.0)) + weak * disordered + rim
        mask = inside > 0
    noise = gaussian_filter(rng.normal(size=(SIDE, SIDE)), 0.7)
    amplitudes = amplitudes + rng.uniform(0.1, 0.45) * noise / noise.std()
    image = 128 + rng.uniform(-25, 25) + rng.uniform(22, 42) * amplitudes
    return image.clip(0, 255).astype(np.uint8), mask


def main() -> None:
    """Draw the images and masks of both sets."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--train", type=int, default=800)
    parser.add_argument("--test", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    for index, (part, count) in enumerate({"train": options.train, "test": options.test}.items()):
        for number in range(count):
            image, mask = draw(np.random.default_rng((options.seed, index, number)))
            write_image(options.folder / part / "images" / f"{number:04}.png", np.repeat(image[..., None], 3, axis=2))
            write_mask(options.folder / part / "masks" / f"{number:04}.png", mask.astype(np.uint8) * 255)


if __name__ == "__main__":
    main()
