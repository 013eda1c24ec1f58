"""Files to predictions: images decoded ahead in threads, batched by size, and run in the thread that asks."""

from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from maskwright.errors import InputError
from maskwright.images.errors import UnreadableImage
from maskwright.images.read import image_size, read_image
from maskwright.inference.bounded_pool import Crew
from maskwright.inference.bundle import Bundle
from maskwright.inference.completed_files import FileState, file_state
from maskwright.inference.engines.engine import Divisible, Engine
from maskwright.inference.ensemble import Ensemble
from maskwright.inference.predict_image import (
    Pixels,
    answer_of,
    in_one_call,
    predict_indices,
    predict_probabilities,
    prepared_whole,
)

HELD: Final = 2**25
"""Most float32 numbers held by each stage, 128 MiB: images decoded, images waiting for a batch, results not written."""

BATCH: Final = 8
"""Most images in one call of the engine; on a CPU more gain nothing."""
_MEASURED: Final = 64  # files whose headers are read ahead
_TOGETHER: Final = 4 * HELD  # numbers that wait for the next network of an ensemble
_MANY: Final = 8 * BATCH  # files from which on dividing an engine is worth its compilation


class ChangedImage(InputError):
    """A file that was written to while it was read."""

    text = "{file}: changed while it was read; expected a file at rest. Give the command again once it is written."


class Numbered(NamedTuple):
    """A file and its place among the files asked for."""

    number: int
    file: Path


@dataclass(frozen=True)
class Prediction:
    """What the engine said of one image."""

    of: Numbered
    state: FileState
    """What the file was when it was read."""
    image: Pixels
    """As read, (h, w, c)."""
    answer: NDArray[Any]
    """Probabilities, float32 (h, w, outputs); or label indices, uint8 (h, w), decided and finished, of tiles."""
    seconds: float = 0.0
    """Its share of the time of the engine's call, or calls; of the first of a size that is mostly for compiling."""

    def indices(self, bundle: Bundle) -> NDArray[np.uint8]:
        """Label indices, (h, w), as ``bundle`` decides and finishes them."""
        return bundle.finish(bundle.decide(self.answer)) if self.answer.ndim == 3 else self.answer


@dataclass(frozen=True)
class Failed:
    """An image that cannot be read or used."""

    of: Numbered
    error: InputError


@dataclass(frozen=True)
class _Large:
    """An image to predict in tiles, which are prepared one at a time."""

    of: Numbered
    state: FileState
    image: Pixels


@dataclass(frozen=True)
class _Whole(_Large):
    """An image to predict in one call."""

    prepared: NDArray[np.float32]


def predictions(
    engine: Engine | Ensemble, files: Sequence[Numbered], *, probabilities: bool
) -> Generator[Prediction | Failed, None, None]:
    """What the engine says of every file, in batches of images of one padded size and otherwise in the order given.

    Which images share a batch depends on the files alone, never on the speed of anything. Full batches run in one call,
    and what is left of a size one by one, so that an engine meets at most two shapes of each size. Close the iterator,
    or exhaust it, to end its threads.

    Args:
        engine: Called from the thread that iterates, and from no other; of many files, one that can be divided is
            divided, and called from threads.
        files: Images, which need not exist.
        probabilities: Whether to give them for images in tiles too, which takes memory for those of a whole image.
    """
    if isinstance(engine, Ensemble):
        for some in _portions(engine.bundle, files):
            yield from _of_all(engine, some)
        return
    bundle = engine.bundle
    with Crew[tuple[Numbered, int]](limit=_MEASURED) as measuring, Crew[_Large | Failed](limit=HELD) as loading:
        measured = measuring.ahead(partial(_measure, bundle), files, cost=lambda _: 1)
        loaded = loading.ahead(lambda pair: _load(bundle, pair[0]), measured, cost=lambda pair: pair[1])
        batches = _batches(bundle, loaded)
        if isinstance(engine, Divisible) and len(files) >= _MANY:
            engines = engine.side_by_side()
            answer = partial(_answer, engines, probabilities=probabilities, at_once=engines.calls)
            # One batch waits for each that is computed, so that no processor waits for this thread.
            with Crew[list[Prediction | Failed]](limit=2 * engines.calls, threads=engines.calls) as computing:
                for answers in computing.ahead(answer, batches, cost=lambda _: 1):
                    yield from answers
        else:
            for batch in batches:
                yield from _answer(engine, batch, probabilities=probabilities)


def _portions(bundle: Bundle, files: Sequence[Numbered]) -> Iterator[list[Numbered]]:
    """The files, as many together as can wait with their probabilities for the next network."""
    portion: list[Numbered] = []
    held = 0
    for file in files:
        cost = _waiting(bundle, file)
        if portion and held + cost > _TOGETHER:
            yield portion
            portion, held = [], 0
        portion.append(file)
        held += cost
    if portion:
        yield portion


def _waiting(bundle: Bundle, of: Numbered) -> int:
    """What an image and its probabilities will cost to hold, in numbers."""
    try:
        height, width = image_size(of.file)
    except (InputError, OSError):
        return 0
    return height * width * (bundle.channels + bundle.outputs)


def _of_all(ensemble: Ensemble, files: list[Numbered]) -> Iterator[Prediction | Failed]:
    """The mean of what all networks of an ensemble say of each of some files, in the order of these."""
    found: dict[int, Prediction | Failed] = {}

    def gather(engine: Engine) -> None:
        with closing(predictions(engine, files, probabilities=True)) as answers:
            for one in answers:
                found[one.of.number] = _added(found.get(one.of.number), one)

    for _ in ensemble.each(gather):
        pass
    for file in files:
        whole = found[file.number]
        yield whole if isinstance(whole, Failed) else replace(whole, answer=whole.answer / len(ensemble.members))


def _added(before: Prediction | Failed | None, one: Prediction | Failed) -> Prediction | Failed:
    if before is None or isinstance(before, Failed):
        return before or one
    if isinstance(one, Failed):
        return one
    if before.state != one.state:
        return Failed(one.of, ChangedImage(file=one.of.file))
    return replace(before, answer=before.answer + one.answer, seconds=before.seconds + one.seconds)


def _answer(
    engine: Engine, batch: list[_Whole] | _Large | Failed, *, probabilities: bool, at_once: int = 1
) -> list[Prediction | Failed]:
    if isinstance(batch, Failed):
        return [batch]
    begun = perf_counter()
    answers = (
        _in_tiles(engine, batch, probabilities=probabilities)
        if isinstance(batch, _Large)
        else _in_one_call(engine, batch)
    )
    seconds = (perf_counter() - begun) / (len(answers) * at_once)
    return [replace(one, seconds=seconds) if isinstance(one, Prediction) else one for one in answers]


def _measure(bundle: Bundle, of: Numbered) -> tuple[Numbered, int]:
    """What an image will cost to hold, in numbers; nothing if it has no header, which reading it will tell better."""
    try:
        height, width = image_size(of.file)
    except (InputError, OSError):
        return of, 0
    return of, round(height * width * bundle.scale**2) * bundle.inputs


def _load(bundle: Bundle, of: Numbered) -> _Large | Failed:
    state = file_state(of.file)
    try:
        image = read_image(of.file)
        whole = in_one_call(bundle, image)
        prepared = prepared_whole(bundle, image, file=of.file) if whole else None
    except InputError as error:
        return Failed(of, error)
    except OSError as error:  # it, or its disk, was taken away between two looks at it
        wrong = UnreadableImage(
            file=of.file, found=error.strerror, expected="a file that may be read", remedy="Check that it is there."
        )
        return Failed(of, wrong)
    if state is None or state != file_state(of.file):
        return Failed(of, ChangedImage(file=of.file))
    return _Large(of, state, image) if prepared is None else _Whole(of, state, image, prepared)


def _batches(bundle: Bundle, loaded: Iterable[_Large | Failed]) -> Iterator[list[_Whole] | _Large | Failed]:
    """Images of one prepared shape together, as many as make a batch; the longest waiting alone where too many wait."""
    waiting: dict[tuple[int, ...], list[_Whole]] = {}
    held = 0
    for one in loaded:
        if not isinstance(one, _Whole):
            yield one
            continue
        shape = one.prepared.shape
        group = waiting.setdefault(shape, [])
        group.append(one)
        held += one.prepared.size
        if len(group) >= min(BATCH, bundle.tile**2 // (shape[0] * shape[1])):
            held -= len(group) * one.prepared.size
            yield waiting.pop(shape)
        while held > HELD:
            longest = waiting.pop(next(iter(waiting)))
            held -= len(longest) * longest[0].prepared.size
            yield from ([each] for each in longest)
    yield from ([each] for group in waiting.values() for each in group)


def _in_one_call(engine: Engine, batch: list[_Whole]) -> list[Prediction | Failed]:
    found = engine(np.stack([one.prepared for one in batch]))
    return [
        Prediction(one.of, one.state, one.image, answer_of(probabilities, engine.bundle, one.image))
        for one, probabilities in zip(batch, found, strict=True)
    ]


def _in_tiles(engine: Engine, large: _Large, *, probabilities: bool) -> list[Prediction | Failed]:
    of, image = large.of, large.image
    predict = predict_probabilities if probabilities else predict_indices
    try:
        return [Prediction(of, large.state, image, predict(engine, image, file=of.file))]
    except InputError as error:
        return [Failed(of, error)]
