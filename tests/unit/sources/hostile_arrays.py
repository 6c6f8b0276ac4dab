"""Hostile images, HDF5 files and Zarr stores: the rest of the corpus."""

from __future__ import annotations

import gzip
import io
import json
import struct
import zipfile
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from tests.unit.sources.hostile import Fate, Hostile
from tests.unit.sources.made import png, tiff, zarr_store

PIXELS = np.array([[1, 2, 3], [3, 2, 1]], np.uint8)


def array_corpus() -> Iterator[Hostile]:
    yield from _pngs()
    yield from _tiffs()
    yield from _hdf5()
    yield from _zarr()


def _flips(whole: bytes, count: int) -> Iterator[tuple[int, bytes]]:
    for place in range(8, len(whole), max(1, len(whole) // count)):
        damaged = bytearray(whole)
        damaged[place] ^= 0xFF
        yield place, bytes(damaged)


# ---- Images --------------------------------------------------------------------------------------------------------


def _image(name: str, data: bytes, fate: Fate = "refused", file: str = "x_202003010000.png", **more: Any) -> Hostile:
    whole = more.pop("whole", b"")
    options: dict[str, Any] = {"time_pattern": r"_(\d{12})", "bounds": [50.0, 0.0, 52.0, 3.0], **more}
    if file.endswith("tif"):
        options.pop("bounds")
    described: Any = {"adapter": "images", "file": file, "options": options, "column": "1"}
    return Hostile(name=f"image: {name}", data=data, fate=fate, values=(1.0, 2.0, 3.0, 3.0, 2.0, 1.0), whole=whole, **described)


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _png_of(width: int, height: int, pixels: bytes, depth: int = 8, kind: int = 0, between: bytes = b"") -> bytes:
    head = struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + between + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def _pngs() -> Iterator[Hostile]:
    whole = png(PIXELS)
    for share in (0.1, 0.4, 0.7, 0.95):
        yield _image(f"PNG cut at {share:.0%}", whole[: int(len(whole) * share)])
    for place, data in _flips(whole, 6):
        yield _image(f"PNG byte flipped at {place}", data)
    rows = zlib.compress(b"\0\1\2\3\0\3\2\1")
    yield _image("PNG whole", _png_of(3, 2, rows), "taken")
    yield _image("PNG of 2**31 x 2**31 pixels", _png_of(2**31 - 1, 2**31 - 1, rows))
    yield _image("PNG bomb of 60,000 x 60,000", _png_of(60_000, 60_000, zlib.compress(b"\0" * 10**6, 9)))
    yield _image("PNG bomb of 11,000 x 11,000", _png_of(11_000, 11_000, zlib.compress(b"\0" * (11_000 * 11_001), 9)))
    yield _image("PNG of 0 x 0 pixels", _png_of(0, 0, rows))
    yield _image("PNG with too few rows", _png_of(3, 2, zlib.compress(b"\0\1\2\3")))
    yield _image("PNG of a depth of 3 bits", _png_of(3, 2, rows, depth=3))
    yield _image("PNG with a palette that is not there", _png_of(3, 2, rows, kind=3))
    text = chunk(b"zTXt", b"a\0\0" + zlib.compress(b"0" * 2**27, 9))
    yield _image("PNG with a text of 128 MB packed", _png_of(3, 2, rows, between=text), "survived", whole=whole)
    yield _image("PNG with too many rows", _png_of(3, 1, rows))
    yield _image("PNG with a chunk of 4 GB", whole[:33] + struct.pack(">I", 2**32 - 1) + whole[37:])
    yield _image("PNG with pixels that are no zlib", _png_of(3, 2, b"noise" * 9))
    yield _image("GIF", b"GIF89a" + bytes(40))
    yield _image("an error page", b"<html>502</html>")
    yield _image("a virtual image", b"<VRTDataset rasterXSize='1' rasterYSize='1'/>")
    yield _image("a stamp in no name", whole, file="x_soon.png")
    yield _image("a colour that nobody knows", png(np.stack([PIXELS] * 3)), legend=[["#010101", 1.0], ["#020202", 2.0]])


def _tiffs() -> Iterator[Hostile]:
    def image(name: str, data: bytes, fate: Fate = "refused", whole: bytes = b"") -> Hostile:
        return _image(name, data, fate, "x_202003010000.tif", whole=whole)

    plain = tiff(PIXELS)
    packed = tiff(np.tile(PIXELS, (8, 8)), compress="deflate", tiled=True, blockxsize=16, blockysize=16)
    yield image("TIFF whole", plain, "taken")
    for name, whole in (("plain", plain), ("deflated", packed)):
        for share in (0.02, 0.3, 0.6, 0.97):
            yield image(f"TIFF {name} cut at {share:.0%}", whole[: int(len(whole) * share)])
        for place, data in _flips(whole, 5):
            yield image(f"TIFF {name} byte flipped at {place}", data, "survived", whole)
    for tag, name in ((256, "width"), (257, "height"), (277, "bands")):
        yield image(f"TIFF of 2**31 in {name}", _retagged(plain, tag, 2**31 - 1 if tag != 277 else 65535))
    yield image("TIFF with a strip of no declared length", _retagged(plain, 279, 0), "taken")
    empty = np.zeros((32, 32), np.uint8)
    empty[:16, :16] = 1
    yield image("TIFF with blocks that are not there", tiff(empty, tiled=True, blockxsize=16, blockysize=16, sparse_ok=True))
    yield image("TIFF with a strip beyond the end", _retagged(plain, 273, 2**30))
    yield image("TIFF whose directory is itself the next", plain[:4] + struct.pack("<I", 8) + struct.pack("<HI", 0, 8))
    yield image("TIFF of a map in metres", tiff(PIXELS, crs="EPSG:3857"))
    yield image("TIFF at 300 north", tiff(PIXELS, north=300.0))
    yield image("TIFF of complex numbers", tiff(PIXELS.astype("c8")))


def _retagged(data: bytes, tag: int, value: int) -> bytes:
    """A little-endian TIFF with the value of one tag of its first directory replaced, as 32 bits."""
    out, start = bytearray(data), struct.unpack("<I", data[4:8])[0]
    for entry in range(struct.unpack("<H", data[start : start + 2])[0]):
        place = start + 2 + 12 * entry
        if struct.unpack("<H", data[place : place + 2])[0] == tag:
            out[place + 2 : place + 12] = struct.pack("<HII", 4, 1, value)
    return bytes(out)


# ---- HDF5 ----------------------------------------------------------------------------------------------------------


def _hdf5() -> Iterator[Hostile]:
    import h5py

    def table(name: str, data: bytes, fate: Fate = "refused", bad: tuple[int, ...] = (2,)) -> Hostile:
        options = {"time": "t", "node": "n"}
        return Hostile(name=f"hdf5: {name}", data=data, fate=fate, adapter="hdf5", file="x.h5", options=options, bad=bad, whole=made())

    def made(**changed: Any) -> bytes:
        out = io.BytesIO()
        arrays: dict[str, Any] = {"t": [1577836800, 1577836860, 1577836920], "n": [b"x"], "a": [[1.0], [2.0], [3.0]], **changed}
        with h5py.File(out, "w") as file:
            for name, values in arrays.items():
                if isinstance(values, dict):
                    file.create_dataset(name, **values)
                else:
                    file[name] = values
        return out.getvalue()

    whole = made()
    for share in (0.02, 0.3, 0.6, 0.97):
        yield table(f"cut at {share:.0%}", whole[: int(len(whole) * share)])
    for place, data in _flips(whole, 6):
        yield table(f"byte flipped at {place}", data, "survived")
    for name in ("t", "n", "a"):
        shape = (2**40, 1) if name == "a" else (2**40,)
        yield table(f"{name} of 2**40 values", made(**{name: {"shape": shape, "dtype": "f4", "chunks": (2, *shape[1:])}}))
    chunks = {"shape": (3, 1), "maxshape": (None, None), "chunks": (2**15, 2**13), "dtype": "f8", "compression": "gzip"}
    yield table("a chunk of 2 GB in an array of three", made(a=chunks))
    yield table("texts for numbers", made(a=np.array([[b"1"], [b"2"], [b"3"]])))
    yield table("a compound", made(a=np.zeros((3, 1), [("x", "f4"), ("y", "i2")])))
    yield table("a dimension too many", made(a=np.zeros((3, 1, 1))))
    yield table("stamps of another length", made(t=[1.0, 2.0]))
    yield table("stamps that are no numbers", made(t=np.array([b"now"] * 3)))
    yield table("a stamp in milliseconds", made(t=[1577836800, 1577836860000, 1577836920]), "rejected")
    yield table("a stamp that is none", made(t=[1577836800.0, float("nan"), 1577836920.0]), "rejected")
    yield table("no array of that name", made(A=[1.0]).replace(b"a\0", b"b\0"), "refused")
    yield table("an empty node", made(n=[b""]))
    yield table("csv", b"t,n,a\n")


# ---- Zarr ----------------------------------------------------------------------------------------------------------


def _store(objects: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", compression) as packed:
        for key, data in objects.items():
            packed.writestr(zipfile.ZipInfo(key), data, compression)
    return out.getvalue()


def _zarr() -> Iterator[Hostile]:
    two = zarr_store(2, hours=3, compressors=None)
    three = zarr_store(3)

    def store(name: str, objects: dict[str, bytes] | bytes, fate: Fate = "refused") -> Hostile:
        data = objects if isinstance(objects, bytes) else _store(objects)
        described: Any = {"adapter": "zarr", "file": "x.zarr.zip", "options": {}, "column": "t2m"}
        return Hostile(name=f"zarr: {name}", data=data, fate=fate, whole=_store(three), **described)

    def described(key: str, **fields: Any) -> dict[str, bytes]:
        objects = three if key.endswith("zarr.json") else two
        return {**objects, key: json.dumps({**json.loads(objects[key]), **fields}).encode()}

    def unit(objects: dict[str, bytes]) -> dict[str, bytes]:
        return {k: v.replace(b'"units": "K"', b'"units": ""') for k, v in objects.items()}

    two, three = unit(two), unit(three)
    for share in (0.1, 0.5, 0.98):
        whole = _store(three)
        yield store(f"zip cut at {share:.0%}", whole[: int(len(whole) * share)])
    yield store("zip in a zip", _store({"x.zip": _store(three)}))
    yield store("zip bomb", _store({**two, "x": b"0" * 2**27}, zipfile.ZIP_DEFLATED)[:-22] + b"\0" * 22)
    yield store("an object of 2 GB declared", _declared(_store(two), 2**31))
    for key in ("t2m/.zarray", "time/.zarray", "latitude/.zarray"):
        yield store(f"{key} of 2**40 values", described(key, shape=[2**40] * (3 if key[0] == "t" and key[1] == "2" else 1)))
        yield store(f"{key} cut", {**two, key: two[key][:-9]})
        yield store(f"{key} lost", {k: v for k, v in two.items() if k != key})
    yield store("chunks of 2**40", described("t2m/.zarray", chunks=[2**40, 2**40, 2**40]))
    yield store("chunks of nothing", described("t2m/.zarray", chunks=[0, 2, 3]))
    yield store("chunks of text", described("t2m/.zarray", chunks=["a", 2, 3]))
    yield store("a negative shape", described("t2m/.zarray", shape=[-3, 2, 3]))
    yield store("pickles in version 2", described("t2m/.zarray", filters=[{"id": "pickle"}]))
    yield store("objects in version 2", described("t2m/.zarray", dtype="|O"))
    yield store("a codec of no name", described("t2m/zarr.json", codecs=[{"name": "bytes"}, {"name": "run_this"}]))
    yield store("shards of 2**40", described("t2m/zarr.json", codecs=[_sharded([2**40, 1, 1])]))
    yield store("shards in shards", described("t2m/zarr.json", codecs=[_sharded([1, 2, 3], [_sharded([1, 1, 1])])]))
    yield store("nested 100,000 deep", {**two, "t2m/.zarray": b"[" * 100_000})
    for kind, objects, key in (("", three, "t2m/c/1/0/0"), ("bare ", two, "t2m/1.0.0")):
        for place in (1, len(objects[key]) // 2, len(objects[key]) - 1):
            yield store(f"a {kind}chunk cut at {place}", {**objects, key: objects[key][:place]})
    for name, packed in _bombs():
        yield store(f"a chunk that is a bomb of {name}", {**described("t2m/.zarray", compressor={"id": name}), "t2m/1.0.0": packed})
    yield store(
        "a blosc chunk that declares 2 GB", {**described("t2m/.zarray", compressor={"id": "blosc"}), "t2m/1.0.0": _blosc(2**31 - 1, 40)}
    )
    yield store(
        "a blosc chunk that is longer than it is", {**described("t2m/.zarray", compressor={"id": "blosc"}), "t2m/1.0.0": _blosc(24, 2**20)}
    )
    yield store("times without units", described("time/.zattrs", units=None))
    yield store("times in the year 10**9", described("time/.zattrs", units="days since 999999-01-01"))
    yield store("a scale that is no number", described("t2m/.zattrs", scale_factor=[1, 2]))


def _sharded(shape: list[int], codecs: list[Any] | None = None) -> dict[str, Any]:
    index = [{"name": "bytes", "configuration": {"endian": "little"}}, {"name": "crc32c"}]
    inner = codecs or [{"name": "bytes", "configuration": {"endian": "little"}}]
    return {"name": "sharding_indexed", "configuration": {"chunk_shape": shape, "codecs": inner, "index_codecs": index}}


def _bombs() -> Iterator[tuple[str, bytes]]:
    import pyarrow as pa

    zeros = bytes(2**27)
    yield "gzip", gzip.compress(zeros, 9, mtime=0)
    yield "zlib", zlib.compress(zeros, 9)
    yield "zstd", pa.compress(zeros, codec="zstd", asbytes=True)
    yield "lz4", struct.pack("<I", 2**31 - 1) + bytes(40)


def _blosc(size: int, packed: int) -> bytes:
    return struct.pack("<BBBBIII", 2, 1, 1, 4, size, size, packed) + bytes(24)


def _declared(data: bytes, size: int) -> bytes:
    """A zip whose directory declares another size for its first entry."""
    out, place = bytearray(data), data.find(b"PK\1\2")
    out[place + 24 : place + 28] = struct.pack("<I", size)
    return bytes(out)
