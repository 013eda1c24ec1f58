"""Predict masks for many files in batches of images of equal size, which threads decode in advance."""

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
from maskwright.inference.bounded_pool import BoundedPool
from maskwright.inference.bundle import Bundle
from maskwright.inference.completed_files import FileState, file_state
from maskwright.inference.engines.engine import Engine, SupportsParallelCalls
from maskwright.inference.ensemble import Ensemble
from maskwright.inference.errors import ImageChanged
from maskwright.inference.predict_image import (
    predict_indices,
    predict_probabilities,
    predicts_in_one_call,
    prepare_image,
    restore_size,
)
from maskwright.inference.tiling.window import Pixels

MAX_HELD: Final = 2**25
"""Maximum number of float32 values (128 MiB) stored in each stage: decoding, waiting for a batch, and writing."""

BATCH_SIZE: Final = 8
"""Maximum number of images in one call of the engine; larger batches are no faster on a CPU."""
_MAX_HEADERS_AHEAD: Final = 64  # maximum number of files whose headers are read ahead
_MAX_HELD_BY_ENSEMBLE: Final = 4 * MAX_HELD  # values stored for the next network of an ensemble
_MIN_FILES_FOR_PARALLEL_CALLS: Final = 8 * BATCH_SIZE  # for fewer files, compiling the engine again saves no time


class NumberedFile(NamedTuple):
    """A file and its index among the requested files."""

    number: int
    file: Path


@dataclass(frozen=True)
class Prediction:
    """The prediction of one image."""

    source: NumberedFile
    state: FileState
    """State of the file when it was read."""
    image: Pixels
    """Pixels as read, (h, w, c)."""
    values: NDArray[Any]
    """Probabilities, float32 (h, w, outputs), or, for an image predicted in blocks, label indices, uint8 (h, w)."""
    seconds: float = 0.0
    """Share of the engine's computing time, in seconds; for the first image of a size, mostly compilation time."""

    def indices(self, bundle: Bundle) -> NDArray[np.uint8]:
        """Return the label indices (h, w), decided and cleaned as ``bundle`` specifies."""
        return bundle.finish(bundle.decide(self.values)) if self.values.ndim == 3 else self.values


@dataclass(frozen=True)
class FailedImage:
    """An image that could not be read or processed."""

    source: NumberedFile
    error: InputError


@dataclass(frozen=True)
class _LoadedImage:
    """A decoded image that is processed in blocks, which are prepared one at a time."""

    source: NumberedFile
    state: FileState
    image: Pixels


@dataclass(frozen=True)
class _PreparedImage(_LoadedImage):
    """A decoded and prepared image that is processed in one call."""

    prepared: NDArray[np.float32]


_Batch = list[_PreparedImage] | _LoadedImage | FailedImage
"""Images of one shape for one call, an image that is too large for one call, or a failed image."""


def predictions(
    engine: Engine | Ensemble, files: Sequence[NumberedFile], *, probabilities: bool, margin: int | None = None
) -> Generator[Prediction | FailedImage, None, None]:
    """Predict masks for all files in batches of images of equal padded size, and otherwise in the given order.

    The batches depend only on the files. Full batches are processed in one call, and the remaining images of a size are
    processed one by one, so an engine receives at most two batch sizes per image size. Closing or exhausting the
    iterator terminates its threads.

    Args:
        engine: Engine or ensemble, called in the thread that iterates; for many files, an engine that supports
            parallel calls is called in several threads. Images that are too large for one call are processed one at a
            time.
        files: Numbered image files; missing files are yielded as failed images.
        probabilities: Whether to return probabilities also for images predicted in blocks, which requires memory for
            the probabilities of a whole image.
        margin: Margin in pixels; see `maskwright.inference.predict_image.predict_probabilities`.
    """
    if isinstance(engine, Ensemble):
        for portion in _portions(engine.bundle, files):
            yield from _predict_by_ensemble(engine, portion, margin)
        return
    bundle = engine.bundle
    with (
        BoundedPool[tuple[NumberedFile, int]](limit=_MAX_HEADERS_AHEAD) as measuring,
        BoundedPool[_LoadedImage | FailedImage](limit=MAX_HELD) as loading,
    ):
        measured = measuring.ahead(partial(_measure, bundle), files, cost=lambda _: 1)
        loaded = loading.ahead(lambda pair: _load(bundle, pair[0]), measured, cost=lambda pair: pair[1])
        batches = _batches(bundle, loaded)
        predict = partial(_predict_batch, probabilities=probabilities, margin=margin)
        if isinstance(engine, SupportsParallelCalls) and len(files) >= _MIN_FILES_FOR_PARALLEL_CALLS:
            parallel = engine.for_parallel_calls()
            calls = parallel.calls

            def predict_in_thread(batch: _Batch) -> list[Prediction | FailedImage]:
                if isinstance(batch, _LoadedImage):
                    return predict(engine, batch)
                return predict(parallel, batch, parallel_calls=calls)

            def cost(batch: _Batch) -> int:
                # A window of a large image may require as much memory as several batches, so the pool accepts only one
                # large image.
                return calls + 1 if isinstance(batch, _LoadedImage) else 1

            # One batch is queued for each running batch, so no processor is idle until this thread continues.
            with BoundedPool[list[Prediction | FailedImage]](limit=2 * calls, threads=calls) as computing:
                for predicted in computing.ahead(predict_in_thread, batches, cost=cost):
                    yield from predicted
        else:
            for batch in batches:
                yield from predict(engine, batch)


def _portions(bundle: Bundle, files: Sequence[NumberedFile]) -> Iterator[list[NumberedFile]]:
    """Split the files into portions whose probabilities fit in memory until the last network has run."""
    portion: list[NumberedFile] = []
    held = 0
    for file in files:
        cost = _held_by_ensemble(bundle, file)
        if portion and held + cost > _MAX_HELD_BY_ENSEMBLE:
            yield portion
            portion, held = [], 0
        portion.append(file)
        held += cost
    if portion:
        yield portion


def _held_by_ensemble(bundle: Bundle, source: NumberedFile) -> int:
    """Return the number of float32 values that an image and its probabilities occupy."""
    try:
        height, width = image_size(source.file)
    except (InputError, OSError):
        return 0
    return height * width * (bundle.channels + bundle.outputs)


def _predict_by_ensemble(
    ensemble: Ensemble, files: list[NumberedFile], margin: int | None
) -> Iterator[Prediction | FailedImage]:
    """Average the probabilities of the networks of an ensemble, in the order of the files."""
    found: dict[int, Prediction | FailedImage] = {}

    def add_network(engine: Engine) -> None:
        with closing(predictions(engine, files, probabilities=True, margin=margin)) as predicted:
            for prediction in predicted:
                number = prediction.source.number
                found[number] = _sum_of(found.get(number), prediction)

    for _ in ensemble.each(add_network):
        pass
    for file in files:
        total = found[file.number]
        if isinstance(total, Prediction):
            total = replace(total, values=total.values / len(ensemble.members))
        yield total


def _sum_of(total: Prediction | FailedImage | None, prediction: Prediction | FailedImage) -> Prediction | FailedImage:
    if total is None or isinstance(total, FailedImage):
        return total or prediction
    if isinstance(prediction, FailedImage):
        return prediction
    if total.state != prediction.state:
        return FailedImage(prediction.source, ImageChanged(file=prediction.source.file))
    return replace(total, values=total.values + prediction.values, seconds=total.seconds + prediction.seconds)


def _predict_batch(
    engine: Engine,
    batch: _Batch,
    *,
    probabilities: bool,
    margin: int | None,
    parallel_calls: int = 1,
) -> list[Prediction | FailedImage]:
    if isinstance(batch, FailedImage):
        return [batch]
    started = perf_counter()
    predicted = (
        _predict_in_blocks(engine, batch, probabilities=probabilities, margin=margin)
        if isinstance(batch, _LoadedImage)
        else _predict_in_one_call(engine, batch)
    )
    seconds = (perf_counter() - started) / (len(predicted) * parallel_calls)
    return [replace(one, seconds=seconds) if isinstance(one, Prediction) else one for one in predicted]


def _measure(bundle: Bundle, source: NumberedFile) -> tuple[NumberedFile, int]:
    """Return the file and the number of values of the prepared image, which is 0 if the header is invalid."""
    try:
        height, width = image_size(source.file)
    except (InputError, OSError):
        return source, 0
    return source, round(height * width * bundle.scale**2) * bundle.inputs


def _load(bundle: Bundle, source: NumberedFile) -> _LoadedImage | FailedImage:
    state = file_state(source.file)
    try:
        image = read_image(source.file)
        one_call = predicts_in_one_call(bundle, image.shape[:2])
        prepared = prepare_image(bundle, image, file=source.file) if one_call else None
    except InputError as error:
        return FailedImage(source, error)
    except OSError as error:  # the file or its disk was removed while it was read
        unreadable = UnreadableImage(
            file=source.file, found=error.strerror, expected="a readable file", remedy="Check that it exists."
        )
        return FailedImage(source, unreadable)
    if state is None or state != file_state(source.file):
        return FailedImage(source, ImageChanged(file=source.file))
    return _LoadedImage(source, state, image) if prepared is None else _PreparedImage(source, state, image, prepared)


def _batches(bundle: Bundle, loaded: Iterable[_LoadedImage | FailedImage]) -> Iterator[_Batch]:
    """Group images of equal prepared shape into batches; if too many wait, yield those of the oldest group singly."""
    waiting: dict[tuple[int, ...], list[_PreparedImage]] = {}
    held = 0
    for image in loaded:
        if not isinstance(image, _PreparedImage):
            yield image
            continue
        shape = image.prepared.shape
        group = waiting.setdefault(shape, [])
        group.append(image)
        held += image.prepared.size
        if len(group) >= min(BATCH_SIZE, bundle.tile**2 // (shape[0] * shape[1])):
            held -= len(group) * image.prepared.size
            yield waiting.pop(shape)
        while held > MAX_HELD:
            longest = waiting.pop(next(iter(waiting)))
            held -= len(longest) * longest[0].prepared.size
            yield from ([each] for each in longest)
    yield from ([each] for group in waiting.values() for each in group)


def _predict_in_one_call(engine: Engine, batch: list[_PreparedImage]) -> list[Prediction | FailedImage]:
    outputs = engine(np.stack([image.prepared for image in batch]))
    return [
        Prediction(image.source, image.state, image.image, restore_size(output, engine.bundle, image.image.shape[:2]))
        for image, output in zip(batch, outputs, strict=True)
    ]


def _predict_in_blocks(
    engine: Engine, loaded: _LoadedImage, *, probabilities: bool, margin: int | None
) -> list[Prediction | FailedImage]:
    source, image = loaded.source, loaded.image
    predict = predict_probabilities if probabilities else predict_indices
    try:
        values = predict(engine, image, margin=margin, file=source.file)
    except InputError as error:
        return [FailedImage(source, error)]
    return [Prediction(source, loaded.state, image, values)]
