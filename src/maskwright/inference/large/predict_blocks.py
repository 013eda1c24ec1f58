"""Compute all missing blocks of a result, writing each block while the next is computed."""

from collections.abc import Callable
from typing import Final

from maskwright.inference.bounded_pool import BoundedPool
from maskwright.inference.large.block_predictor import BlockPredictor
from maskwright.inference.large.block_store import BlockStore
from maskwright.inference.large.cost import describe_cost, time_call
from maskwright.inference.tiling.layout import Layout
from maskwright.inference.tiling.window import WindowFailure

_MIN_BLOCKS_TO_TIME_TWICE: Final = 50  # so many that computing one twice for an estimate takes little time


def predict_missing_blocks(
    predictor: BlockPredictor,
    store: BlockStore,
    *,
    layout: Layout,
    progress: Callable[[int, int], None],
    report: Callable[[str], None],
) -> tuple[WindowFailure, ...]:
    """Compute the blocks missing from ``store`` after reporting the expected time and memory.

    Args:
        predictor: Predictor that computes the blocks.
        store: Store with the finished blocks, to which the missing blocks are added.
        layout: Layout of the blocks in the image.
        progress: Function called with the number of finished blocks and the total.
        report: Function called with each message (str) for the user.

    Returns:
        Parts of the image that could not be read, in order.
    """
    blocks = layout.blocks()
    stored = {block: store.failures_of(block) for block in blocks}
    failures = {failure for found in stored.values() for failure in found or ()}
    missing = [block for block in blocks if stored[block] is None]
    if len(missing) < len(blocks):
        report(f"Resuming: {len(blocks) - len(missing)} of {len(blocks)} windows are finished.")
    if missing:
        first = missing.pop(len(missing) // 2)  # a middle block, since blocks at the edges may contain nodata pixels
        twice = len(missing) > _MIN_BLOCKS_TO_TIME_TWICE
        measured, seconds = time_call(lambda: list(predictor.predict_blocks([first])), twice=twice)
        failures.update(store.store(*measured[0]))
        progress(len(blocks) - len(missing), len(blocks))
    if missing:
        height, width = layout.window
        workers = max(predictor.workers, 1)
        cost = describe_cost(seconds * len(missing) / workers, memory=predictor.peak_memory(), workers=workers)
        report(f"Remaining: {len(missing)} of {len(blocks)} windows of {height} x {width} pixels; {cost}.")
    with BoundedPool[tuple[WindowFailure, ...]](limit=1) as writer:
        predicted = predictor.predict_blocks(missing)
        written = writer.ahead(lambda finished: store.store(*finished), predicted, cost=lambda _: 1)
        for number, found in enumerate(written, len(blocks) - len(missing) + 1):
            failures.update(found)
            progress(number, len(blocks))
    return tuple(sorted(failures))
