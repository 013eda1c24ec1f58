"""Store the state of training in checkpoint files, which are written atomically and read without unpickling."""

import hashlib
import json
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, NamedTuple, final

import keras
import numpy as np
from numpy.typing import NDArray

from maskwright.errors import InputError
from maskwright.images.write import atomic_path

_DIGEST: Final = "sha256"
_DIGEST_BYTES: Final = 32
_CHUNK_BYTES: Final = 2**20
_AVERAGE: Final = "average/"
_NO_ARRAYS: Mapping[str, NDArray[Any]] = MappingProxyType({})


class UnreadableCheckpoint(InputError):
    """A checkpoint that is damaged or belongs to another network."""

    text = "{file}: cannot resume from this checkpoint: {found}. Start again with --overwrite."


class DamagedCheckpoint(UnreadableCheckpoint):
    """A checkpoint that is truncated or whose content has changed since it was written."""


class RestoredCheckpoint(NamedTuple):
    """State and weight average from a checkpoint whose weights have been assigned to the network."""

    state: dict[str, Any]
    file: Path
    damaged: Path | None
    """Damaged newer checkpoint, which was not used; None if the newest checkpoint was used."""
    average: dict[str, NDArray[Any]]
    """Arrays of the weight average, as returned by `WeightAverage.to_arrays`."""


@final
class Checkpoints:
    """Newest checkpoint of a run, and the previous checkpoint, which is used if the newest is damaged.

    Args:
        newest: File of the newest checkpoint.
        previous: File of the previous checkpoint.
    """

    def __init__(self, newest: Path, previous: Path) -> None:
        self.newest = newest
        self.previous = previous
        self._is_newest_intact = False  # only a file known to be intact may replace the previous checkpoint

    def save(
        self, network: keras.Model, state: Mapping[str, Any], *, average: Mapping[str, NDArray[Any]] = _NO_ARRAYS
    ) -> None:
        """Write a new checkpoint with a digest of its content, and keep the newest one as the previous checkpoint.

        If saving is interrupted, at least one complete checkpoint remains.

        Args:
            network: Network whose variables, including those of its optimizer, are stored.
            state: State of training, which must be serialisable to JSON.
            average: Arrays of the weight average, as returned by `WeightAverage.to_arrays`.
        """
        with atomic_path(self.newest) as temporary:
            _write(temporary, network, state, average)
            if self._is_newest_intact:
                self.newest.replace(self.previous)
                self._is_newest_intact = False
        self._is_newest_intact = True

    def load(self, network: keras.Model) -> RestoredCheckpoint:
        """Restore the newest checkpoint, or the previous one if the newest is damaged.

        Raises:
            UnreadableCheckpoint: Both checkpoints are damaged, or they belong to another network.
        """
        damaged = None
        if self.newest.exists() or not self.previous.exists():
            try:
                restored = _restore(self.newest, network, damaged=None)
                self._is_newest_intact = True
                return restored
            except DamagedCheckpoint:
                self._is_newest_intact = False
                if not self.previous.exists():
                    raise
                damaged = self.newest
        return _restore(self.previous, network, damaged=damaged)


def _restore(file: Path, network: keras.Model, *, damaged: Path | None) -> RestoredCheckpoint:
    """Restore a checkpoint into ``network`` and its optimizer.

    Raises:
        DamagedCheckpoint: The file is truncated, or its content has changed.
        UnreadableCheckpoint: The variables in the file belong to another network.
    """
    try:
        if not _has_valid_digest(file):
            raise ValueError("its digest does not match")
        with np.load(file, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
        state = json.loads(arrays.pop("state").tobytes())
    except (FileNotFoundError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise DamagedCheckpoint(file=file, found=f"it is damaged ({error})") from None
    average = {name.removeprefix(_AVERAGE): arrays.pop(name) for name in [*arrays] if name.startswith(_AVERAGE)}
    expected = _variables(network)
    shapes = {name: tuple(variable.shape) for name, variable in expected.items()}
    if shapes != {name: array.shape for name, array in arrays.items()}:
        raise UnreadableCheckpoint(file=file, found="it belongs to another network")
    for name, variable in expected.items():
        variable.assign(arrays[name])
    return RestoredCheckpoint(state, file, damaged, average)


def is_finite(network: keras.Model) -> bool:
    """Return whether all variables of the network and its optimizer are finite."""
    return all(np.isfinite(keras.ops.convert_to_numpy(variable)).all() for variable in _variables(network).values())


def _write(file: Path, network: keras.Model, state: Mapping[str, Any], average: Mapping[str, NDArray[Any]]) -> None:
    arrays = {name: keras.ops.convert_to_numpy(variable) for name, variable in _variables(network).items()}
    arrays |= {f"{_AVERAGE}{name}": array for name, array in average.items()}
    np.savez(file, state=np.frombuffer(json.dumps(state).encode(), np.uint8), **arrays)
    with file.open("rb+") as written:
        digest = hashlib.file_digest(written, _DIGEST).digest()
        written.seek(0, 2)
        written.write(digest)  # readers of zip archives ignore trailing bytes
        written.flush()
        os.fsync(written.fileno())  # the content must be on disk before the file replaces an older checkpoint


def _has_valid_digest(file: Path) -> bool:
    """Return whether a file ends with the digest of the bytes before the digest."""
    digest, left = hashlib.new(_DIGEST), file.stat().st_size - _DIGEST_BYTES
    with file.open("rb") as stored:
        while left > 0:
            chunk = stored.read(min(_CHUNK_BYTES, left))
            digest.update(chunk)
            left -= len(chunk)
        return stored.read() == digest.digest()


def _variables(network: keras.Model) -> dict[str, keras.Variable]:
    parts = {"network": network.variables, "optimizer": network.optimizer.variables}
    return {f"{part}/{index}": variable for part, group in parts.items() for index, variable in enumerate(group)}
