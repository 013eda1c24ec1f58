"""Reading a Keras 2 .h5 file, weights only or whole model, into plain arrays; nothing stored in it is ever run."""

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any, Final

import h5py
import numpy as np
from numpy.typing import NDArray

from maskwright.errors import InputError

LegacyPath = str | PathLike[str]
Arrays = Mapping[str, NDArray[np.generic]]
Shapes = Mapping[str, tuple[int, ...]]

HDF5_SIGNATURE: Final = b"\x89HDF\r\n\x1a\n"
ZIP_SIGNATURE: Final = b"PK\x03\x04"
MAX_BYTES: Final = 4 * 2**30  # the largest network here takes 0.6 GiB
MOST_TEXT_BYTES: Final = 64 * 2**20
WRITTEN_BY: Final = "a Keras 2 .h5 file, as its save_weights or save wrote it"


class NotLegacyFile(InputError):
    """A path that leads to something other than a Keras 2 ``.h5`` file."""

    text = "{argument}={file!r} is {found}; expected " + WRITTEN_BY + ".{remedy}"


class DamagedLegacyFile(InputError):
    """An HDF5 file that ends too early or contradicts itself."""

    text = "{argument}={file!r} is cut off or damaged ({found}); expected " + WRITTEN_BY + ". Copy it again."


class UnsafeLegacyFile(InputError):
    """A file that holds something no Keras 2 file does: a link elsewhere, objects, or far too much."""

    text = "{argument}={file!r}: {part} is {found}; expected plain numbers inside the file. It is not read."


class NestedNetwork(InputError):
    """A layer that is itself a network."""

    text = (
        "{argument}={file!r}: the layer {layer!r} is itself a network of several layers; expected the network itself. "
        "Where Keras 2 runs, save that one alone: model.get_layer({layer!r}).save('inner.h5'). "
        "That leaves out layers in front of it, such as a convolution from other channels to three; build those anew."
    )


@dataclass(frozen=True)
class LegacyFile:
    """What a Keras 2 file holds.

    ``layers`` are those with weights, in the file's order, each a mapping from a weight's plain name (``kernel``,
    ``moving_mean``) to its array. ``config`` is the network's description where the file is a whole model: parsed
    JSON, from which no object is made. ``has_optimizer`` tells of optimizer state, which is not read.
    """

    path: Path
    layers: Mapping[str, Arrays]
    config: Mapping[str, Any] | None
    has_optimizer: bool


def shapes_of(arrays: Arrays) -> dict[str, tuple[int, ...]]:
    """Shapes of a layer's weights, by the weights' names."""
    return {name: array.shape for name, array in arrays.items()}


def read_legacy(file: LegacyPath, *, argument: str = "file") -> LegacyFile:
    """The layers, and for whole models the description, in a Keras 2 ``.h5`` file.

    Args:
        file: Path of the file.
        argument: What the user calls ``file``, for the errors.

    Raises:
        NotLegacyFile: there is no file, or it is of another kind (which, and what to do instead, is named).
        DamagedLegacyFile: the file is cut off or contradicts itself.
        UnsafeLegacyFile: it holds links, objects or sizes that no Keras 2 file has.
        NestedNetwork: a layer is itself a network.
    """
    path = Path(file)
    _check_kind(path, argument=argument)
    try:
        with h5py.File(path, "r") as opened:
            return _Reader(opened, path, argument).read()
    except (OSError, KeyError, RuntimeError) as error:  # what h5py raises for broken structures
        raise DamagedLegacyFile(argument=argument, file=str(file), found=_in_brief(error)) from error


def _check_kind(path: Path, *, argument: str) -> None:
    def refuse(found: str, remedy: str = "") -> NotLegacyFile:
        return NotLegacyFile(argument=argument, file=str(path), found=found, remedy=remedy and f" {remedy}")

    if path.is_dir():
        raise refuse("a folder", "A SavedModel is saved again by tf.keras.models.load_model(...).save('old.h5').")
    if not path.is_file():
        raise refuse("not there")
    with path.open("rb") as opened:
        start = opened.read(len(HDF5_SIGNATURE))
    if start.startswith(ZIP_SIGNATURE):
        raise refuse("a zip archive, as .keras files are", "keras.saving.load_model opens those.")
    if start != HDF5_SIGNATURE:
        raise refuse("not in the HDF5 format")


def _in_brief(error: Exception) -> str:
    return str(error).strip("'\"").splitlines()[0][:200]


@dataclass(frozen=True)
class _Reader:
    opened: h5py.File
    path: Path
    argument: str

    def read(self) -> LegacyFile:
        whole = "model_weights" in self.opened
        group = self._member(self.opened, "model_weights", part="model_weights") if whole else self.opened
        if not isinstance(group, h5py.Group) or not _has_list(group, "layer_names"):
            raise self._not_legacy()
        names = self._names(group, "layer_names", part="layer_names")
        stored = {name: dict(self._weights(group, name)) for name in names}
        if not any(stored.values()):
            raise NotLegacyFile(argument=self.argument, file=str(self.path), found="a file without weights", remedy="")
        if (size := sum(data.nbytes for layer in stored.values() for data in layer.values())) > MAX_BYTES:
            raise self._unsafe("its weights", f"{size} bytes, more than any network here")
        return LegacyFile(
            path=self.path,
            layers={
                layer: {name: np.asarray(data[()]) for name, data in weights.items()}
                for layer, weights in stored.items()
                if weights
            },
            config=self._config() if whole and "model_config" in self.opened.attrs else None,
            has_optimizer="optimizer_weights" in self.opened,
        )

    def _not_legacy(self) -> NotLegacyFile:
        if {"layers", "_layer_checkpoint_dependencies", "vars"} & set(self.opened):
            found = "in the .weights.h5 form of Keras 2.12 and later, which does not name its layers"
            remedy = " Load it into the network that wrote it, and save that as a whole: save('old.h5')."
        else:
            found, remedy = "an HDF5 file, but none that Keras wrote", ""
        return NotLegacyFile(argument=self.argument, file=str(self.path), found=found, remedy=remedy)

    def _unsafe(self, part: str, found: str) -> UnsafeLegacyFile:
        return UnsafeLegacyFile(argument=self.argument, file=str(self.path), part=part, found=found)

    def _member(self, group: h5py.Group, name: str, *, part: str) -> h5py.Group | h5py.Dataset:
        found: h5py.Group | h5py.Dataset = group
        for step in name.split("/"):  # a name like conv1/conv is a group in a group
            if not isinstance(found, h5py.Group):
                raise KeyError(f"{part} is missing")
            link = found.get(step, getlink=True)
            if isinstance(link, h5py.SoftLink | h5py.ExternalLink):
                raise self._unsafe(part, "a link to somewhere else")
            found = found[step]
        return found

    def _weights(self, group: h5py.Group, layer: str) -> Iterator[tuple[str, h5py.Dataset]]:
        inner = self._member(group, layer, part=f"layer {layer}")
        weights = self._names(inner, "weight_names", part=f"layer {layer}") if _has_list(inner, "weight_names") else []
        plain = [name.rsplit("/", 1)[-1].split(":")[0].removeprefix("depthwise_") for name in weights]
        if len(set(plain)) < len(plain):
            raise NestedNetwork(argument=self.argument, file=str(self.path), layer=layer)
        for name, stored in zip(plain, weights, strict=True):
            yield name, self._checked(self._member(inner, stored, part=stored), part=stored)

    def _checked(self, data: h5py.Group | h5py.Dataset, *, part: str) -> h5py.Dataset:
        if not isinstance(data, h5py.Dataset) or data.shape is None:
            raise KeyError(f"{part} is no array")
        if data.external or data.is_virtual:
            raise self._unsafe(part, "kept in another file")
        if data.dtype.kind not in "fiu":
            raise self._unsafe(part, f"of type {data.dtype}")
        return data

    def _text(self, group: h5py.Group, name: str, *, part: str) -> Any:
        stored = group.attrs.get_id(name)
        if (size := math.prod(stored.shape or ()) * stored.dtype.itemsize) > MOST_TEXT_BYTES:
            raise self._unsafe(part, f"{size} bytes of text")
        return group.attrs[name]

    def _names(self, group: h5py.Group, name: str, *, part: str) -> list[str]:
        """A list of names, which Keras 2 cuts into name0, name1, ... where it exceeds an HDF5 header."""
        pieces = [name] if name in group.attrs else [f"{name}{number}" for number in range(len(group.attrs))]
        stored = (self._text(group, piece, part=part) for piece in pieces if piece in group.attrs)
        return [_decoded(text) for texts in stored for text in np.ravel(texts)]

    def _config(self) -> Mapping[str, Any]:
        text = _decoded(self._text(self.opened, "model_config", part="model_config"))
        try:
            config = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise DamagedLegacyFile(
                argument=self.argument, file=str(self.path), found="its model_config is not JSON"
            ) from error
        if not isinstance(config, dict):
            raise DamagedLegacyFile(
                argument=self.argument, file=str(self.path), found="its model_config describes no network"
            )
        return config


def _has_list(group: h5py.Group, name: str) -> bool:
    return name in group.attrs or f"{name}0" in group.attrs


def _decoded(text: str | bytes) -> str:
    return text.decode("utf-8", errors="replace") if isinstance(text, bytes) else str(text)
