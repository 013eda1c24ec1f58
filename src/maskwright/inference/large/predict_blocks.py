"""All blocks of a result that are not there yet, predicted and kept, one written while the next is computed."""

from collections.abc import Callable
from typing import Final

from maskwright.inference.bounded_pool import Crew
from maskwright.inference.large.block_grid import Layout
from maskwright.inference.large.block_predictor import BlockPredictor
from maskwright.inference.large.block_store import Parts
from maskwright.inference.large.cost import cost_in_words, timed
from maskwright.inference.large.window import Failure

_MANY: Final = 50  # blocks, beside which one predicted twice, to measure the time, costs little


def fill(
    predictor: BlockPredictor,
    parts: Parts,
    *,
    layout: Layout,
    progress: Callable[[int, int], None],
    say: Callable[[str], None],
) -> tuple[Failure, ...]:
    """Predict what is missing, after saying how long it takes; what of the image could not be read, in order."""
    blocks = layout.blocks()
    there = {block: parts.failures_of(block) for block in blocks}
    failures = {failure for found in there.values() for failure in found or ()}
    missing = [block for block in blocks if there[block] is None]
    if len(missing) < len(blocks):
        say(f"Going on: {len(blocks) - len(missing)} of {len(blocks)} windows are there.")
    if missing:
        first = missing.pop(len(missing) // 2)  # there is more to predict in the middle than at the edge
        measured, seconds = timed(lambda: list(predictor.predict_blocks([first])), again=len(missing) > _MANY)
        failures.update(parts.store(*measured[0]))
        progress(len(blocks) - len(missing), len(blocks))
    if missing:
        high, wide = layout.window
        workers = max(predictor.workers, 1)
        cost = cost_in_words(seconds * len(missing) / workers, memory=predictor.peak_memory(), workers=workers)
        say(f"To go: {len(missing)} of {len(blocks)} windows of {high} x {wide} pixels; {cost}.")
    with Crew[tuple[Failure, ...]](limit=1) as writer:
        predicted = predictor.predict_blocks(missing)
        stored = writer.ahead(lambda finished: parts.store(*finished), predicted, cost=lambda _: 1)
        for number, found in enumerate(stored, len(blocks) - len(missing) + 1):
            failures.update(found)
            progress(number, len(blocks))
    return tuple(sorted(failures))
