"""Values of Zarr arrays from their objects: each is proved to unpack to what the metadata declare before a byte of it is unpacked.

The only place outside `stores` that imports Zarr: here it is a foreign format, read from bytes, and no cube.
"""

from __future__ import annotations

import math
import warnings
import zlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.errors import ContractError
from pipeline.sources.grids import check_size
from pipeline.sources.zarr_layout import MEND, ArrayLayout, Shards, metadata_keys

_SPARE = 2**16
_ABSENT = 2**64 - 1


def read_box(
    layout: ArrayLayout, files: Mapping[str, bytes], box: Mapping[str, tuple[int, int]], store: str
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """The values in a box of an array (dim -> start, stop; whole where it says nothing), and which of them have an object.

    Raises:
        ContractError: An object is damaged, cut, or unpacks to more than is declared.
    """
    edges = [box.get(dim, (0, size)) for dim, size in zip(layout.dims, layout.shape, strict=True)]
    shape = tuple(stop - start for start, stop in edges)
    check_size(layout.name, shape, store)
    array = _opened(layout, files, store)
    out: NDArray[Any] = np.zeros(shape, array.dtype if array.dtype.kind in "fiu" else object)
    there = np.zeros(shape, np.bool_)
    for place in layout.places(box):
        if not files.get(layout.key(place)):
            continue
        taken, into = [], []
        for at, chunk, size, (start, stop) in zip(place, layout.chunks, layout.shape, edges, strict=True):
            low, high = max(at * chunk, start), min((at + 1) * chunk, stop, size)
            taken.append(slice(low, high))
            into.append(slice(low - start, high - start))
        out[tuple(into)] = _chunk(layout, array, files[layout.key(place)], tuple(taken), f"object '{layout.key(place)}' of {store}")
        there[tuple(into)] = True
    return out, there


def _opened(layout: ArrayLayout, files: Mapping[str, bytes], store: str) -> Any:
    import zarr
    from zarr.core.buffer.cpu import Buffer

    wanted = [k for k in files if k.startswith(layout.prefix) or k in metadata_keys(layout.name, layout.version)]
    held: dict[str, Any] = {k: Buffer.from_bytes(files[k]) for k in wanted if files[k]}
    try:
        with warnings.catch_warnings(action="ignore"):
            return zarr.open_array(zarr.storage.MemoryStore(held), path=layout.name, mode="r", zarr_format=layout.version)
    except Exception as error:  # zarr raises many unrelated classes on odd metadata
        found = f"{type(error).__name__}: {error}"[:300]
        raise ContractError(asked=f"array '{layout.name}' of {store}", found=found, mend=MEND) from error


def _chunk(layout: ArrayLayout, array: Any, data: bytes, taken: tuple[slice, ...], asked: str) -> NDArray[Any]:
    size = math.prod(layout.chunks) * layout.itemsize
    try:
        if layout.shards is None:
            _check_unpacked(data, layout.codecs, size)
        else:
            for piece in _inner(data, layout.shards, layout.chunks):
                _check_unpacked(piece, layout.shards.codecs, math.prod(layout.shards.chunks) * layout.itemsize)
        return np.asarray(array[taken])
    except Exception as error:  # codecs raise many unrelated classes on damaged objects
        found = f"{len(data)} bytes, damaged or cut: {type(error).__name__}: {error}"[:300]
        raise ContractError(asked=asked, found=found, mend=MEND) from error


def _check_unpacked(data: bytes, codecs: tuple[str, ...], size: int) -> None:
    """Refuse data whose outermost packing declares, or turns out to be, more than the chunk can hold."""
    outer = codecs
    if outer and outer[-1] == "crc32c":
        data, outer = data[:-4], outer[:-1]
    kind = outer[-1] if outer else ""
    limit = max(size, _SPARE) + _SPARE if "vlen-utf8" not in codecs else 2**24
    if kind == "blosc":
        declared, packed = int.from_bytes(data[4:8], "little"), int.from_bytes(data[12:16], "little")
        if packed != len(data):  # blosc itself would read on
            raise ValueError(f"{packed} packed bytes declared")
    elif kind == "lz4":
        declared = int.from_bytes(data[:4], "little")
    elif kind in ("zstd", "gzip"):
        declared = len(pa.CompressedInputStream(pa.BufferReader(data), kind).read(limit + 1))
    elif kind == "zlib":
        declared = len(zlib.decompressobj().decompress(data, limit + 1))
    else:
        declared = len(data)
    if declared > limit:
        raise ValueError(f"it unpacks to more than {limit} bytes, where a chunk has {size}")


def _inner(data: bytes, shards: Shards, chunks: tuple[int, ...]) -> Iterator[bytes]:
    """The packed inner chunks of a shard."""
    count = math.prod(outer // small for outer, small in zip(chunks, shards.chunks, strict=True))
    index = data[: count * 16] if shards.index_first else data[len(data) - count * 16 - 4 : len(data) - 4]
    if len(index) < count * 16:
        raise ValueError(f"no index of {count} inner chunks")
    for start, length in np.frombuffer(index, "<u8").reshape(-1, 2).tolist():
        if (start, length) != (_ABSENT, _ABSENT):
            if start + length > len(data):
                raise ValueError(f"an inner chunk beyond the end: {start} + {length}")
            yield data[start : start + length]
