"""One image on one worker and on several, each a process of one thread: what the second worker adds.

    python benchmarks/cluster.py ENGINE (--image FILE | --images DIR [--side 4096]) [--workers 2] [--rounds 5]

The image is given, or a mosaic of the images in DIR. Each round predicts all of it on one worker, on all workers, and
in this process with as many threads, from the file to finished parts on the disk, one after the other; the workers
have opened the engine before. Where the system can, each worker keeps to a processor of its own, as schedulers of
clusters see to: one alone would have its windows decoded on the next one's. All three must give the same classes, pixel
for pixel.
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
from maskwright.images.windows import open_source
from maskwright.inference.engines.engine import open_engine, weights_digest
from maskwright.inference.large.block_grid import Layout, lay_out
from maskwright.inference.large.block_predictor import BlockPredictor, Predictor
from maskwright.inference.large.block_store import Parts
from maskwright.inference.large.dask_cluster import started
from maskwright.inference.large.encoding import Ids
from maskwright.inference.large.predict_large import LargeJob

MARGIN = 64


def predicted(by: BlockPredictor, layout: Layout, encoding: Ids) -> tuple[float, str]:
    """Seconds for all blocks, and a name of what they became."""
    with tempfile.TemporaryDirectory() as folder:
        parts, begun = Parts(Path(folder), layout, encoding), time.perf_counter()
        for block, part in by.predict_blocks(layout.blocks()):
            parts.store(block, part)
        taken = time.perf_counter() - begun
        digest = hashlib.sha256()
        for tile in parts.tiles():
            digest.update(tile.tobytes())
        return taken, digest.hexdigest()


def keep_to(number: int) -> None:
    """Have all threads of this process, and those they start, run on one processor."""
    if hasattr(os, "sched_setaffinity"):
        processors = sorted(os.sched_getaffinity(0))
        for thread in Path("/proc/self/task").iterdir():
            os.sched_setaffinity(int(thread.name), {processors[number % len(processors)]})


@contextmanager
def opened(given: argparse.Namespace) -> Iterator[Path]:
    """The image that is given, or a mosaic for as long as it is needed."""
    if given.image:
        yield given.image
        return
    with tempfile.TemporaryDirectory() as folder:
        images = [read_image(path) for path, _ in expand_inputs([given.images])[:100]]
        yield mosaic(images, given.side, Path(folder, "mosaic.tif"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("engine", type=Path)
    image = parser.add_mutually_exclusive_group(required=True)
    image.add_argument("--image", type=Path)
    image.add_argument("--images", type=Path)
    parser.add_argument("--side", type=int, default=4096)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    with ExitStack() as stack:
        file = stack.enter_context(opened(given))
        source = stack.enter_context(open_source(file))
        engine = open_engine(given.engine, threads=given.workers)
        key = LargeJob(engine, weights_digest(given.engine), file).key()
        here = Predictor(engine, source, Ids(engine.bundle), file)
        layout = lay_out(source.height, source.width, multiple=engine.bundle.multiple, margin=MARGIN)
        by: dict[str, BlockPredictor] = {}
        for workers in (1, given.workers):
            cluster = stack.enter_context(started(workers))
            for number, worker in enumerate(cluster.client.nthreads()):
                cluster.client.run(keep_to, number, workers=[worker])
            by[f"{workers} x 1 thread"] = cluster.spread(given.engine, file, key)
        by[f"this process, {given.workers} threads"] = here
        for each in by.values():
            list(each.predict_blocks(layout.blocks()[: 4 * given.workers]))  # all workers have theirs open
        rounds, results = [], set()
        for _ in range(given.rounds):
            taken = {}
            for name, each in by.items():
                taken[name], made = predicted(each, layout, here.encoding)
                results.add(made)
            rounds.append(taken)
        pixels, blocks = source.height * source.width, len(layout.blocks())
    assert len(results) == 1, "workers and this process gave different classes"
    print(f"{blocks} windows of {layout.window[0]} x {layout.window[1]}, {given.rounds} rounds, ", end="")
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}\n")
    print("| on | megapixels/s | times one worker, median (lowest - highest) | gigapixels per worker-hour |")
    print("| --- | ---: | --- | ---: |")
    one = next(iter(by))
    for name, each in by.items():
        rate = pixels / median(taken[name] for taken in rounds)
        ratios = [taken[one] / taken[name] for taken in rounds]
        times = f"{median(ratios):.2f} ({min(ratios):.2f} - {max(ratios):.2f})"
        count = 1 if each is by[one] else given.workers
        print(f"| {name} | {rate / 1e6:.2f} | {times} | {rate * 3600 / count / 1e9:.1f} |")


if __name__ == "__main__":
    main()
