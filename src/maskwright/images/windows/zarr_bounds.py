"""Bound the size of decompressed Zarr chunks, since a few bytes can expand to gigabytes.

The zarr library does not limit this size, so its compressors are replaced by those of imagecodecs, which accept a
limit.
"""

import asyncio
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final

import imagecodecs
import numcodecs.abc  # type: ignore[import-untyped]
import zarr
from zarr.abc.codec import BytesBytesCodec
from zarr.codecs import ShardingCodec

from maskwright.images.windows.zarr_metadata import COMPRESSIONS

MAX_CHUNK_BYTES: Final = 2**28
"""Largest size of a decoded chunk in bytes."""

_DECODERS: Final[dict[str, Callable[..., bytes | bytearray]]] = {
    "blosc": imagecodecs.blosc_decode,
    "gzip": imagecodecs.gzip_decode,
    "lz4": partial(imagecodecs.lz4_decode, header=True),
    "zlib": imagecodecs.zlib_decode,
    "zstd": imagecodecs.zstd_decode,
}


def bounded(array: Any) -> Any:
    """Return an open array, all of whose codecs are allowed, with bounded decompression."""
    metadata = array.metadata
    if metadata.zarr_format == 2:
        bound = _bound(metadata.chunks, metadata.dtype.to_native_dtype().itemsize)
        filters = metadata.filters and [_bounded_format_2(codec, bound) for codec in metadata.filters]
        metadata = replace(metadata, compressor=_bounded_format_2(metadata.compressor, bound), filters=filters)
    else:
        metadata = replace(metadata, codecs=_bounded_format_3(metadata.codecs))
    return zarr.Array(zarr.AsyncArray(metadata=metadata, store_path=array.store_path))


def _bound(shape: Iterable[int], itemsize: int) -> int:
    """Return the largest size of a decompressed chunk in bytes.

    It is twice the size of the chunk, since filters may change the size, plus space for checksums.
    """
    return 2 * min(math.prod(shape) * itemsize, MAX_CHUNK_BYTES) + 2**16


def _bounded_format_2(codec: Any, bound: int) -> Any:
    return codec if codec is None or codec.codec_id not in COMPRESSIONS else _Format2(codec.codec_id, bound)


def _bounded_format_3(codecs: Iterable[Any]) -> list[Any]:
    return [_bounded_codec(codec) for codec in codecs]


def _bounded_codec(codec: Any) -> Any:
    if isinstance(codec, ShardingCodec):
        return ShardingCodec(
            chunk_shape=codec.chunk_shape,
            codecs=_bounded_format_3(codec.codecs),
            index_codecs=_bounded_format_3(codec.index_codecs),
            index_location=codec.index_location,
        )
    name = codec.to_dict()["name"]
    return _Format3(name) if name in COMPRESSIONS else codec


class _Format2(numcodecs.abc.Codec):
    codec_id = "bounded"

    def __init__(self, name: str, bound: int) -> None:
        self._decode = partial(_DECODERS[name], out=bound)

    def decode(self, buf: Any, out: Any = None) -> bytes | bytearray:
        return self._decode(bytes(buf))

    def encode(self, buf: Any) -> Any:
        raise NotImplementedError("read-only codec")


@dataclass(frozen=True)
class _Format3(BytesBytesCodec):
    name: str
    is_fixed_size = False

    async def _decode_single(self, chunk_bytes: Any, chunk_spec: Any) -> Any:
        bound = _bound(chunk_spec.shape, chunk_spec.dtype.to_native_dtype().itemsize)
        decode = partial(_DECODERS[self.name], out=bound)
        return chunk_spec.prototype.buffer.from_bytes(await asyncio.to_thread(decode, chunk_bytes.to_bytes()))

    def compute_encoded_size(self, input_byte_length: int, chunk_spec: Any) -> int:
        raise NotImplementedError("read-only codec")
