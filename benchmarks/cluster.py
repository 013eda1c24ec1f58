"""Predict one image on one worker and on several, each a process of one thread: the speed-up of further workers.

    python benchmarks/cluster.py ENGINE (--image FILE | --images DIR [--side 4096]) [--workers 2] [--rounds 5]

The image is FILE, or a mosaic of the images in DIR. Each round predicts all of it on one worker, on all workers, and in
this process with as many threads, from the file to finished blocks on disk, one after another; the workers have opened
the engine before. Where the system supports it, each worker is bound to its own CPU, as a cluster's scheduler does;
otherwise a single worker would decode windows on a second CPU. All three must give the same classes, pixel for pixel.
"""

import argparse
import hashlib
import os
import platform
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median

from large_image import mosaic

from maskwright.images.files import expand_inputs
from maskwright.images.read import read_image
from maskwright.images.windows.source import open_source
from maskwright.inference.engines.engine import open_engine, weights_digest
from maskwright.inference.large.block_predictor import BlockPredictor, LocalBlockPredictor
from maskwright.inference.large.block_store import BlockStore
from maskwright.inference.large.dask_cluster import start_workers
from maskwright.inference.large.encoding import Ids
from maskwright.inference.large.predict_large import LargePredictionJob
from maskwright.inference.tiling.layout import Layout, lay_out
from maskwright.inference.tiling.window_predictor import WindowPredictor

MARGIN = 64  # pixels
WARM_UP_BLOCKS = 4  # per worker


def predict_to_disk(predictor: BlockPredictor, layout: Layout, encoding: Ids) -> tuple[float, str]:
    """Return the seconds for all blocks, and a digest of the blocks."""
    with tempfile.TemporaryDirectory() as folder:
        store, started = BlockStore(Path(folder), layout, encoding), time.perf_counter()
        for block, result in predictor.predict_blocks(layout.blocks()):
            store.store(block, result)
        taken = time.perf_counter() - started
        digest = hashlib.sha256()
        for tile in store.tiles():
            digest.update(tile.tobytes())
        return taken, digest.hexdigest()


def bind_to_cpu(number: int) -> None:
    """Bind all threads of this process, and those they start, to one CPU."""
    if hasattr(os, "sched_setaffinity"):
        cpus = sorted(os.sched_getaffinity(0))
        for thread in Path("/proc/self/task").iterdir():
            os.sched_setaffinity(int(thread.name), {cpus[number % len(cpus)]})


@contextmanager
def image_file(options: argparse.Namespace) -> Iterator[Path]:
    """Yield the given image, or a temporary mosaic."""
    if options.image:
        yield options.image
        return
    with tempfile.TemporaryDirectory() as folder:
        images = [read_image(path) for path, _ in expand_inputs([options.images])[:100]]
        yield mosaic(images, options.side, Path(folder, "mosaic.tif"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("engine", type=Path)
    image = parser.add_mutually_exclusive_group(required=True)
    image.add_argument("--image", type=Path)
    image.add_argument("--images", type=Path)
    parser.add_argument("--side", type=int, default=4096)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with ExitStack() as stack:
        file = stack.enter_context(image_file(options))
        source = stack.enter_context(open_source(file))
        engine = open_engine(options.engine, threads=options.workers)
        bundle = engine.bundle
        key = LargePredictionJob(engine, weights_digest(options.engine), file).key()
        local = LocalBlockPredictor(WindowPredictor(engine, source, file), Ids(bundle))
        layout = lay_out(source.height, source.width, multiple=bundle.multiple, margin=MARGIN, tile=bundle.tile)
        predictors: dict[str, BlockPredictor] = {}
        for workers in (1, options.workers):
            cluster = stack.enter_context(start_workers(workers))
            for number, worker in enumerate(cluster.client.nthreads()):
                cluster.client.run(bind_to_cpu, number, workers=[worker])
            predictors[f"{workers} x 1 thread"] = cluster.blocks(options.engine, file, key)
        predictors[f"this process, {options.workers} threads"] = local
        for predictor in predictors.values():
            list(predictor.predict_blocks(layout.blocks()[: WARM_UP_BLOCKS * options.workers]))
        rounds, results = [], set()
        for _ in range(options.rounds):
            taken = {}
            for name, predictor in predictors.items():
                taken[name], digest = predict_to_disk(predictor, layout, local.encoding)
                results.add(digest)
            rounds.append(taken)
        pixels, blocks = source.height * source.width, len(layout.blocks())
    assert len(results) == 1, "workers and this process gave different classes"
    print(f"{blocks} windows of {layout.window[0]} x {layout.window[1]}, {options.rounds} rounds, ", end="")
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}\n")
    print("| workers | megapixels/s | speed-up over one worker, median (min - max) | gigapixels per worker-hour |")
    print("| --- | ---: | --- | ---: |")
    single = next(iter(predictors))
    for name, predictor in predictors.items():
        rate = pixels / median(taken[name] for taken in rounds)
        ratios = [taken[single] / taken[name] for taken in rounds]
        speed_up = f"{median(ratios):.2f} ({min(ratios):.2f} - {max(ratios):.2f})"
        count = 1 if predictor is predictors[single] else options.workers
        print(f"| {name} | {rate / 1e6:.2f} | {speed_up} | {rate * 3600 / count / 1e9:.1f} |")


if __name__ == "__main__":
    main()
