"""A folder of small images from disk to masks on disk, beside the engine's own rate.

    python benchmarks/folder.py RUN_OR_ENGINE [--images 1000] [--side 224] [--rounds 3]

Draws PNGs, soft shapes with a camera's noise, into a temporary folder. Each round times the engine alone, on as many
prepared images in batches of the size that the folder is predicted in, (a) one call after the other and (b), if it can
be divided, several at once, and (c) `predict_files` from the PNGs to masks on disk; the ratios of a round are the
shares of the engine's own rate that are left. Every mask of the first round
must be there and equal to the one of its image predicted alone, but for the pixels on which batches differ.
"""

import argparse
import os
import platform
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median

import numpy as np
from PIL import Image

from maskwright.images.read import read_image, read_mask
from maskwright.inference.engines.engine import Divisible, Engine, needs_framework, open_engine, weights_digest
from maskwright.inference.pipeline import BATCH
from maskwright.inference.predict_folder import Job, predict_files
from maskwright.inference.predict_image import predict_indices, prepared_whole

CHECKED = 20  # masks compared with those of their images predicted alone
ALIKE = 0.999  # of their pixels


def draw(folder: Path, *, images: int, side: int, channels: int) -> None:
    rng = np.random.default_rng(0)
    mode = {1: "L", 3: "RGB"}[channels]
    for number in range(images):
        coarse = rng.integers(0, 256, (side // 8, side // 8, channels), dtype=np.uint8)
        smooth = Image.fromarray(coarse.squeeze(), mode).resize((side, side), Image.Resampling.BICUBIC)
        noisy = np.asarray(smooth) + rng.normal(0, 6, (side, side, channels)).reshape(np.asarray(smooth).shape)
        Image.fromarray(noisy.clip(0, 255).astype(np.uint8), mode).save(folder / f"{number:05}.png")


def engine_alone(engine: Engine, prepared: np.ndarray, *, images: int) -> None:
    with ThreadPoolExecutor(getattr(engine, "calls", 1)) as lanes:
        list(lanes.map(lambda start: engine(prepared[: min(BATCH, images - start)]), range(0, images, BATCH)))


def seconds(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def check(engine: Engine, source: Path, masks: Path, *, images: int) -> None:
    """No work, no number."""
    written = sorted(masks.glob("*.png"))
    assert len(written) == images, f"{len(written)} masks of {images} images"
    alike = []
    for mask in written[:: max(1, images // CHECKED)]:
        image = source / mask.name
        alone = engine.bundle.values(predict_indices(engine, read_image(image)))
        alike.append((read_mask(mask) == alone).mean())
    assert np.mean(alike) > ALIKE, alike


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("engine", type=Path)
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--side", type=int, default=224)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    if needs_framework(given.engine):
        from maskwright.framework import load_keras

        load_keras()
    engine = open_engine(given.engine)
    job = Job(engine, weights_digest(given.engine))
    rounds = []
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "images")
        source.mkdir()
        draw(source, images=given.images, side=given.side, channels=engine.bundle.channels)
        pixels = [read_image(file) for file in sorted(source.iterdir())[:BATCH]]
        prepared = np.stack([prepared_whole(engine.bundle, image) for image in pixels])
        predict_files(job, sorted(source.iterdir())[: 2 * BATCH + 1], Path(folder, "warm"))
        own = engine.side_by_side() if isinstance(engine, Divisible) else engine
        for way in (engine, own):
            engine_alone(way, prepared, images=4 * BATCH)
        for number in range(given.rounds):
            masks = Path(folder, f"masks{number}")
            one = seconds(lambda: engine_alone(engine, prepared, images=given.images))
            several = seconds(lambda: engine_alone(own, prepared, images=given.images))
            whole = seconds(lambda masks=masks: predict_files(job, [source], masks))
            rounds.append((one, several, whole))
            if number == 0:
                check(engine, source, masks, images=given.images)
    print(f"{given.images} PNGs of {given.side} x {given.side}, {given.rounds} rounds, {os.cpu_count()} CPUs, ", end="")
    print(f"{platform.processor() or platform.machine()}, load {os.getloadavg()[0]:.1f}")
    print("| way | images/s | disk to disk: share of it, median (lowest - highest) |\n| --- | ---: | --- |")
    ways = ("one call after the other", "several calls at once", "disk to disk")
    for place, way in enumerate(ways):
        shares = [times[place] / times[-1] for times in rounds]
        rate = given.images / median(times[place] for times in rounds)
        share = "" if way == ways[-1] else f"{median(shares):.1%} ({min(shares):.1%} - {max(shares):.1%})"
        print(f"| {way} | {rate:.1f} | {share} |")


if __name__ == "__main__":
    main()
