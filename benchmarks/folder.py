"""Predict a folder of images from disk to masks on disk, and compare its throughput with the engine alone.

    python benchmarks/folder.py RUN_OR_ENGINE [--images 1000] [--side 224] [--rounds 3]

Draws PNGs, soft shapes with camera noise, into a temporary folder. Each round times the engine alone on as many
prepared images in batches of the same size, (a) in single calls and (b) in parallel calls, if it supports them, and
(c) `predict_files` from the PNGs to masks on disk. The ratios of a round are fractions of the engine's throughput. The
masks of the first round must be complete and equal to those of the images predicted alone, except for the few pixels
on which batches differ.
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
from maskwright.inference.engines.engine import (
    Engine,
    SupportsParallelCalls,
    needs_framework,
    open_engine,
    weights_digest,
)
from maskwright.inference.pipeline import BATCH_SIZE
from maskwright.inference.predict_folder import PredictionJob, predict_files
from maskwright.inference.predict_image import predict_indices, predicts_in_one_call, prepare_image

COMPARED_MASKS = 20
MIN_EQUAL_FRACTION = 0.999  # of their pixels


def draw(folder: Path, *, images: int, side: int, channels: int) -> None:
    rng = np.random.default_rng(0)
    mode = {1: "L", 3: "RGB"}[channels]
    for number in range(images):
        coarse = rng.integers(0, 256, (side // 8, side // 8, channels), dtype=np.uint8)
        smooth = Image.fromarray(coarse.squeeze(), mode).resize((side, side), Image.Resampling.BICUBIC)
        noisy = np.asarray(smooth) + rng.normal(0, 6, (side, side, channels)).reshape(np.asarray(smooth).shape)
        Image.fromarray(noisy.clip(0, 255).astype(np.uint8), mode).save(folder / f"{number:05}.png")


def engine_alone(engine: Engine, prepared: np.ndarray, *, images: int) -> None:
    """Call the engine in batches, as many calls at once as it supports."""
    with ThreadPoolExecutor(getattr(engine, "calls", 1)) as threads:
        starts = range(0, images, BATCH_SIZE)
        list(threads.map(lambda start: engine(prepared[: min(BATCH_SIZE, images - start)]), starts))


def seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def check(engine: Engine, source: Path, masks: Path, *, images: int) -> None:
    """Check that every mask exists, and a sample of them against their images predicted alone."""
    written = sorted(masks.glob("*.png"))
    assert len(written) == images, f"{len(written)} masks of {images} images"
    equal = []
    for mask in written[:: max(1, images // COMPARED_MASKS)]:
        image = source / mask.name
        alone = engine.bundle.values(predict_indices(engine, read_image(image)))
        equal.append((read_mask(mask) == alone).mean())
    assert np.mean(equal) > MIN_EQUAL_FRACTION, equal


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("engine", type=Path)
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--side", type=int, default=224)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    if needs_framework(options.engine):
        from maskwright.framework import load_keras

        load_keras()
    engine = open_engine(options.engine)
    if not predicts_in_one_call(engine.bundle, (options.side, options.side)):
        parser.error(f"--side {options.side}: expected images that are predicted in one call")
    job = PredictionJob(engine, weights_digest(options.engine))
    rounds = []
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "images")
        source.mkdir()
        draw(source, images=options.images, side=options.side, channels=engine.bundle.channels)
        pixels = [read_image(file) for file in sorted(source.iterdir())[:BATCH_SIZE]]
        prepared = np.stack([prepare_image(engine.bundle, image) for image in pixels])
        predict_files(job, sorted(source.iterdir())[: 2 * BATCH_SIZE + 1], Path(folder, "warm"))
        parallel = engine.for_parallel_calls() if isinstance(engine, SupportsParallelCalls) else engine
        for each in (engine, parallel):
            engine_alone(each, prepared, images=4 * BATCH_SIZE)
        for number in range(options.rounds):
            masks = Path(folder, f"masks{number}")
            single_calls = seconds(lambda: engine_alone(engine, prepared, images=options.images))
            parallel_calls = seconds(lambda: engine_alone(parallel, prepared, images=options.images))
            to_disk = seconds(lambda masks=masks: predict_files(job, [source], masks))
            rounds.append((single_calls, parallel_calls, to_disk))
            if number == 0:
                check(engine, source, masks, images=options.images)
    size = f"{options.side} x {options.side}"
    print(f"{options.images} PNGs of {size}, {options.rounds} rounds, {os.cpu_count()} CPUs, ", end="")
    print(f"{platform.processor() or platform.machine()}, load {os.getloadavg()[0]:.1f}")
    print("| path | images/s | disk to disk: fraction of it, median (min - max) |\n| --- | ---: | --- |")
    paths = ("single calls", "parallel calls", "disk to disk")
    for index, path in enumerate(paths):
        fractions = [times[index] / times[-1] for times in rounds]
        rate = options.images / median(times[index] for times in rounds)
        last = index == len(paths) - 1
        fraction = "" if last else f"{median(fractions):.1%} ({min(fractions):.1%} - {max(fractions):.1%})"
        print(f"| {path} | {rate:.1f} | {fraction} |")


if __name__ == "__main__":
    main()
