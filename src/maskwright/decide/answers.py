"""What networks say of the images they were validated on, each of them looked at in several ways, kept on disk."""

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, final

import numpy as np
from numpy.typing import NDArray

from maskwright.data.mask_values import parse_mask_values
from maskwright.data.pairs import Pair
from maskwright.errors import InputError
from maskwright.images.read import read_image, read_mask
from maskwright.inference.bundle import View
from maskwright.inference.engine import Engine, open_engine
from maskwright.inference.predict import predict_probabilities
from maskwright.inference.views import seen_as
from maskwright.training.run import Run

_MOST_NUMBERS: Final = 2**29  # of two bytes each, on disk


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
    free the disk.
    """

    def __init__(self, images: Sequence[Known], views: Sequence[View], outputs: int) -> None:
        self.images = images
        self.views = tuple(views)
        self._outputs = outputs
        self._file = tempfile.TemporaryFile()  # noqa: SIM115  closed by `close`
        numbers = sum(image.truth.size for image in images) * outputs * (1 + len(self.views))
        self._kept = np.memmap(self._file, np.float16, "w+", shape=(max(1, numbers),))
        self._networks = np.zeros(len(images), int)

    def __enter__(self) -> "Answers":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Free what is kept."""
        del self._kept
        self._file.close()

    def add(self, place: int, ways: Sequence[NDArray[np.float32]]) -> None:
        """One more network's probabilities of an image, (h, w, outputs): plain, and in each view."""
        self._networks[place] += 1
        kept = self._of(place)
        for before, now in zip(kept, ways, strict=True):
            before += ((now - before) / self._networks[place]).astype(np.float16)

    def mean(self, place: int, views: Sequence[View] = ()) -> NDArray[np.float32]:
        """Probabilities of an image, (h, w, outputs): the mean of the plain ones and those in ``views``."""
        kept = self._of(place)
        chosen = [0, *(1 + self.views.index(view) for view in views)]
        return np.mean([np.asarray(kept[way], np.float32) for way in chosen], axis=0)

    @property
    def is_shared(self) -> bool:
        """Whether several networks were asked of every image."""
        return bool((self._networks > 1).all())

    def _of(self, place: int) -> NDArray[np.float16]:
        image = self.images[place]
        first = image.first * self._outputs * (1 + len(self.views))
        shape = (1 + len(self.views), *image.truth.shape, self._outputs)
        return self._kept[first : first + int(np.prod(shape))].reshape(shape)


@dataclass(frozen=True)
class Validated:
    """A network, and the places of the images it was validated on, with their pairs."""

    run: Run
    pairs: Mapping[int, Pair]


def held_out(runs: Sequence[Run], *, ways: int) -> tuple[list[Known], list[Validated]]:
    """The images that runs were validated on, each once, and which of them each run knows.

    Of so many that their probabilities in ``ways`` ways would not fit, some, evenly spread.

    Raises:
        NothingHeldOut: There is none.
        InputError: A mask cannot be read any more.
    """
    pairs = {run: {str(pair.mask): pair for pair in run.read_split()["validation"]} for run in runs}
    every = list(dict.fromkeys(key for of_run in pairs.values() for key in of_run))
    if not every:
        raise NothingHeldOut(run=runs[0].folder)
    by_key = {key: pair for of_run in pairs.values() for key, pair in of_run.items()}
    values = parse_mask_values(runs[0].read_recipe().data.mask_values or {})
    outputs = runs[0].read_bundle().outputs
    sample = values.encode(read_mask(by_key[every[0]].mask), file=every[0])
    most = max(1, _MOST_NUMBERS // (sample.size * outputs * ways))
    if most < len(every):
        every = [every[place] for place in np.linspace(0, len(every) - 1, most).round().astype(int)]
    known, first = [], 0
    for key in every:
        pair = by_key[key]
        known.append(Known(pair.name, values.encode(read_mask(pair.mask), file=pair.mask), first))
        first += known[-1].truth.size
    places = {key: place for place, key in enumerate(every)}
    return known, [
        Validated(run, {places[key]: pair for key, pair in of_run.items() if key in places})
        for run, of_run in pairs.items()
    ]


def asked(
    validated: Sequence[Validated], answers: Answers, *, progress: Callable[[int, int], None]
) -> Iterator[tuple[int, int, NDArray[np.float32]]]:
    """Ask each network, one at a time in memory, of its images; yields its place, the image's, and what it said plain.

    Raises:
        InputError: A network or an image cannot be read.
    """
    total, done = sum(len(one.pairs) for one in validated), 0
    for number, one in enumerate(validated):
        engine = open_engine(one.run.folder)
        for place, pair in one.pairs.items():
            ways = _in_every_way(engine, pair, answers.views)
            answers.add(place, ways)
            yield number, place, ways[0]
            done += 1
            progress(done, total)
        del engine


@final
class _SeenAs:
    """An engine that looks at images in one way alone."""

    def __init__(self, engine: Engine, view: View) -> None:
        self.bundle = engine.bundle
        self._engine, self._view = engine, view

    def __call__(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        return seen_as(self._engine, images, self._view)


def _in_every_way(engine: Engine, pair: Pair, views: Sequence[View]) -> list[NDArray[np.float32]]:
    image = read_image(pair.image)
    engines: list[Engine] = [engine, *(_SeenAs(engine, view) for view in views)]
    return [predict_probabilities(one, image, file=pair.image) for one in engines]
