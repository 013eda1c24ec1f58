"""What networks say of the images they were validated on, each of them looked at in several ways, kept on disk."""

import gc
import math
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final, final

import numpy as np
from numpy.typing import NDArray

from maskwright.data.mask_values import parse_mask_values
from maskwright.data.pairs import Pair, spread
from maskwright.errors import InputError
from maskwright.images.read import image_size, read_mask
from maskwright.inference.bundle import View
from maskwright.inference.engines.engine import Engine, open_engine
from maskwright.inference.ensemble import networks_of
from maskwright.inference.pipeline import BATCH, Failed, Numbered, predictions
from maskwright.inference.test_time_augmentation import seen_as
from maskwright.training.run import Run

_MOST_NUMBERS: Final = 2**29  # of four bytes each, on disk


class NothingHeldOut(InputError):
    """A run without validation images, on which nothing can be decided."""

    text = "{run}: found no validation images in split.csv; expected those of a training. Train with some held out."


@dataclass(frozen=True)
class Known:
    """An image of which the truth is known, (h, w) label indices, and where its answers begin."""

    name: str
    truth: NDArray[np.uint8]
    first: int


@final
class Answers:
    """Probabilities of images by networks that have not learnt from them: plain, and in each of several views.

    Where several networks were validated on one image, the mean of theirs. Close it, or leave its ``with`` block, to
    free the disk, which is that of the folder ``beside``.
    """

    def __init__(self, images: Sequence[Known], views: Sequence[View], outputs: int, *, beside: Path) -> None:
        self.images = images
        self.views = tuple(views)
        self._outputs = outputs
        self._file = tempfile.TemporaryFile(dir=beside)  # noqa: SIM115  closed by `close`
        numbers = sum(image.truth.size for image in images) * outputs * (1 + len(self.views))
        if hasattr(os, "posix_fallocate"):  # a disk that is full says so here, and not by a signal later
            os.posix_fallocate(self._file.fileno(), 0, 4 * max(1, numbers))
        self._kept = np.memmap(self._file, np.float32, "w+", shape=(max(1, numbers),))
        self._networks = np.zeros((len(images), 1 + len(self.views)), int)

    def __enter__(self) -> "Answers":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Free what is kept."""
        del self._kept
        self._file.close()

    def add(self, place: int, way: int, said: NDArray[np.float32]) -> None:
        """One more network's probabilities of an image, (h, w, outputs): plain if ``way`` is 0, or in a view."""
        self._networks[place, way] += 1
        kept = self._of(place)[way]
        kept += (said - kept) / self._networks[place, way]

    def mean(self, place: int, views: Sequence[View] = ()) -> NDArray[np.float32]:
        """Probabilities of an image, (h, w, outputs): the mean of the plain ones and those in ``views``."""
        kept = self._of(place)
        chosen = [0, *(1 + self.views.index(view) for view in views)]
        return np.mean([np.asarray(kept[way], np.float32) for way in chosen], axis=0)

    @property
    def most_asked(self) -> int:
        """The most networks that were asked of one image."""
        return int(self._networks[:, 0].max())

    @property
    def places(self) -> list[int]:
        """Of the images of which a network was asked."""
        return np.flatnonzero(self._networks[:, 0]).tolist()

    def _of(self, place: int) -> NDArray[np.float32]:
        image = self.images[place]
        first = image.first * self._outputs * (1 + len(self.views))
        shape = (1 + len(self.views), *image.truth.shape, self._outputs)
        return self._kept[first : first + int(np.prod(shape))].reshape(shape)


@dataclass(frozen=True)
class Network:
    """The folder of what predicts, and the run that it is of, whose validation images it has not learnt from."""

    folder: Path
    run: Run


def networks_with_runs(members: Sequence[Path]) -> list[Network] | None:
    """The networks of runs, of snapshots of them or of ensembles.

    Returns:
        None where one is of no run, such as an engine, or where the images that were held out of it are not here.

    Raises:
        WrongEnsemble: A member is no network at all.
    """
    folders = networks_of(members)
    networks = [Network(folder, run) for folder in folders if (run := Run.holding(folder)) and _is_askable(run)]
    return networks if len(networks) == len(folders) else None


def _is_askable(run: Run) -> bool:
    if not run.split.is_file():
        return False
    return all(pair.image.is_file() and pair.mask.is_file() for pair in run.read_split()["validation"])


@dataclass(frozen=True)
class Validated:
    """A network's folder, and the places of the images it was validated on, with their pairs."""

    folder: Path
    pairs: Mapping[int, Pair]


def held_out(networks: Sequence[Network], *, ways: int) -> tuple[list[Known], list[Validated]]:
    """The images that networks were validated on, each once, and which of them each network knows.

    Of so many that their probabilities in ``ways`` ways would not fit, some, evenly spread.

    Raises:
        NothingHeldOut: There is none.
        InputError: A mask cannot be read any more.
    """
    pairs = [{str(pair.image): pair for pair in one.run.read_split()["validation"]} for one in networks]
    by_key = {key: pair for of_one in pairs for key, pair in of_one.items()}
    if not by_key:
        raise NothingHeldOut(run=networks[0].run.folder)
    first_run = networks[0].run
    numbers = sum(math.prod(image_size(pair.mask)) for pair in by_key.values()) * first_run.read_bundle().outputs * ways
    most = max(1, min(len(by_key), len(by_key) * _MOST_NUMBERS // numbers))
    chosen = spread(list(by_key), most)
    values = parse_mask_values(first_run.read_recipe().data.mask_values or {})
    known, first = [], 0
    for key in chosen:
        known.append(Known(by_key[key].name, values.encode(read_mask(by_key[key].mask), file=by_key[key].mask), first))
        first += known[-1].truth.size
    places = {key: place for place, key in enumerate(chosen)}
    return known, [
        Validated(one.folder, {places[key]: pair for key, pair in of_one.items() if key in places})
        for one, of_one in zip(networks, pairs, strict=True)
    ]


def asked(
    validated: Sequence[Validated],
    answers: Answers,
    *,
    seconds: float | None = None,
    progress: Callable[[int, int], None],
) -> Iterator[tuple[int, int, NDArray[np.float32]]]:
    """Ask each network, one at a time in memory, of its images; yields its place, the image's, and what it said plain.

    Args:
        validated: The networks, with their images.
        answers: Where what they say is kept.
        seconds: For all of them; each asks in its share of it as many as it can, in random order, and a batch at least.
        progress: Called with the images asked, and all.

    Raises:
        InputError: A network or an image cannot be read.
    """
    total, done, began = sum(len(one.pairs) for one in validated), 0, time.monotonic()
    order = np.random.default_rng(0).permutation(len(answers.images)).tolist()  # one, so that all are asked of the same
    for number, one in enumerate(validated):
        until = math.inf if seconds is None else began + seconds * (number + 1) / len(validated)
        for place, said in _asked_of(one, [place for place in order if place in one.pairs], answers, until=until):
            yield number, place, said
            done += 1
            progress(done, total)
        gc.collect()  # Keras' networks are in circles


def _asked_of(
    one: Validated, order: Sequence[int], answers: Answers, *, until: float
) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """Open a network and ask it of images in this order; yields each one's place and what it said plain."""
    engine = open_engine(one.folder)
    ways: list[Engine] = [engine, *(_SeenAs(engine, view) for view in answers.views)]
    for first in range(0, len(order), BATCH):
        if first and time.monotonic() > until:
            break
        images = {place: one.pairs[place].image for place in order[first : first + BATCH]}
        for way, seeing in enumerate(ways):
            for place, said in _said(seeing, images):
                answers.add(place, way, said)
                if way == 0:
                    yield place, said


@final
class _SeenAs:
    """An engine that looks at images in one way alone."""

    def __init__(self, engine: Engine, view: View) -> None:
        self.bundle = engine.bundle
        self._engine, self._view = engine, view

    def __call__(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        return seen_as(self._engine, images, self._view)


def _said(engine: Engine, images: Mapping[int, Path]) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """Probabilities, (h, w, outputs), of each image, by its place."""
    files = [Numbered(*one) for one in images.items()]
    with closing(predictions(engine, files, probabilities=True)) as answers:
        for found in answers:
            if isinstance(found, Failed):
                raise found.error
            yield found.of.number, found.answer
