"""What a Zarr folder says of itself: read and checked here, before the zarr library sees any of it.

Names of codecs are names of code that is run on the file's bytes, Python's pickle among what is registered: only those
listed here ever reach the library.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from maskwright.errors import missing_package
from maskwright.images.errors import NotAnImage
from maskwright.images.files import ZARR_METADATA, is_zarr
from maskwright.images.windows.errors import RefusedCodec

COMPRESSIONS: Final = ("blosc", "gzip", "lz4", "zlib", "zstd")
"""Those whose result may be of any size."""

_SAME_SIZE: Final = ("adler32", "bitround", "bytes", "crc32", "crc32c", "delta", "fixedscaleoffset", "fletcher32")
_ALLOWED: Final = frozenset((*COMPRESSIONS, *_SAME_SIZE, "shuffle", "sharding_indexed", "transpose"))
_LONGEST: Final = 2**24  # bytes of a metadata file


@dataclass(frozen=True)
class Node:
    """An array, its codecs checked, or a group."""

    folder: Path
    format: Literal[2, 3]
    is_array: bool
    attributes: Mapping[str, Any]

    def child(self, path: str) -> "Node":
        """The node of a relative path below this one.

        Raises:
            ValueError: the path leads out of this folder, or could be read as if it did.
        """
        parts = path.strip("/").split("/")
        if "\\" in path or {"", ".", ".."} & set(parts):
            raise ValueError(f"the path {path!r}, which is none below the folder")
        return read_node(self.folder.joinpath(*parts))

    def open_array(self, file: Path) -> Any:
        """The array, opened by the zarr library; ``file`` is named if that is missing.

        Raises:
            MissingPackage: there is no zarr to read it with.
        """
        return import_zarr(file).open_array(self.folder, mode="r", zarr_format=self.format)


def read_node(folder: Path) -> Node:
    """What lies in a folder.

    Raises:
        NotAnImage: no Zarr.
        RefusedCodec: an array with a codec that is not run here.
        ValueError, KeyError, TypeError, AttributeError: metadata that are none.
    """
    if (folder / "zarr.json").is_file():
        found = _read(folder / "zarr.json")
        is_array = found["node_type"] == "array"
        if is_array:
            _check(folder, _names(found["codecs"]))
        return Node(folder, 3, is_array, found.get("attributes", {}))
    attributes = _read(folder / ".zattrs") if (folder / ".zattrs").is_file() else {}
    if (folder / ".zarray").is_file():
        found = _read(folder / ".zarray")
        codecs = [*(found.get("filters") or ()), *filter(None, [found.get("compressor")])]
        _check(folder, (codec["id"] for codec in codecs))
        return Node(folder, 2, True, attributes)
    if is_zarr(folder):
        return Node(folder, 2, False, attributes)
    raise NotAnImage(
        file=folder,
        found="a folder without Zarr metadata",
        expected=f"a Zarr array or group, with one of {', '.join(ZARR_METADATA)} in it",
        remedy="Give the folder that holds it, or an image file.",
    )


def import_zarr(file: Path) -> Any:
    """The package zarr.

    Raises:
        MissingPackage: it is not installed; ``file`` is named as what needs it.
    """
    try:
        import zarr
    except ImportError as error:
        raise missing_package(str(file), "zarr", install="maskwright[zarr]", reason=error) from error
    return zarr


def _read(file: Path) -> Any:
    if file.stat().st_size > _LONGEST:
        raise ValueError(f"{file.name} is longer than {_LONGEST >> 20} MiB")
    return json.loads(file.read_bytes())


def _names(codecs: list[Any]) -> Iterator[str]:
    """Of codecs of format 3, those inside shards included."""
    for codec in codecs:
        if isinstance(codec, str):
            yield codec
        else:
            yield codec["name"]
            configuration = codec.get("configuration", {})
            yield from _names([*configuration.get("codecs", ()), *configuration.get("index_codecs", ())])


def _check(folder: Path, names: Iterator[str]) -> None:
    refused = sorted(set(names) - _ALLOWED)
    if refused:
        raise RefusedCodec(
            file=folder,
            found=f"the codec {', '.join(refused)}",
            expected=f"only {', '.join(sorted(_ALLOWED))}",
            remedy="Other codecs can run code of the file's author, or take any memory: save the array with zstd.",
        )
