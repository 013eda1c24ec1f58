"""Predict masks for held-out images with and without test-time augmentation, and store the probabilities on disk."""

import gc
import math
import os
import shutil
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
from maskwright.data.pairs import Pair, evenly_spaced
from maskwright.errors import InputError
from maskwright.images.read import image_size, read_mask
from maskwright.inference.bundle import TtaTransform
from maskwright.inference.engines.engine import Engine, open_engine
from maskwright.inference.ensemble import network_folders
from maskwright.inference.pipeline import BATCH_SIZE, FailedImage, NumberedFile, Prediction, predictions
from maskwright.inference.test_time_augmentation import predict_transformed
from maskwright.training.evaluate import check_sizes
from maskwright.training.run import Run

_MAX_STORED_VALUES: Final = 2**29  # maximum number of float32 probabilities on disk, which take 2 GiB
_MAX_DISK_FRACTION: Final = 0.5  # maximum fraction of the free disk space that they take


class NothingHeldOut(InputError):
    """A run that has no validation images."""

    text = (
        "{run}: found no validation images in split.csv; expected the validation images of the run. "
        "Train again with a validation set."
    )


@dataclass(frozen=True)
class HeldOutImage:
    """A held-out pair, its ground-truth label indices (h, w), and the offset of its stored probabilities."""

    pair: Pair
    truth: NDArray[np.uint8]
    offset: int


@final
class HeldOutPredictions:
    """Predicted probabilities for held-out images, without and with each transform of the test-time augmentation.

    If an image was held out for several networks, the mean of their probabilities is stored. The values are stored in
    a temporary file, which is deleted by `close` or at the end of the ``with`` block.

    Args:
        images: Held-out images.
        transforms: Transforms of the test-time augmentation.
        outputs: Number of output channels of the networks.
        folder: Existing folder in which the temporary file is created.
    """

    def __init__(
        self, images: Sequence[HeldOutImage], transforms: Sequence[TtaTransform], outputs: int, *, folder: Path
    ) -> None:
        self.images = images
        self.transforms = tuple(transforms)
        self._outputs = outputs
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115  closed by `close`
        values = max(1, sum(image.truth.size for image in images) * outputs * (1 + len(self.transforms)))
        if hasattr(os, "posix_fallocate"):  # raises OSError if the disk is full; a later write would cause SIGBUS
            os.posix_fallocate(self._file.fileno(), 0, 4 * values)
        self._values = np.memmap(self._file, np.float32, "w+", shape=(values,))
        self._network_counts = np.zeros((len(images), 1 + len(self.transforms)), int)

    def __enter__(self) -> "HeldOutPredictions":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Delete the temporary file."""
        del self._values
        self._file.close()

    def add(self, index: int, variant: int, probabilities: NDArray[np.float32]) -> None:
        """Add the probabilities that one network predicted for an image.

        Args:
            index: Index of the image.
            variant: 0 for the image without a transform, otherwise 1 plus the index of the transform.
            probabilities: Predicted probabilities for the image, (h, w, outputs).

        Raises:
            SizesDiffer: The image and its mask have different sizes.
        """
        image = self.images[index]
        check_sizes(image.pair, image=probabilities.shape, mask=image.truth.shape)
        self._network_counts[index, variant] += 1
        mean = self._of_image(index)[variant]
        mean += (probabilities - mean) / self._network_counts[index, variant]

    def mean(self, index: int, transforms: Sequence[TtaTransform] = ()) -> NDArray[np.float32]:
        """Return the mean of the probabilities (h, w, outputs) predicted without and with each transform."""
        stored = self._of_image(index)
        variants = [0, *(1 + self.transforms.index(transform) for transform in transforms)]
        return np.mean([np.asarray(stored[variant], np.float32) for variant in variants], axis=0)

    @property
    def max_networks_per_image(self) -> int:
        """Largest number of networks whose probabilities were added for the same image."""
        return int(self._network_counts[:, 0].max())

    @property
    def predicted_indices(self) -> list[int]:
        """Indices of the images for which probabilities are stored."""
        return np.flatnonzero(self._network_counts[:, 0]).tolist()

    def _of_image(self, index: int) -> NDArray[np.float32]:
        image = self.images[index]
        start = image.offset * self._outputs * (1 + len(self.transforms))
        shape = (1 + len(self.transforms), *image.truth.shape, self._outputs)
        return self._values[start : start + int(np.prod(shape))].reshape(shape)


@dataclass(frozen=True)
class NetworkOfRun:
    """A network, given by its folder, and the run in which it was trained."""

    folder: Path
    run: Run


def networks_of_runs(members: Sequence[Path]) -> list[NetworkOfRun] | None:
    """Find the networks in folders of runs, snapshots and ensembles, and the run in which each network was trained.

    Args:
        members: Folders of runs, snapshots, ensembles or exported engines.

    Returns:
        The networks, or None if a network does not belong to a run (such as an exported engine) or if its validation
        images are missing.

    Raises:
        WrongEnsemble: A member is not the folder of a network.
    """
    folders = network_folders(members)
    networks = [
        NetworkOfRun(folder, run) for folder in folders if (run := Run.holding(folder)) and _has_validation_files(run)
    ]
    return networks if len(networks) == len(folders) else None


def _has_validation_files(run: Run) -> bool:
    if not run.split.is_file():
        return False
    return all(pair.image.is_file() and pair.mask.is_file() for pair in run.read_split()["validation"])


@dataclass(frozen=True)
class ValidatedNetwork:
    """A network, given by its folder, and its validation pairs by the index of the image."""

    folder: Path
    pairs: Mapping[int, Pair]


def held_out_images(
    networks: Sequence[NetworkOfRun], *, variants: int, folder: Path, fewest: int = 1
) -> tuple[list[HeldOutImage], list[ValidatedNetwork]]:
    """Collect the distinct validation images of all networks, and the validation pairs of each network.

    If the probabilities of all images would exceed the storage limit, a subset of evenly spaced images is used.

    Args:
        networks: Networks and the runs in which they were trained.
        variants: Number of predictions that are stored for each image: 1 plus the number of transforms.
        folder: Existing folder on the disk on which the probabilities are stored.
        fewest: Minimum number of images to return. If fewer can be stored, none is returned.

    Raises:
        NothingHeldOut: No network has a validation image.
        InputError: A mask cannot be read.
    """
    pairs = [{str(pair.image): pair for pair in network.run.read_split()["validation"]} for network in networks]
    pair_of_file = {file: pair for pairs_of_network in pairs for file, pair in pairs_of_network.items()}
    if not pair_of_file:
        raise NothingHeldOut(run=networks[0].run.folder)
    first_run = networks[0].run
    pixels = sum(math.prod(image_size(pair.mask)) for pair in pair_of_file.values())
    values = pixels * first_run.read_bundle().outputs * variants
    most = min(_MAX_STORED_VALUES, int(_MAX_DISK_FRACTION * shutil.disk_usage(folder).free / 4))
    limit = max(1, min(len(pair_of_file), len(pair_of_file) * most // values))
    files = evenly_spaced(list(pair_of_file), limit) if limit >= fewest else []
    mask_values = parse_mask_values(first_run.read_recipe().data.mask_values or {})
    images: list[HeldOutImage] = []
    offset = 0
    for file in files:
        pair = pair_of_file[file]
        images.append(HeldOutImage(pair, mask_values.encode(read_mask(pair.mask), file=pair.mask), offset))
        offset += images[-1].truth.size
    index_of_file = {file: index for index, file in enumerate(files)}
    return images, [
        ValidatedNetwork(
            network.folder,
            {index_of_file[file]: pair for file, pair in pairs_of_network.items() if file in index_of_file},
        )
        for network, pairs_of_network in zip(networks, pairs, strict=True)
    ]


def predict_held_out(
    networks: Sequence[ValidatedNetwork],
    predicted: HeldOutPredictions,
    *,
    seconds: float = math.inf,
    progress: Callable[[int, int], None],
) -> Iterator[tuple[int, int, NDArray[np.float32]]]:
    """Predict masks for the validation images of each network, with one network at a time in memory.

    Args:
        networks: Networks and their validation pairs.
        predicted: Storage to which the probabilities are added.
        seconds: Time limit in seconds, shared equally among the networks. Each network processes as many images as
            possible within its share, in random order, and at least one batch.
        progress: Function called with the number of finished images and the total.

    Yields:
        The index of the network, the index of the image, and the probabilities (h, w, outputs) without a transform.

    Raises:
        InputError: A network or an image cannot be read.
    """
    total, done, start = sum(len(network.pairs) for network in networks), 0, time.monotonic()
    order = np.random.default_rng(0).permutation(len(predicted.images)).tolist()  # all networks use the same order
    for number, network in enumerate(networks):
        deadline = start + seconds * (number + 1) / len(networks)
        indices = [index for index in order if index in network.pairs]
        for index, probabilities in _predict_network(network, indices, predicted, deadline=deadline):
            yield number, index, probabilities
            done += 1
            progress(done, total)
        gc.collect()  # Keras models contain reference cycles


def _predict_network(
    network: ValidatedNetwork, indices: Sequence[int], predicted: HeldOutPredictions, *, deadline: float
) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """Load a network and predict masks for images in the order of ``indices``.

    Yields:
        The index of each image and the probabilities (h, w, outputs) predicted for it without a transform.
    """
    engine = open_engine(network.folder)
    variants: list[Engine] = [engine, *(TransformedEngine(engine, transform) for transform in predicted.transforms)]
    for start in range(0, len(indices), BATCH_SIZE):
        if start and time.monotonic() > deadline:
            break
        files = {index: network.pairs[index].image for index in indices[start : start + BATCH_SIZE]}
        for variant, variant_engine in enumerate(variants):
            for prediction in predict_probabilities(variant_engine, files):
                index = prediction.source.number
                predicted.add(index, variant, prediction.values)
                if variant == 0:
                    yield index, prediction.values


@final
class TransformedEngine:
    """An engine that applies a single transform of the test-time augmentation."""

    def __init__(self, engine: Engine, transform: TtaTransform) -> None:
        self.bundle = engine.bundle
        self._engine, self._transform = engine, transform

    def __call__(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the probabilities (n, h, w, outputs) of prepared images (n, h, w, inputs)."""
        return predict_transformed(self._engine, images, self._transform)


def predict_probabilities(engine: Engine, files: Mapping[int, Path]) -> Iterator[Prediction]:
    """Yield the probabilities (h, w, outputs) predicted for each image file, in any order; its number is its key.

    Raises:
        InputError: An image cannot be read.
    """
    with closing(predictions(engine, [NumberedFile(*item) for item in files.items()], probabilities=True)) as results:
        for result in results:
            if isinstance(result, FailedImage):
                raise result.error
            yield result
