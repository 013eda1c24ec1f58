"""Predict an image larger than memory: throughput relative to the engine alone, peak memory, and the seam.

    python benchmarks/large_image.py ENGINE --images DIR [--side 30000] [--small 3072] [--windows 6] [--rounds 5]

The image is a mosaic of the images in DIR, rotated at random, as a tiled TIFF. Throughput: each round times the same
windows twice, through the engine alone and from the file to finished blocks on disk. Memory: the peak of a process that
predicts the whole mosaic. Seam: on a small mosaic, the fraction of pixels whose class differs from that of another
layout, and from that of a single call.
"""

import argparse
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median

import numpy as np

from maskwright.images.files import expand_inputs
from maskwright.images.read import read_image
from maskwright.images.windows.source import open_source
from maskwright.images.windows.write_tiff import write_tiff
from maskwright.inference.engines.engine import Engine, open_engine, weights_digest
from maskwright.inference.large.block_predictor import LocalBlockPredictor
from maskwright.inference.large.block_store import BlockStore
from maskwright.inference.large.encoding import Ids
from maskwright.inference.large.predict_blocks import predict_missing_blocks
from maskwright.inference.large.predict_large import LargePredictionJob, predict_large
from maskwright.inference.tiling.layout import Layout, lay_out, single_block
from maskwright.inference.tiling.margin import measure_margin
from maskwright.inference.tiling.window_predictor import WindowPredictor

TILE = 256  # side of the TIFF's tiles
RATE_MARGIN = 64  # pixels


def mosaic(images: list[np.ndarray], side: int, file: Path) -> Path:
    """Write a square of the images, each cropped to the least height and width of all and rotated at random."""
    cell = min(min(image.shape[:2]) for image in images)
    rotated = [np.ascontiguousarray(np.rot90(image[:cell, :cell], turns)) for image in images for turns in range(4)]
    order = np.random.default_rng(0).integers(0, len(rotated), (-(-side // cell), -(-side // cell)))

    def tiles() -> Iterator[np.ndarray]:
        for top in range(0, side, TILE):
            rows = range(top, min(top + TILE, side))
            cells = range(rows[0] // cell, rows[-1] // cell + 1)
            strip = np.concatenate([np.concatenate([rotated[index] for index in order[row]], axis=1) for row in cells])
            strip = strip[top - cells[0] * cell :][: len(rows), :side]
            for left in range(0, side, TILE):
                yield strip[:, left : left + TILE]

    bands, dtype = rotated[0].shape[2], rotated[0].dtype
    write_tiff(file, tiles(), height=side, width=side, bands=bands, dtype=dtype, tile=TILE)
    return file


def seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def measure_throughput(predictor: LocalBlockPredictor, windows: int, rounds: int) -> None:
    """Predict a row of inner windows from file to disk and through the engine alone, alternately."""
    windowed, source = predictor.windows, predictor.windows.source
    bundle = windowed.engine.bundle
    whole = lay_out(source.height, source.width, multiple=bundle.multiple, margin=RATE_MARGIN, tile=bundle.tile)
    size = min(source.height, bundle.tile), min(source.width, windows * whole.kept[1])
    layout = Layout(**whole.model_dump() | {"size": size})
    inputs = [windowed.read(*block.window).images for block in layout.blocks()]
    windowed.engine(inputs[0])
    ratios, engine_rates = [], []
    for _ in range(rounds):
        engine_seconds = seconds(lambda: [windowed.engine(images) for images in inputs])
        ratios.append(engine_seconds / seconds(lambda: predict_to_disk(predictor, layout)))
        engine_rates.append(sum(images[0, ..., 0].size for images in inputs) / engine_seconds / 1e6)
    height, width = layout.window
    print(f"| {len(inputs)} windows of {height} x {width}, file to blocks: fraction of the engine's throughput", end="")
    print(f" | {median(ratios):.3f} ({min(ratios):.3f} - {max(ratios):.3f}) |")
    print(f"| throughput of the engine alone, megapixels/s | {median(engine_rates):.2f} |")


def predict_to_disk(predictor: LocalBlockPredictor, layout: Layout) -> None:
    with tempfile.TemporaryDirectory() as folder:
        store = BlockStore(Path(folder), layout, predictor.encoding)
        predict_missing_blocks(
            predictor, store, layout=layout, progress=lambda done, total: None, report=lambda line: None
        )


def measure_seams(engine: Engine, file: Path) -> None:
    """Compare layouts of a small mosaic with each other and with a single call."""
    bundle = engine.bundle
    with open_source(file) as source:
        windows = WindowPredictor(engine, source, file)
        predictor = LocalBlockPredictor(windows, Ids(bundle))
        grid = {"multiple": bundle.multiple, "tile": bundle.tile}
        margin = measure_margin(windows)
        layout = lay_out(source.height, source.width, margin=margin, **grid)
        smaller = Layout(**layout.model_dump() | {"kept": (2 * TILE, 2 * TILE)})
        one_call = single_block(source.height, source.width, **grid)
        masks = [predict_mask(predictor, each) for each in (layout, smaller, one_call)]
    blocks = len(layout.blocks()), len(smaller.blocks())
    print(f"| margin measured on {layout.size[0]} x {layout.size[1]}, pixels | {margin} |")
    print(f"| changed pixels, {blocks[0]} blocks and {blocks[1]} | {(masks[0] != masks[1]).mean():.2e} |")
    print(f"| changed pixels, {blocks[0]} blocks and a single call | {(masks[0] != masks[2]).mean():.2e} |")


def predict_mask(predictor: LocalBlockPredictor, layout: Layout) -> np.ndarray:
    mask = np.empty(layout.size, predictor.encoding.block_dtype)
    for block, result in predictor.predict_blocks(layout.blocks()):
        mask[block.kept] = result.values[..., 0]
    return mask


def predict_whole(engine: Path, file: Path) -> None:
    """Predict the large mosaic; run in a new process, so that its peak memory is that of predicting."""
    job = LargePredictionJob(open_engine(engine), weights_digest(engine), file)
    result = predict_large(
        job, file.with_suffix(".mask.tif"), report=lambda line: print(line, file=sys.stderr, flush=True)
    )
    status = Path("/proc/self/status").read_text()  # Linux starts ru_maxrss at the value of the parent process
    peak = 1024 * int(status.partition("VmHWM:")[2].split()[0])
    print(f"| {result.pixels / 1e6:.0f} megapixels: peak memory, GB | {peak / 1e9:.2f} |")
    print(f"| seconds, and megapixels/s | {result.seconds:.0f}, {result.pixels / result.seconds / 1e6:.2f} |")
    print(
        f"| changed along borders by more than twice the margin of {result.margin} | {result.seam_fraction} |",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("engine", type=Path)
    parser.add_argument("--images", type=Path)
    parser.add_argument("--side", type=int, default=30000)
    parser.add_argument("--small", type=int, default=3072)
    parser.add_argument("--windows", type=int, default=6)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--whole", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.whole:
        predict_whole(options.engine, options.whole)
        return
    if options.images is None:
        parser.error("--images is required: a folder of images like those the engine was trained on")
    images = [read_image(path) for path, _ in expand_inputs([options.images])[:100]]
    engine = open_engine(options.engine)
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}\n")
    print("| measurement | value |\n| --- | --- |")
    with tempfile.TemporaryDirectory() as folder:
        large = mosaic(images, options.side, Path(folder, "large.tif"))
        measure_seams(engine, mosaic(images, options.small, Path(folder, "small.tif")))
        with open_source(large) as source:
            predictor = LocalBlockPredictor(WindowPredictor(engine, source, large), Ids(engine.bundle))
            measure_throughput(predictor, options.windows, options.rounds)
        sys.stdout.flush()
        subprocess.run([sys.executable, __file__, str(options.engine), "--whole", str(large)], check=True)


if __name__ == "__main__":
    main()
