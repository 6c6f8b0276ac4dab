"""One GeoTIFF or PNG in memory, proved whole before a pixel is read: checksums, sizes, and that no block is absent."""

from __future__ import annotations

import re
import struct
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

    def numbers(self, band: str) -> tuple[NDArray[np.float64], float, float]:
        """The numbers of a band (by number or description) row by row, NaN where there is none; and its scale and offset.

        Raises:
            ContractError: There is no such band, or it cannot be read whole.
        """
        dataset = self.dataset
        names = [d or "" for d in dataset.descriptions]
        place = names.index(band) + 1 if band in names else int(band) if re.fullmatch(r"[1-9]\d{0,3}", band) else 0
        if not 0 < place <= dataset.count:
            found = f"{dataset.count} bands: {', '.join(names) or 'without names'}"
            raise ContractError(asked=f"band '{band}' of {self.file}", found=found, mend="correct the variable's column")
        values = self._read(place).astype(np.float64).reshape(-1)
        values[self.dataset.read_masks(place).reshape(-1) == 0] = np.nan
        return values, float(dataset.scales[place - 1]), float(dataset.offsets[place - 1])

    def colours(self, clear: int) -> NDArray[np.int64]:
        """Red, green and blue of each pixel in 24 bits, row by row; `clear` where it is transparent.

        Raises:
            ContractError: The image has no colours, or cannot be read whole.
        """
        dataset = self.dataset
        if dataset.count == 1 and dataset.colorinterp[0].name == "palette":
            palette = dataset.colormap(1)
            table = np.full(256, clear, np.int64)
            for place, (red, green, blue, alpha) in palette.items():
                table[place] = (red << 16 | green << 8 | blue) if alpha else clear
            return np.asarray(table[self._read(1).reshape(-1)], np.int64)
        if dataset.count not in (3, 4) or set(dataset.dtypes) != {"uint8"}:
            bands = f"{dataset.count} bands of {', '.join(sorted(set(dataset.dtypes)))}"
            raise ContractError(asked=f"colours of {self.file}", found=bands, mend="a legend is for images of colours: drop options.legend")
        red, green, blue = (self._read(b).reshape(-1).astype(np.int64) for b in (1, 2, 3))
        found = np.asarray(red << 16 | green << 8 | blue, np.int64)
        return found if dataset.count == 3 else np.where(self._read(4).reshape(-1) == 0, clear, found)

    def _read(self, band: int) -> NDArray[Any]:
        _check_blocks(self.dataset, band, self.file)
        with _damage(self.file):
            return np.asarray(self.dataset.read(band))


@contextmanager
def _damage(file: str) -> Iterator[None]:
    errors = rasterio_module().errors
    try:
        yield
    except (errors.RasterioError, errors.CRSError, ValueError, AttributeError, OverflowError, MemoryError) as error:
        cause = f"{type(error).__name__}: {error.__cause__ or error}"
        raise ContractError(asked=f"read {file}", found=f"no whole image: {cause[:300]}", mend=_MEND) from error


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
    with warnings.catch_warnings(action="ignore"), rasterio.MemoryFile(data) as memory:
        with _damage(file):
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


def _check_png(data: bytes, file: str) -> None:
    """Every chunk is there with its checksum, up to the end mark."""
    place, kind, most = 8, b"", len(data)
    while kind != b"IEND":
        head = data[place : place + 8]
        length, kind = struct.unpack(">I4s", head) if len(head) == 8 else (most, b"cut")
        end = place + 12 + length
        if end > most:
            raise ContractError(
                asked=f"read {file} ({most} bytes)", found=f"a chunk at byte {place} goes beyond the end: it is cut", mend=_MEND
            )
        if zlib.crc32(data[place + 4 : end - 4]) != struct.unpack(">I", data[end - 4 : end])[0]:
            raise ContractError(asked=f"read {file} ({most} bytes)", found=f"chunk {kind!r} at byte {place} is damaged", mend=_MEND)
        if kind == b"IHDR":
            width, height = struct.unpack(">II", data[place + 8 : place + 16])
            if width * height > MAX_CELLS:
                found = f"{height} x {width} pixels declared, more than {MAX_CELLS}"
                raise ContractError(asked=f"read {file}", found=found, mend="split the image, or fetch it again")
        place = end


def _check_blocks(dataset: Any, band: int, file: str) -> None:
    """A TIFF may leave blocks out, which then read as zeros."""
    if dataset.driver != "GTiff":
        return
    rows, columns = dataset.block_shapes[band - 1]
    for y in range(-(-dataset.height // rows)):
        for x in range(-(-dataset.width // columns)):
            if dataset.get_tag_item(f"BLOCK_OFFSET_{x}_{y}", "TIFF", bidx=band) is None:
                raise ContractError(asked=f"band {band} of {file}", found=f"block {x}, {y} is absent", mend=_MEND)
