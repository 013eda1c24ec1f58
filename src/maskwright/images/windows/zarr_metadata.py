"""Read and check the metadata of untrusted Zarr folders before the zarr library opens them.

The library runs any registered codec, including Python's pickle, on the bytes of a file, so only arrays with the codecs
listed here are passed to it.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from maskwright.errors import missing_package
from maskwright.images.errors import NotAnImage
from maskwright.images.files import ZARR_METADATA, is_zarr
from maskwright.images.windows.errors import UnsupportedCodec

COMPRESSIONS: Final = ("blosc", "gzip", "lz4", "zlib", "zstd")
"""Codecs whose output is not limited in size."""

_FIXED_SIZE_CODECS: Final = (
    "adler32",
    "bitround",
    "bytes",
    "crc32",
    "crc32c",
    "delta",
    "fixedscaleoffset",
    "fletcher32",
)
_ALLOWED: Final = frozenset((*COMPRESSIONS, *_FIXED_SIZE_CODECS, "shuffle", "sharding_indexed", "transpose"))
_MAX_METADATA_BYTES: Final = 2**24


@dataclass(frozen=True)
class Node:
    """A Zarr group, or a Zarr array whose codecs have been checked."""

    folder: Path
    format: Literal[2, 3]
    is_array: bool
    attributes: Mapping[str, Any]

    def child(self, path: str) -> "Node":
        """Return the node at a relative path below this node.

        Raises:
            ValueError: The path is not strictly below the folder of this node.
        """
        parts = path.strip("/").split("/")
        if "\\" in path or {"", ".", ".."} & set(parts):
            raise ValueError(f"the path {path!r} is not below the folder")
        return read_node(self.folder.joinpath(*parts))

    def open_array(self, file: Path) -> Any:
        """Open the array with the zarr library; ``file`` is used in the error message.

        Raises:
            MissingPackage: zarr is not installed.
        """
        return import_zarr(file).open_array(self.folder, mode="r", zarr_format=self.format)


def read_node(folder: Path) -> Node:
    """Read the metadata of a Zarr folder.

    Raises:
        NotAnImage: The folder is not a Zarr array or group.
        UnsupportedCodec: An array has a codec that is not allowed.
        ValueError, KeyError, TypeError, AttributeError: The metadata are invalid.
    """
    if (folder / "zarr.json").is_file():
        found = _read(folder / "zarr.json")
        is_array = found["node_type"] == "array"
        if is_array:
            _check_codecs(folder, _names(found["codecs"]))
        return Node(folder, 3, is_array, found.get("attributes", {}))
    attributes = _read(folder / ".zattrs") if (folder / ".zattrs").is_file() else {}
    if (folder / ".zarray").is_file():
        found = _read(folder / ".zarray")
        codecs = [*(found.get("filters") or ()), *filter(None, [found.get("compressor")])]
        _check_codecs(folder, (codec["id"] for codec in codecs))
        return Node(folder, 2, True, attributes)
    if is_zarr(folder):
        return Node(folder, 2, False, attributes)
    raise NotAnImage(
        file=folder,
        found="a folder without Zarr metadata",
        expected=f"a Zarr array or group, with one of {', '.join(ZARR_METADATA)}",
        remedy="Give a Zarr folder or an image file.",
    )


def import_zarr(file: Path) -> Any:
    """Import the zarr package.

    Raises:
        MissingPackage: zarr is not installed; the message names ``file`` as the file that requires it.
    """
    try:
        import zarr
    except ImportError as error:
        raise missing_package(str(file), "zarr", install="maskwright[zarr]", reason=error) from error
    return zarr


def _read(file: Path) -> Any:
    if file.stat().st_size > _MAX_METADATA_BYTES:
        raise ValueError(f"{file.name} is larger than {_MAX_METADATA_BYTES >> 20} MiB")
    return json.loads(file.read_bytes())


def _names(codecs: list[Any]) -> Iterator[str]:
    """Yield the names of codecs in format 3, including those inside shards."""
    for codec in codecs:
        if isinstance(codec, str):
            yield codec
        else:
            yield codec["name"]
            configuration = codec.get("configuration", {})
            yield from _names([*configuration.get("codecs", ()), *configuration.get("index_codecs", ())])


def _check_codecs(folder: Path, names: Iterator[str]) -> None:
    unsupported = sorted(set(names) - _ALLOWED)
    if unsupported:
        raise UnsupportedCodec(
            file=folder,
            found=f"the codec {', '.join(unsupported)}",
            expected=f"only {', '.join(sorted(_ALLOWED))}",
            remedy="Other codecs could run code from the file or exhaust memory: save the array with zstd.",
        )
