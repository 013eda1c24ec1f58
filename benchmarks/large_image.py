"""An image larger than memory through an engine: the rate beside the engine's own, peak memory, and the seam.

    python benchmarks/large_image.py ENGINE --images DIR [--side 30000] [--small 2048] [--windows 6] [--rounds 5]

The image is a mosaic of the images in DIR, turned and mirrored, as a tiled TIFF. The rate: each round times the same
windows twice, through the engine alone and from the file to finished parts on the disk. Memory: the most that a process
held which predicted the whole. The seam, on a small mosaic: pixels of another class than in a tiling of other blocks,
and than predicted in one call.
"""

import argparse
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import numpy as np

from maskwright.images.files import expand_inputs
from maskwright.images.read import read_image
from maskwright.images.windows import open_source
from maskwright.images.windows.write_tiff import write_tiff
from maskwright.inference.engines.engine import Engine, open_engine, weights_digest
from maskwright.inference.large.block_grid import Layout, lay_out
from maskwright.inference.large.block_predictor import Predictor
from maskwright.inference.large.block_store import Parts
from maskwright.inference.large.encoding import Ids
from maskwright.inference.large.margin import measure_margin
from maskwright.inference.large.predict_blocks import fill
from maskwright.inference.large.predict_large import LargeJob, predict_large

TILE = 256


def mosaic(images: list[np.ndarray], side: int, file: Path) -> Path:
    """A square of the images, each cut to the least height and width of all, turned in a way that its place decides."""
    cell = min(min(image.shape[:2]) for image in images)
    views = [np.ascontiguousarray(np.rot90(image[:cell, :cell], turns)) for image in images for turns in range(4)]
    order = np.random.default_rng(0).integers(0, len(views), (-(-side // cell), -(-side // cell)))

    def tiles() -> Iterator[np.ndarray]:
        for top in range(0, side, TILE):
            rows = range(top, min(top + TILE, side))
            across = range(rows[0] // cell, rows[-1] // cell + 1)
            strip = np.concatenate([np.concatenate([views[view] for view in order[row]], axis=1) for row in across])
            strip = strip[top - across[0] * cell :][: len(rows), :side]
            for left in range(0, side, TILE):
                yield strip[:, left : left + TILE]

    write_tiff(file, tiles(), height=side, width=side, bands=views[0].shape[2], dtype=views[0].dtype, tile=TILE)
    return file


def seconds(work) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def rates(predictor: Predictor, windows: int, rounds: int) -> None:
    """Predict a row of inner windows through everything and through the engine alone, one after the other."""
    source = predictor.source
    high = min(source.height, 1024)
    whole = lay_out(source.height, source.width, multiple=predictor.engine.bundle.multiple, margin=64)
    layout = Layout(**whole.model_dump() | {"size": (high, min(source.width, windows * whole.kept[1]))})
    ready = [
        predictor.read(*(slice(span.start, span.stop) for span in block)).images for block in layout.blocks()
    ]  # as the engine gets them
    predictor.engine(ready[0])
    ratios, own_rates = [], []
    for _ in range(rounds):
        own = seconds(lambda: [predictor.engine(images) for images in ready])
        ratios.append(own / seconds(lambda: filled(predictor, layout)))
        own_rates.append(sum(images[0, ..., 0].size for images in ready) / own / 1e6)
    spread = f"{median(ratios):.3f} ({min(ratios):.3f} - {max(ratios):.3f})"
    print(
        f"| {len(ready)} windows of {layout.window[0]} x {layout.window[1]}, file to parts: share of the engine's rate",
        end="",
    )
    print(f" | {spread} |\n| the engine's own rate, megapixels/s | {median(own_rates):.2f} |")


def filled(predictor: Predictor, layout: Layout) -> None:
    with tempfile.TemporaryDirectory() as folder:
        parts = Parts(Path(folder), layout, predictor.encoding)
        fill(predictor, parts, layout=layout, progress=lambda *_: None, say=lambda _: None)


def seams(engine: Engine, file: Path) -> None:
    """Tilings of a small mosaic, compared with each other and with one call over all of it."""
    with open_source(file) as source:
        predictor = Predictor(engine, source, Ids(engine.bundle), file)
        margin = measure_margin(predictor)
        layout = lay_out(source.height, source.width, multiple=engine.bundle.multiple, margin=margin)
        size = layout.size
        one = Layout(**layout.model_dump() | {"kept": size, "tile": layout.tile})
        tilings = [layout, Layout(**layout.model_dump() | {"kept": (2 * TILE, 2 * TILE)}), one]
        masks = [predicted(predictor, each) for each in tilings]
    blocks = [len(each.blocks()) for each in tilings]
    print(f"| margin measured on {size[0]} x {size[1]}, pixels | {margin} |")
    print(f"| changed pixels, {blocks[0]} blocks and {blocks[1]} | {(masks[0] != masks[1]).mean():.2e} |")
    print(f"| changed pixels, {blocks[0]} blocks and one call over all | {(masks[0] != masks[2]).mean():.2e} |")


def predicted(predictor: Predictor, layout: Layout) -> np.ndarray:
    mask = np.empty(layout.size, predictor.encoding.dtype)
    for block, part in predictor.predict_blocks(layout.blocks()):
        mask[tuple(slice(span.first, span.last) for span in block)] = part.values[..., 0]
    return mask


def whole(engine: Path, file: Path) -> None:
    """Predict the large mosaic in this process, which a caller started for it alone."""
    job = LargeJob(open_engine(engine), weights_digest(engine), file)
    result = predict_large(
        job, file.with_suffix(".mask.tif"), say=lambda line: print(line, file=sys.stderr, flush=True)
    )
    status = Path("/proc/self/status").read_text()  # Linux's ru_maxrss would begin with that of the caller
    peak = 1024 * int(status.partition("VmHWM:")[2].split()[0])
    print(f"| {result.pixels / 1e6:.0f} megapixels: peak memory, GB | {peak / 1e9:.2f} |")
    print(f"| seconds, and megapixels/s | {result.seconds:.0f}, {result.pixels / result.seconds / 1e6:.2f} |")
    print(
        f"| changed along borders by more than twice the margin of {result.margin} | {result.seam_share} |", flush=True
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("engine", type=Path)
    parser.add_argument("--images", type=Path)
    parser.add_argument("--side", type=int, default=30000)
    parser.add_argument("--small", type=int, default=2048)
    parser.add_argument("--windows", type=int, default=6)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--whole", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.whole:
        whole(options.engine, options.whole)
        return
    if options.images is None:
        parser.error("--images is needed: a folder of images like those the engine was trained on")
    images = [read_image(path) for path, _ in expand_inputs([options.images])[:100]]
    engine = open_engine(options.engine)
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}\n")
    print("| what | found |\n| --- | --- |")
    with tempfile.TemporaryDirectory() as folder:
        large = mosaic(images, options.side, Path(folder, "large.tif"))
        seams(engine, mosaic(images, options.small, Path(folder, "small.tif")))
        with open_source(large) as source:
            rates(Predictor(engine, source, Ids(engine.bundle), large), options.windows, options.rounds)
        sys.stdout.flush()
        subprocess.run([sys.executable, __file__, str(options.engine), "--whole", str(large)], check=True)


if __name__ == "__main__":
    main()
