"""What the metadata of a Zarr array says (versions 2 and 3), proved before an object of it is fetched or unpacked.

Only codecs that are known here are let through: `pickle`, which version 2 knows, would run code.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, Field, NonNegativeInt, ValidationError

from pipeline.errors import ContractError

MAX_CHUNK = 2**29
"""Bytes of one chunk, unpacked."""
MEND = "fetch the store again; a newer delivery of the same name takes its place"
_CODECS = frozenset({"blosc", "zstd", "gzip", "zlib", "lz4", "shuffle", "delta", "fixedscaleoffset", "vlen-utf8"})
_CODECS_3 = frozenset({"bytes", "transpose", "blosc", "zstd", "gzip", "crc32c", "vlen-utf8", "sharding_indexed"})
_Sizes = tuple[Annotated[int, Field(ge=1)], ...]


class _Version2(BaseModel):
    zarr_format: Literal[2]
    shape: tuple[NonNegativeInt, ...]
    chunks: _Sizes
    dtype: str
    compressor: dict[str, Any] | None
    filters: list[dict[str, Any]] | None = None
    fill_value: Any = None
    dimension_separator: Literal[".", "/"] = "."


class _Codec(BaseModel):
    name: str
    configuration: dict[str, Any] = {}


class _Grid(BaseModel):
    class Shape(BaseModel):
        chunk_shape: _Sizes

    name: Literal["regular"]
    configuration: Shape


class _Keys(BaseModel):
    class Separator(BaseModel):
        separator: Literal[".", "/"] | None = None

    name: Literal["default", "v2"] = "default"
    configuration: Separator = Separator()


class _Texts(BaseModel):
    class Length(BaseModel):
        length_bytes: Annotated[int, Field(ge=1, le=2**16)]

    name: Literal["fixed_length_utf32", "null_terminated_bytes"]
    configuration: Length


class _Version3(BaseModel):
    zarr_format: Literal[3]
    node_type: Literal["array"]
    shape: tuple[NonNegativeInt, ...]
    data_type: str | _Texts
    chunk_grid: _Grid
    chunk_key_encoding: _Keys = _Keys()
    codecs: list[_Codec]
    attributes: dict[str, Any] = {}
    dimension_names: list[str | None] | None = None
    storage_transformers: Annotated[list[Any], Field(max_length=0)] = []


@dataclass(frozen=True, kw_only=True)
class Shards:
    """How a shard holds its inner chunks: their shape, codecs, and where its index is."""

    chunks: tuple[int, ...]
    codecs: tuple[str, ...]
    index_first: bool


@dataclass(frozen=True, kw_only=True)
class ArrayLayout:
    """One array of a store: `chunks` is the shape of what one object holds; `codecs` in the order in which they pack.

    Attributes:
        fill: A number that stands for "none" by the store's convention (version 2 only), else None.
    """

    name: str
    version: Literal[2, 3]
    shape: tuple[int, ...]
    chunks: tuple[int, ...]
    dims: tuple[str, ...]
    itemsize: int
    codecs: tuple[str, ...]
    shards: Shards | None
    attributes: Mapping[str, Any]
    fill: float | None
    prefix: str
    separator: str

    def key(self, place: tuple[int, ...]) -> str:
        """The object that holds the chunk at this place."""
        return self.prefix + (self.separator.join(map(str, place)) if place else "0")

    def place(self, key: str) -> tuple[int, ...] | None:
        """The place of the chunk that an object holds; None where it holds none of this array."""
        words = key.removeprefix(self.prefix).split(self.separator)
        if not key.startswith(self.prefix) or len(words) != len(self.shape) or not all(w.isdigit() and len(w) < 12 for w in words):
            return None
        found = tuple(int(w) for w in words)
        return found if all(at * chunk < size for at, chunk, size in zip(found, self.chunks, self.shape, strict=True)) else None

    def count(self, box: Mapping[str, tuple[int, int]]) -> int:
        """How many chunks a box touches."""
        return math.prod(len(r) for r in self._ranges(box))

    def places(self, box: Mapping[str, tuple[int, int]]) -> Iterator[tuple[int, ...]]:
        """The chunks that a box (dim -> start, stop; whole where it says nothing) touches, in order."""
        return product(*self._ranges(box))

    def _ranges(self, box: Mapping[str, tuple[int, int]]) -> list[range]:
        edges = [box.get(dim, (0, size)) for dim, size in zip(self.dims, self.shape, strict=True)]
        return [range(start // chunk, -(-stop // chunk)) for (start, stop), chunk in zip(edges, self.chunks, strict=True)]


def metadata_keys(name: str, version: int) -> tuple[str, ...]:
    """The objects that describe an array."""
    return (f"{name}/zarr.json",) if version == 3 else (f"{name}/.zarray", f"{name}/.zattrs")


def layout_of(name: str, files: Mapping[str, bytes], store: str) -> ArrayLayout:
    """The layout of an array whose metadata are among these objects.

    Raises:
        ContractError: There is none, it is damaged, declares sizes beyond the limit, or needs a codec that is not known.
    """
    found = _version3(name, files, store) if files.get(f"{name}/zarr.json") else _version2(name, files, store)
    asked = f"array '{name}' of {store}"
    if len(found.shape) != len(found.chunks) or len(found.dims) != len(found.shape):
        sizes = f"shape {found.shape}, chunks {found.chunks}, dimensions {found.dims}"
        raise ContractError(asked=asked, found=sizes, mend="its dimensions must have names: _ARRAY_DIMENSIONS or dimension_names")
    size = math.prod(found.chunks) * found.itemsize
    if size > MAX_CHUNK:
        raise ContractError(asked=asked, found=f"chunks of {found.chunks}: {size} bytes, more than {MAX_CHUNK}", mend="rechunk the store")
    inner = found.shards
    odd = inner is not None and any(outer % small for outer, small in zip(found.chunks, inner.chunks, strict=False))
    strange = [c for c in (*found.codecs, *(inner.codecs if inner else ())) if c not in (_CODECS if found.version == 2 else _CODECS_3)]
    if strange or odd:
        said = f"codec '{strange[0]}'" if strange else f"shards of {found.chunks} in chunks of {inner.chunks if inner else ()}"
        raise ContractError(asked=asked, found=said, mend=f"write it with one of {', '.join(sorted(_CODECS | _CODECS_3))}")
    return found


def _json(key: str, files: Mapping[str, bytes], store: str) -> Any:
    data = files.get(key, b"")
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        found = f"no whole JSON: {error}" if data else "no such object"
        raise ContractError(asked=f"object '{key}' of {store}", found=found, mend=MEND) from error


def _model(model: type[BaseModel], key: str, content: Any, store: str) -> Any:
    try:
        return model.model_validate(content)
    except (ValidationError, RecursionError) as error:
        said = (
            "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()[:3])
            if isinstance(error, ValidationError)
            else ""
        )
        raise ContractError(asked=f"object '{key}' of {store}", found=said or "nested too deep", mend=MEND) from error


def _itemsize(text: str, key: str, store: str) -> int:
    try:
        kind = np.dtype({"string": "O"}.get(text, text))
    except TypeError:
        kind = np.dtype("V")
    if kind.kind not in "fiuSUO":
        raise ContractError(asked=f"object '{key}' of {store}", found=f"values of type '{text}'", mend="only numbers and texts are read")
    return kind.itemsize


def _version2(name: str, files: Mapping[str, bytes], store: str) -> ArrayLayout:
    key, said = metadata_keys(name, 2)
    found: _Version2 = _model(_Version2, key, _json(key, files, store), store)
    attributes = _json(said, files, store) if files.get(said) else {}
    attributes = attributes if isinstance(attributes, dict) else {}
    dims = attributes.get("_ARRAY_DIMENSIONS", [])
    codecs = [*(found.filters or []), *([found.compressor] if found.compressor else [])]
    fill = found.fill_value if isinstance(found.fill_value, int | float) and found.fill_value else None
    return ArrayLayout(
        name=name,
        version=2,
        shape=found.shape,
        chunks=found.chunks,
        dims=tuple(str(d) for d in dims) if isinstance(dims, list) else (),
        itemsize=_itemsize(found.dtype, key, store),
        codecs=tuple(str(c.get("id")) for c in codecs),
        shards=None,
        attributes=attributes,
        fill=fill,
        prefix=f"{name}/",
        separator=found.dimension_separator,
    )


def _version3(name: str, files: Mapping[str, bytes], store: str) -> ArrayLayout:
    [key] = metadata_keys(name, 3)
    found: _Version3 = _model(_Version3, key, _json(key, files, store), store)
    plain = found.chunk_key_encoding.name == "v2"
    shards = None
    if [c.name for c in found.codecs] == ["sharding_indexed"]:
        shards = _shards(found.codecs[0].configuration, key, store)
    return ArrayLayout(
        name=name,
        version=3,
        shape=found.shape,
        chunks=found.chunk_grid.configuration.chunk_shape,
        dims=tuple(str(d) for d in found.dimension_names or () if d is not None),
        itemsize=_itemsize(found.data_type, key, store) if isinstance(found.data_type, str) else found.data_type.configuration.length_bytes,
        codecs=tuple(c.name for c in found.codecs),
        shards=shards,
        attributes=found.attributes,
        fill=None,
        prefix=f"{name}/" if plain else f"{name}/c/" if found.shape else f"{name}/c",
        separator=found.chunk_key_encoding.configuration.separator or ("." if plain else "/"),
    )


def _shards(configuration: dict[str, Any], key: str, store: str) -> Shards:
    class Inner(BaseModel):
        chunk_shape: _Sizes
        codecs: list[_Codec]
        index_codecs: list[_Codec] = []
        index_location: Literal["start", "end"] = "end"

    found: Inner = _model(Inner, key, configuration, store)
    if [c.name for c in found.index_codecs] not in (["bytes", "crc32c"], ["bytes"]):
        raise ContractError(asked=f"object '{key}' of {store}", found="a packed index of shards", mend="write index_codecs bytes, crc32c")
    codecs = tuple(c.name for c in found.codecs)
    return Shards(chunks=found.chunk_shape, codecs=codecs, index_first=found.index_location == "start")
