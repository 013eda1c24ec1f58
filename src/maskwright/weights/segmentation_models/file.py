"""Read a Keras 2 .h5 file, which contains weights only or a whole model, without running code stored in it."""

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
MAX_BYTES: Final = 4 * 2**30  # maximum total size of the weights; those of the largest supported network have 0.6 GiB
MAX_TEXT_BYTES: Final = 64 * 2**20  # maximum size of one HDF5 attribute
EXPECTED_FORMAT: Final = "a Keras 2 .h5 file written by save_weights or save"


class NotLegacyFile(InputError):
    """A path that is not a Keras 2 ``.h5`` file."""

    text = "{argument}={file!r}: {found}; expected " + EXPECTED_FORMAT + ".{remedy}"


class DamagedLegacyFile(InputError):
    """An HDF5 file that is truncated or inconsistent."""

    text = (
        "{argument}={file!r}: the file is truncated or damaged ({found}); expected " + EXPECTED_FORMAT + ". "
        "Copy it again."
    )


class UnsafeLegacyFile(InputError):
    """A file with links, objects or sizes that Keras 2 does not write."""

    text = "{argument}={file!r}: {part} is {found}; expected numeric arrays stored in the file. Nothing was loaded."


class NestedNetwork(InputError):
    """A layer that is itself a model with several layers."""

    text = (
        "{argument}={file!r}: the layer {layer!r} is a nested model; expected a model without nested models. "
        "In Keras 2, save the nested model alone: model.get_layer({layer!r}).save('inner.h5'). "
        "Layers before it, such as a convolution from other channels to three, are not included; build them again."
    )


@dataclass(frozen=True)
class LegacyFile:
    """Content of a Keras 2 file.

    Attributes:
        path: Path of the file.
        layers: Layers with weights, in the order of the file. Each layer maps the name of a weight (``kernel``,
            ``moving_mean``) to its array.
        config: Configuration of a whole model as parsed JSON, from which no objects are created; None for a file with
            weights only.
        has_optimizer: Whether the file contains an optimizer state, which is not read.
    """

    path: Path
    layers: Mapping[str, Arrays]
    config: Mapping[str, Any] | None
    has_optimizer: bool


def shapes_of(arrays: Arrays) -> dict[str, tuple[int, ...]]:
    """Return the shape of each weight by name."""
    return {name: array.shape for name, array in arrays.items()}


def read_legacy(file: LegacyPath, *, argument: str = "file") -> LegacyFile:
    """Read the layers of a Keras 2 ``.h5`` file and, for a whole model, its configuration.

    Args:
        file: Path of the file.
        argument: Name of the argument ``file`` in error messages.

    Raises:
        NotLegacyFile: The file does not exist or has another format.
        DamagedLegacyFile: The file is truncated or inconsistent.
        UnsafeLegacyFile: The file contains links, objects or sizes that Keras 2 does not write.
        NestedNetwork: A layer is itself a model with several layers.
    """
    path = Path(file)
    _check_format(path, argument=argument)
    try:
        with h5py.File(path, "r") as root:
            return _Reader(root, path, argument).read()
    except (OSError, KeyError, RuntimeError) as error:  # raised by h5py for damaged structures
        raise DamagedLegacyFile(argument=argument, file=str(file), found=_first_line(error)) from error


def _check_format(path: Path, *, argument: str) -> None:
    def error(found: str, remedy: str = "") -> NotLegacyFile:
        return NotLegacyFile(argument=argument, file=str(path), found=found, remedy=remedy and f" {remedy}")

    if path.is_dir():
        raise error("found a folder", "Convert a SavedModel with tf.keras.models.load_model(...).save('old.h5').")
    if not path.is_file():
        raise error("the file does not exist")
    with path.open("rb") as file:
        start = file.read(len(HDF5_SIGNATURE))
    if start.startswith(ZIP_SIGNATURE):
        raise error("found a zip archive, such as a .keras file", "Load .keras files with keras.saving.load_model.")
    if start != HDF5_SIGNATURE:
        raise error("the file is not in the HDF5 format")


def _first_line(error: Exception) -> str:
    return str(error).strip("'\"").splitlines()[0][:200]


@dataclass(frozen=True)
class _Reader:
    root: h5py.File
    path: Path
    argument: str

    def read(self) -> LegacyFile:
        is_whole_model = "model_weights" in self.root
        group = self._member(self.root, "model_weights", part="model_weights") if is_whole_model else self.root
        if not isinstance(group, h5py.Group) or not _has_list(group, "layer_names"):
            raise self._not_legacy()
        names = self._names(group, "layer_names", part="layer_names")
        stored = {name: dict(self._weights(group, name)) for name in names}
        if not any(stored.values()):
            raise NotLegacyFile(argument=self.argument, file=str(self.path), found="the file has no weights", remedy="")
        if (size := sum(data.nbytes for layer in stored.values() for data in layer.values())) > MAX_BYTES:
            raise self._unsafe("the total size of the weights", f"{size:,} bytes, more than {MAX_BYTES:,}")
        return LegacyFile(
            path=self.path,
            layers={
                layer: {name: np.asarray(data[()]) for name, data in weights.items()}
                for layer, weights in stored.items()
                if weights
            },
            config=self._config() if is_whole_model and "model_config" in self.root.attrs else None,
            has_optimizer="optimizer_weights" in self.root,
        )

    def _not_legacy(self) -> NotLegacyFile:
        if {"layers", "_layer_checkpoint_dependencies", "vars"} & set(self.root):
            found = "found a .weights.h5 file of Keras 2.12 or later, which does not store layer names"
            remedy = " Load it into the network that wrote it, and save the whole model: save('old.h5')."
        else:
            found, remedy = "found an HDF5 file without Keras layers", ""
        return NotLegacyFile(argument=self.argument, file=str(self.path), found=found, remedy=remedy)

    def _unsafe(self, part: str, found: str) -> UnsafeLegacyFile:
        return UnsafeLegacyFile(argument=self.argument, file=str(self.path), part=part, found=found)

    def _member(self, group: h5py.Group, name: str, *, part: str) -> h5py.Group | h5py.Dataset:
        member: h5py.Group | h5py.Dataset = group
        for component in name.split("/"):  # a name such as conv1/conv denotes a group in a group
            if not isinstance(member, h5py.Group):
                raise KeyError(f"{part} is missing")
            link = member.get(component, getlink=True)
            if isinstance(link, h5py.SoftLink | h5py.ExternalLink):
                raise self._unsafe(part, "a link to another location")
            member = member[component]
        return member

    def _weights(self, group: h5py.Group, layer: str) -> Iterator[tuple[str, h5py.Dataset]]:
        stored = self._member(group, layer, part=f"layer {layer}")
        paths = self._names(stored, "weight_names", part=f"layer {layer}") if _has_list(stored, "weight_names") else []
        names = [path.rsplit("/", 1)[-1].split(":")[0].removeprefix("depthwise_") for path in paths]
        if len(set(names)) < len(names):
            raise NestedNetwork(argument=self.argument, file=str(self.path), layer=layer)
        for name, path in zip(names, paths, strict=True):
            yield name, self._checked(self._member(stored, path, part=path), part=path)

    def _checked(self, data: h5py.Group | h5py.Dataset, *, part: str) -> h5py.Dataset:
        if not isinstance(data, h5py.Dataset) or data.shape is None:
            raise KeyError(f"{part} is not an array")
        if data.external or data.is_virtual:
            raise self._unsafe(part, "stored in another file")
        if data.dtype.kind not in "fiu":
            raise self._unsafe(part, f"of type {data.dtype}")
        return data

    def _text(self, group: h5py.Group, name: str, *, part: str) -> Any:
        stored = group.attrs.get_id(name)
        if (size := math.prod(stored.shape or ()) * stored.dtype.itemsize) > MAX_TEXT_BYTES:
            raise self._unsafe(part, f"{size:,} bytes of text, more than {MAX_TEXT_BYTES:,}")
        return group.attrs[name]

    def _names(self, group: h5py.Group, name: str, *, part: str) -> list[str]:
        """Read a list of names, which Keras 2 splits into name0, name1, ... if it is larger than an HDF5 header."""
        pieces = [name] if name in group.attrs else [f"{name}{number}" for number in range(len(group.attrs))]
        stored = (self._text(group, piece, part=part) for piece in pieces if piece in group.attrs)
        return [_decoded(text) for texts in stored for text in np.ravel(texts)]

    def _config(self) -> Mapping[str, Any]:
        text = _decoded(self._text(self.root, "model_config", part="model_config"))
        try:
            config = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise DamagedLegacyFile(
                argument=self.argument, file=str(self.path), found="model_config is not JSON"
            ) from error
        if not isinstance(config, dict):
            raise DamagedLegacyFile(
                argument=self.argument, file=str(self.path), found="model_config does not describe a network"
            )
        return config


def _has_list(group: h5py.Group, name: str) -> bool:
    return name in group.attrs or f"{name}0" in group.attrs


def _decoded(text: str | bytes) -> str:
    return text.decode("utf-8", errors="replace") if isinstance(text, bytes) else str(text)
