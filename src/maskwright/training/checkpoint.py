"""The state of a training on disk: one file, written whole or not at all, read without unpickling."""

import hashlib
import json
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple, final

import keras
import numpy as np
from numpy.typing import NDArray

from maskwright.errors import InputError
from maskwright.images.write import atomic_path

_DIGEST = "sha256"
_DIGEST_BYTES = 32
_CHUNK = 2**20
_AVERAGE = "average/"
_NOTHING: Mapping[str, NDArray[Any]] = MappingProxyType({})


class UnreadableCheckpoint(InputError):
    """A checkpoint that is damaged, or of another network."""

    text = "{file}: cannot go on from this checkpoint: {found}. Start again with --overwrite."


class DamagedCheckpoint(UnreadableCheckpoint):
    """A checkpoint that is not as it was written."""


class Restored(NamedTuple):
    """What a training goes on from."""

    state: dict[str, Any]
    file: Path
    damaged: Path | None
    """A newer checkpoint that could not be used."""
    average: dict[str, NDArray[Any]]
    """What was kept of an `Average`."""


@final
class Checkpoints:
    """A run's newest checkpoint, and the one before it, which is kept until the next is whole.

    Args:
        newest: The file of the newest.
        previous: The file of the one before it.
    """

    def __init__(self, newest: Path, previous: Path) -> None:
        self.newest = newest
        self.previous = previous
        self._newest_is_whole = False  # only what was written or read here may take the place of the previous one

    def save(
        self, network: keras.Model, state: Mapping[str, Any], *, average: Mapping[str, NDArray[Any]] = _NOTHING
    ) -> None:
        """Store the network's variables, its optimizer's, and ``state`` (anything JSON holds), and a digest of it all.

        At any moment one whole checkpoint has its name.
        """
        with atomic_path(self.newest) as temporary:
            _write(temporary, network, state, average)
            if self._newest_is_whole:
                self.newest.replace(self.previous)
                self._newest_is_whole = False
        self._newest_is_whole = True

    def load(self, network: keras.Model) -> Restored:
        """Restore the newest checkpoint, or the one before it where the newest is damaged.

        Raises:
            UnreadableCheckpoint: Neither can be used, or they are of another network.
        """
        damaged = None
        if self.newest.exists() or not self.previous.exists():
            try:
                restored = _restored(self.newest, network, damaged=None)
                self._newest_is_whole = True
                return restored
            except DamagedCheckpoint:
                self._newest_is_whole = False
                if not self.previous.exists():
                    raise
                damaged = self.newest
        return _restored(self.previous, network, damaged=damaged)


def load_checkpoint(file: Path, network: keras.Model) -> dict[str, Any]:
    """Restore what `Checkpoints.save` stored into ``network`` and its optimizer, and return the state.

    Raises:
        UnreadableCheckpoint: As `Checkpoints.load` does.
    """
    return _restored(file, network, damaged=None).state


def _restored(file: Path, network: keras.Model, *, damaged: Path | None) -> Restored:
    """Restore a checkpoint.

    Raises:
        DamagedCheckpoint: The file is not as it was written: torn, or altered by as little as a bit.
        UnreadableCheckpoint: Its variables are not this network's.
    """
    try:
        if not _is_as_written(file):
            raise ValueError("its digest does not fit")
        with np.load(file, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
        state = json.loads(arrays.pop("state").tobytes())
    except (FileNotFoundError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise DamagedCheckpoint(file=file, found=f"it is damaged ({error})") from None
    average = {name.removeprefix(_AVERAGE): arrays.pop(name) for name in [*arrays] if name.startswith(_AVERAGE)}
    expected = _variables(network)
    shapes = {name: tuple(variable.shape) for name, variable in expected.items()}
    if shapes != {name: array.shape for name, array in arrays.items()}:
        raise UnreadableCheckpoint(file=file, found="its weights are those of another network")
    for name, variable in expected.items():
        variable.assign(arrays[name])
    return Restored(state, file, damaged, average)


def is_finite(network: keras.Model) -> bool:
    """Whether every variable of the network and its optimizer is a finite number."""
    return all(np.isfinite(keras.ops.convert_to_numpy(one)).all() for one in _variables(network).values())


def _write(file: Path, network: keras.Model, state: Mapping[str, Any], average: Mapping[str, NDArray[Any]]) -> None:
    arrays = {name: keras.ops.convert_to_numpy(variable) for name, variable in _variables(network).items()}
    arrays |= {f"{_AVERAGE}{name}": array for name, array in average.items()}
    np.savez(file, state=np.frombuffer(json.dumps(state).encode(), np.uint8), **arrays)
    with file.open("rb+") as written:
        digest = hashlib.file_digest(written, _DIGEST).digest()
        written.seek(0, 2)
        written.write(digest)  # after the end of an archive, where no reader of archives minds it
        written.flush()
        os.fsync(written.fileno())  # before the one that is there makes way for it


def _is_as_written(file: Path) -> bool:
    """Whether a file ends in the digest of what comes before."""
    digest, left = hashlib.new(_DIGEST), file.stat().st_size - _DIGEST_BYTES
    with file.open("rb") as stored:
        while left > 0:
            chunk = stored.read(min(_CHUNK, left))
            digest.update(chunk)
            left -= len(chunk)
        return stored.read() == digest.digest()


def _variables(network: keras.Model) -> dict[str, keras.Variable]:
    parts = {"network": network.variables, "optimizer": network.optimizer.variables}
    return {f"{part}/{place}": variable for part, all_of in parts.items() for place, variable in enumerate(all_of)}
