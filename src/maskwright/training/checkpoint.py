"""The state of a training on disk: one file, written whole or not at all, read without unpickling."""

import json
import zipfile
from pathlib import Path
from typing import Any

import keras
import numpy as np

from maskwright.errors import InputError
from maskwright.images.write import atomic_path


class UnreadableCheckpoint(InputError):
    """A checkpoint that is damaged, or of another network."""

    text = "{file}: cannot go on from this checkpoint: {found}. Start again with --overwrite."


def save_checkpoint(file: Path, network: keras.Model, state: dict[str, Any]) -> None:
    """Store the network's variables, its optimizer's, and ``state`` (anything JSON holds)."""
    arrays = {name: keras.ops.convert_to_numpy(variable) for name, variable in _variables(network).items()}
    with atomic_path(file) as temporary:
        np.savez(temporary, state=np.frombuffer(json.dumps(state).encode(), np.uint8), **arrays)


def load_checkpoint(file: Path, network: keras.Model) -> dict[str, Any]:
    """Restore what `save_checkpoint` stored into ``network`` and its optimizer, and return the state.

    Raises:
        UnreadableCheckpoint: The file is damaged, or its variables are not this network's.
    """
    try:
        with np.load(file, allow_pickle=False) as stored:  # each member is checked against its CRC
            arrays = {name: stored[name] for name in stored.files}
        state = json.loads(arrays.pop("state").tobytes())
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise UnreadableCheckpoint(file=file, found=f"it is damaged ({error})") from None
    expected = _variables(network)
    shapes = {name: tuple(variable.shape) for name, variable in expected.items()}
    if shapes != {name: array.shape for name, array in arrays.items()}:
        raise UnreadableCheckpoint(file=file, found="its weights are those of another network")
    for name, variable in expected.items():
        variable.assign(arrays[name])
    return state


def _variables(network: keras.Model) -> dict[str, keras.Variable]:
    parts = {"network": network.variables, "optimizer": network.optimizer.variables}
    return {f"{part}/{place}": variable for part, all_of in parts.items() for place, variable in enumerate(all_of)}
