"""One GeoTIFF or PNG in memory, proved whole before a pixel is read: checksums, sizes, and that no block is absent."""

from __future__ import annotations

import logging
import re
import struct
import threading
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import ConfigError, ContractError
from pipeline.sources.grids import MAX_CELLS

_MEND = "fetch the file again; a newer delivery of the same name takes its place"
Box = tuple[tuple[int, int], tuple[int, int]]
"""Rows and columns of pixels, each from one to before another."""
_PIECE = 2**22
_PNG = b"\x89PNG\r\n\x1a\n"
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def rasterio_module() -> ModuleType:
    """The library.

    Raises:
        ConfigError: The extra that brings it is not installed.
    """
    try:
        import rasterio
    except ImportError as error:
        mend = "install the extra: pip install 'cubecast[images]'"
        raise ConfigError(asked="adapter 'images'", found=f"rasterio is not there: {error}", mend=mend) from error
    module: ModuleType = rasterio
    return module


@dataclass(frozen=True, kw_only=True, eq=False)
class Image:
    """An open image."""

    dataset: Any
    file: str

    @property
    def height(self) -> int:
        """Rows of pixels."""
        return int(self.dataset.height)

    @property
    def width(self) -> int:
        """Columns of pixels."""
        return int(self.dataset.width)

    @property
    def tags(self) -> dict[str, str]:
        """What the file says about itself."""
        return {str(k): str(v) for k, v in self.dataset.tags().items()}

    @property
    def axes(self) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
        """Latitude of each row and longitude of each column; None where the file does not say.

        Raises:
            ContractError: It lies askew, or on a map that is none of latitudes and longitudes.
        """
        dataset, t = self.dataset, self.dataset.transform
        if dataset.crs is None and t.is_identity and not dataset.gcps[0]:
            return None
        if dataset.crs is None or not dataset.crs.is_geographic or t.b or t.d or dataset.gcps[0]:
            found = f"reference system {dataset.crs or 'none'}{', rotated' if t.b or t.d else ''}{', control points' if dataset.gcps[0] else ''}"
            mend = "bring it to latitude and longitude first: gdalwarp -t_srs EPSG:4326"
            raise ContractError(asked=f"place of {self.file}", found=found, mend=mend)
        return t.f + (np.arange(self.height) + 0.5) * t.e, t.c + (np.arange(self.width) + 0.5) * t.a

    def numbers(self, band: str, box: Box) -> tuple[NDArray[np.float64], float, float]:
        """The numbers of a band (by number or description) in a box, row by row, NaN where there is none; and its scale and offset.

        Raises:
            ContractError: There is no such band, or it cannot be read whole.
        """
        dataset = self.dataset
        names = [d or "" for d in dataset.descriptions]
        place = names.index(band) + 1 if band in names else int(band) if re.fullmatch(r"[1-9]\d{0,3}", band) else 0
        if not 0 < place <= dataset.count:
            found = f"{dataset.count} bands: {', '.join(names) or 'without names'}"
            raise ContractError(asked=f"band '{band}' of {self.file}", found=found, mend="correct the variable's column")
        values = self._read(place, box).astype(np.float64)
        with _damage(self.file):
            values[dataset.read_masks(place, window=box).reshape(-1) == 0] = np.nan
        return values, float(dataset.scales[place - 1]), float(dataset.offsets[place - 1])

    def colours(self, clear: int, box: Box) -> NDArray[np.int64]:
        """Red, green and blue of each pixel of a box in 24 bits, row by row; `clear` where it is transparent.

        Raises:
            ContractError: The image has no colours, or cannot be read whole.
        """
        dataset = self.dataset
        if dataset.count == 1 and dataset.colorinterp[0].name == "palette":
            palette = dataset.colormap(1)
            table = np.full(256, clear, np.int64)
            for place, (red, green, blue, alpha) in palette.items():
                table[place] = (red << 16 | green << 8 | blue) if alpha else clear
            return np.asarray(table[self._read(1, box)], np.int64)
        if dataset.count not in (3, 4) or set(dataset.dtypes) != {"uint8"}:
            bands = f"{dataset.count} bands of {', '.join(sorted(set(dataset.dtypes)))}"
            raise ContractError(asked=f"colours of {self.file}", found=bands, mend="a legend is for images of colours: drop options.legend")
        red, green, blue = (self._read(b, box).astype(np.int64) for b in (1, 2, 3))
        found = np.asarray(red << 16 | green << 8 | blue, np.int64)
        return found if dataset.count == 3 else np.where(self._read(4, box) == 0, clear, found)

    def _read(self, band: int, box: Box) -> NDArray[Any]:
        _check_blocks(self.dataset, band, self.file)
        with _damage(self.file):
            return np.asarray(self.dataset.read(band, window=box)).reshape(-1)


@contextmanager
def _damage(file: str) -> Iterator[None]:
    errors = rasterio_module().errors
    try:
        yield
    except (errors.RasterioError, errors.CRSError, ValueError, AttributeError, OverflowError, MemoryError) as error:
        cause = f"{type(error).__name__}: {error.__cause__ or error}"
        raise ContractError(asked=f"read {file}", found=f"no whole image: {cause[:300]}", mend=_MEND) from error


@contextmanager
def _places_read(file: str) -> Iterator[None]:
    """Refuse a TIFF of which GDAL ignores a damaged tag that says where it lies: it would lie elsewhere."""
    logger, listener = logging.getLogger("rasterio._env"), _Listener()
    logger.addHandler(listener)
    try:
        yield
    finally:
        logger.removeHandler(listener)
    if listener.heard:
        raise ContractError(asked=f"place of {file}", found=listener.heard[0], mend=_MEND)


class _Listener(logging.Handler):
    """What GDAL says to this thread about tags of places."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.heard: list[str] = []
        self._thread = threading.get_ident()

    def emit(self, record: logging.LogRecord) -> None:
        said = re.search(r'[^:]*"(Geo|Model)\w+".*ignored', record.getMessage())
        if said and record.thread == self._thread:
            self.heard.append(said.group().strip())


@contextmanager
def opened_image(data: bytes, file: str) -> Iterator[Image]:
    """An image in memory.

    Raises:
        ContractError: It is no PNG and no TIFF, is cut or damaged, or declares sizes beyond the limit.
    """
    rasterio = rasterio_module()
    if data[:8] == _PNG:
        _check_png(data, file)
    elif data[:4] not in _TIFF:
        raise ContractError(asked=f"read {file} ({len(data)} bytes)", found=f"no PNG, no TIFF: it starts with {data[:8]!r}", mend=_MEND)
    driver = "PNG" if data[:8] == _PNG else "GTiff"
    # Not catch_warnings: images are opened in several threads, and it is no thread's own.
    warnings.filterwarnings("ignore", category=rasterio.errors.NotGeoreferencedWarning)
    with rasterio.MemoryFile(data) as memory:
        with _damage(file), _places_read(file):
            dataset = memory.open(driver=[driver])
        with dataset:
            _check_declared(dataset, file)
            yield Image(dataset=dataset, file=file)


def _check_declared(dataset: Any, file: str) -> None:
    blocks = max(rows * columns for rows, columns in dataset.block_shapes)
    if dataset.width * dataset.height > MAX_CELLS or blocks > MAX_CELLS or dataset.count > 4096:
        found = f"{dataset.height} x {dataset.width} pixels in blocks of {blocks}, {dataset.count} bands declared, more than {MAX_CELLS}"
        raise ContractError(asked=f"read {file}", found=found, mend="split the image, or fetch it again")
    if any(kind.startswith("complex") for kind in dataset.dtypes):
        raise ContractError(asked=f"read {file}", found="complex numbers", mend="export real numbers")


_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
"""First column, first row, and the steps of both, of each pass of an interlaced image. Source: PNG specification, section 8."""


def _check_png(data: bytes, file: str) -> None:
    """Every chunk is there with its checksum, up to the end mark; and the pixels are as many as are declared."""
    place, kind, most = 8, b"", len(data)
    asked = f"read {file} ({most} bytes)"
    head, packed = b"", []
    while kind != b"IEND":
        start = data[place : place + 8]
        length, kind = struct.unpack(">I4s", start) if len(start) == 8 else (most, b"cut")
        end = place + 12 + length
        if end > most:
            raise ContractError(asked=asked, found=f"a chunk at byte {place} goes beyond the end: it is cut", mend=_MEND)
        if zlib.crc32(data[place + 4 : end - 4]) != struct.unpack(">I", data[end - 4 : end])[0]:
            raise ContractError(asked=asked, found=f"chunk {kind!r} at byte {place} is damaged", mend=_MEND)
        if kind == b"IHDR":
            head = data[place + 8 : end - 4]
        if kind == b"IDAT":
            packed.append(data[place + 8 : end - 4])
        place = end
    if len(head) != 13:
        raise ContractError(asked=asked, found="no head that says its size", mend=_MEND)
    _check_pixels(head, b"".join(packed), asked)


def _check_pixels(head: bytes, packed: bytes, asked: str) -> None:
    width, height, depth, colours, _, _, interlaced = struct.unpack(">IIBBBBB", head)
    if width * height > MAX_CELLS:
        found = f"{height} x {width} pixels declared, more than {MAX_CELLS}"
        raise ContractError(asked=asked, found=found, mend="split the image, or fetch it again")
    bits = depth * _CHANNELS.get(colours, 0)
    parts = _PASSES if interlaced else ((0, 0, 1, 1),)
    sizes = [(-(-(width - x) // dx), -(-(height - y) // dy)) for x, y, dx, dy in parts]
    expected = sum(rows * (1 + -(-columns * bits // 8)) for columns, rows in sizes if columns > 0 and rows > 0)
    stream, size, rest = zlib.decompressobj(), 0, packed
    try:
        while size <= expected and not stream.eof:
            piece = stream.decompress(rest, _PIECE)
            size, rest = size + len(piece), stream.unconsumed_tail
            if not piece and not rest:
                break
    except zlib.error as error:
        raise ContractError(asked=asked, found=f"damaged pixels: {error}", mend=_MEND) from error
    if size != expected or not expected:
        raise ContractError(asked=asked, found=f"{size} bytes of pixels, where {height} x {width} are {expected}", mend=_MEND)


def _check_blocks(dataset: Any, band: int, file: str) -> None:
    """A TIFF may leave blocks out, which then read as zeros."""
    if dataset.driver != "GTiff":
        return
    rows, columns = dataset.block_shapes[band - 1]
    for y in range(-(-dataset.height // rows)):
        for x in range(-(-dataset.width // columns)):
            if dataset.get_tag_item(f"BLOCK_OFFSET_{x}_{y}", "TIFF", bidx=band) is None:
                raise ContractError(asked=f"band {band} of {file}", found=f"block {x}, {y} is absent", mend=_MEND)
