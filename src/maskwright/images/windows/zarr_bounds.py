"""Decompression of Zarr chunks that never gives more than a chunk holds: some bytes can be made to unfold to gigabytes.

The zarr library has no such bound, so its compressions are replaced by those of imagecodecs, which take one.
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

LARGEST_CHUNK: Final = 2**28
"""Bytes of a chunk, decoded."""

_DECODERS: Final[dict[str, Callable[..., bytes | bytearray]]] = {
    "blosc": imagecodecs.blosc_decode,
    "gzip": imagecodecs.gzip_decode,
    "lz4": partial(imagecodecs.lz4_decode, header=True),
    "zlib": imagecodecs.zlib_decode,
    "zstd": imagecodecs.zstd_decode,
}


def bounded(array: Any) -> Any:
    """An open array of listed codecs, whose chunks unfold to no more than they can hold."""
    metadata = array.metadata
    if metadata.zarr_format == 2:
        bound = _bound(metadata.chunks, metadata.dtype.to_native_dtype().itemsize)
        filters = metadata.filters and [_of_format_2(codec, bound) for codec in metadata.filters]
        metadata = replace(metadata, compressor=_of_format_2(metadata.compressor, bound), filters=filters)
    else:
        metadata = replace(metadata, codecs=_of_format_3(metadata.codecs))
    return zarr.Array(zarr.AsyncArray(metadata=metadata, store_path=array.store_path))


def _bound(shape: Iterable[int], itemsize: int) -> int:
    """Bytes: twice the chunk, since filters may widen or narrow it, and something for checksums."""
    return 2 * min(math.prod(shape) * itemsize, LARGEST_CHUNK) + 2**16


def _of_format_2(codec: Any, bound: int) -> Any:
    return codec if codec is None or codec.codec_id not in COMPRESSIONS else _Format2(codec.codec_id, bound)


def _of_format_3(codecs: Iterable[Any]) -> list[Any]:
    return [_bounded_codec(codec) for codec in codecs]


def _bounded_codec(codec: Any) -> Any:
    if isinstance(codec, ShardingCodec):
        return ShardingCodec(
            chunk_shape=codec.chunk_shape,
            codecs=_of_format_3(codec.codecs),
            index_codecs=_of_format_3(codec.index_codecs),
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
        raise NotImplementedError("for reading only")


@dataclass(frozen=True)
class _Format3(BytesBytesCodec):
    name: str
    is_fixed_size = False

    async def _decode_single(self, chunk_bytes: Any, chunk_spec: Any) -> Any:
        bound = _bound(chunk_spec.shape, chunk_spec.dtype.to_native_dtype().itemsize)
        unfold = partial(_DECODERS[self.name], out=bound)
        return chunk_spec.prototype.buffer.from_bytes(await asyncio.to_thread(unfold, chunk_bytes.to_bytes()))

    def compute_encoded_size(self, input_byte_length: int, chunk_spec: Any) -> int:
        raise NotImplementedError("for reading only")
