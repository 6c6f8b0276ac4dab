"""GeoTIFF and PNG image series: one image per instant, each pixel a cell. Needs the extra `images` (rasterio).

The stamp is in the file's name (`time_pattern`) or in a tag (`time_tag`). A GeoTIFF says itself where it lies; for a PNG the world does
(`bounds`, the outer edges). Values are a band's numbers with scale and offset, or what a `legend` says that a colour means.
GDAL reads what the first bytes say and nothing else: a VRT would open other files and hosts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from pipeline.contracts.deliveries import Delivery
from pipeline.contracts.nodes import NodeSet
from pipeline.contracts.worlds import Source
from pipeline.errors import ContractError
from pipeline.settings import Settings
from pipeline.sources.fields import FieldAdapter, Fields
from pipeline.sources.files import check_locations, grid_deliveries
from pipeline.sources.grids import Cells, GridOptions, cells_of
from pipeline.sources.image_files import Image, opened_image, rasterio_module
from pipeline.sources.node_tables import parse_places
from pipeline.sources.options import read_options
from pipeline.sources.row_options import StampOptions
from pipeline.sources.rows import column_of, text_times, time_faults
from pipeline.sources.stamps import Ambiguous
from pipeline.sources.unpacking import unpacked

_COLOUR = re.compile(r"^(#[0-9a-f]{6}|transparent)$")
_CLEAR = 1 << 24
"""Stands for every transparent pixel; the others are their red, green and blue in 24 bits."""


class ImageOptions(GridOptions):
    """The `options` of a source of images.

    Attributes:
        time_pattern: Pattern in the file's name whose first group is the stamp.
        time_tag: Name of the tag that holds the stamp.
        time_format: How the stamp is written: iso, epoch_s, … or a strptime pattern.
        ambiguous: What a local stamp that the clock passes twice means.
        bounds: South, west, north, east: outer edges of an image that does not say where it lies.
        south_up: The first row of such an image is the southernmost.
        scale, offset: value = number * scale + offset, where the image does not say so itself.
        legend: Colours ("#00aaff", "transparent") and the values they mean.
        unlisted: What a colour that the legend does not list is.
    """

    time_pattern: str | None = None
    time_tag: str | None = None
    time_format: str = "%Y%m%d%H%M"
    ambiguous: Ambiguous = "reject"
    bounds: tuple[float, float, float, float] | None = None
    south_up: bool = False
    scale: float | None = None
    offset: float | None = None
    legend: tuple[tuple[str, float | None], ...] = ()
    unlisted: str = Field(default="refuse", pattern="^(refuse|missing)$")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (self.time_pattern is None) == (self.time_tag is None):
            raise ValueError("takes exactly one of time_pattern, time_tag")
        if self.bounds is not None and not (self.bounds[0] < self.bounds[2] and self.bounds[1] < self.bounds[3]):
            raise ValueError(f"bounds {self.bounds} are not south < north, west < east")
        if self.south_up and self.bounds is None:
            raise ValueError("south_up is for an image whose bounds the world gives")
        strange = [c for c, _ in self.legend if not _COLOUR.match(c)]
        if strange:
            raise ValueError(f"colour '{strange[0]}' of the legend is none of '#rrggbb' (small letters), 'transparent'")
        if self.legend and (self.scale is not None or self.offset is not None):
            raise ValueError("a legend gives values: no scale, no offset")
        return self

    @property
    def stamps(self) -> StampOptions:
        """How the stamp is read; its interval is the grid's to add."""
        return StampOptions(time=self.time_tag or "the file's name", time_format=self.time_format, ambiguous=self.ambiguous)


class ImagesAdapter(FieldAdapter):
    """Series of GeoTIFF or PNG files."""

    example = "*.tif"
    unpacked_bytes = 56  # with a legend: a colour, its place among those known, the one found there, its value

    def check(self, source: Source) -> None:
        """Refuse options that make no sense.

        Raises:
            ConfigError: Naming the option, its value, what is allowed; or the extra that is not installed.
        """
        read_options(ImageOptions, source)
        check_locations(source, self.example)
        rasterio_module()

    def deliveries(self, source: Source, settings: Settings, as_of: datetime) -> Iterator[Delivery]:
        """One delivery per file, then the nodes: a table, or the grid of the first file; raises as `file_deliveries` does."""
        return grid_deliveries(source, settings)

    def fields(self, source: Source, parts: Mapping[str, bytes], rows: NDArray[np.int64] | None = None) -> Fields:
        """What a delivery holds: one grid.

        Raises:
            ContractError: The file as a whole cannot be read (truncated, no place, a band or a stamp missing, an unlisted colour).
        """
        options = read_options(ImageOptions, source)
        [(file, data)] = parts.items()
        with opened_image(unpacked(data, file), file) as image:
            stamp, fault = text_times(options.stamps, source.timezone, [_stamp_text(image, options, file)])
            cells = _cells(image, options, file)
            if not source.slabs:
                cells.check_names()
            values = {
                name: _values(image, column_of(name, variable) if variable.column else "1", cells, options, file)[None, :]
                for name, variable in source.variables.items()
            }
        faults = time_faults(fault, options.stamps, source.timezone)
        return Fields(where=cells, stamps=stamp, values=values, options=options, file=file, faults=faults)

    def parse_places(self, source: Source, parts: Mapping[str, bytes]) -> NodeSet:
        """The places in a node table, or the pixels of an image row by row.

        Raises:
            ContractError: The file as a whole cannot be read.
        """
        if source.nodes is not None:
            return parse_places(source, parts)
        [(file, data)] = parts.items()
        with opened_image(unpacked(data, file), file) as image:
            return _cells(image, read_options(ImageOptions, source), file).nodes


def _stamp_text(image: Image, options: ImageOptions, file: str) -> str:
    if options.time_pattern is not None:
        match = re.search(options.time_pattern, file)
        if match is None:
            found = f"no match for '{options.time_pattern}'"
            raise ContractError(asked=f"stamp in the name of {file}", found=found, mend="correct options.time_pattern")
        return match.group(1) if match.groups() else match.group(0)
    tags = image.tags
    if options.time_tag not in tags:
        found = f"tags {', '.join(sorted(tags)[:20]) or 'none'}"
        raise ContractError(asked=f"tag '{options.time_tag}' of {file}", found=found, mend="correct options.time_tag")
    return tags[options.time_tag]


def _cells(image: Image, options: ImageOptions, file: str) -> Cells:
    axes = image.axes
    if axes is not None and options.bounds is not None:
        raise ContractError(
            asked=f"place of {file}", found="an image that says where it lies, and options.bounds", mend="drop options.bounds"
        )
    if axes is not None:
        return cells_of(*axes, options, file)
    if options.bounds is None:
        mend = "say where its outer edges lie: options.bounds = [south, west, north, east]"
        raise ContractError(asked=f"place of {file}", found="an image that does not say where it lies", mend=mend)
    south, west, north, east = options.bounds
    high, wide = (north - south) / image.height, (east - west) / image.width
    latitude = np.asarray(south + (np.arange(image.height) + 0.5) * high, np.float64)
    longitude = np.asarray(west + (np.arange(image.width) + 0.5) * wide, np.float64)
    return cells_of(latitude if options.south_up else latitude[::-1], longitude, options, file)


def _values(image: Image, band: str, cells: Cells, options: ImageOptions, file: str) -> NDArray[np.float64]:
    """Values of the cells taken; NaN where the image has none."""
    box = cells.rows, cells.columns
    if options.legend:
        return _by_legend(image.colours(_CLEAR, box)[cells.boxed], options, file)
    numbers, scale, offset = image.numbers(band, box)
    if (scale, offset) != (1.0, 0.0) and (options.scale, options.offset) != (None, None):
        found = f"scale {scale:g} and offset {offset:g} in the file, and others in the options"
        raise ContractError(asked=f"band {band} of {file}", found=found, mend="drop options.scale and options.offset")
    return numbers[cells.boxed] * (scale if options.scale is None else options.scale) + (
        offset if options.offset is None else options.offset
    )


def _by_legend(colours: NDArray[np.int64], options: ImageOptions, file: str) -> NDArray[np.float64]:
    known: dict[int, float] = {}
    for colour, value in options.legend:
        known[_CLEAR if colour == "transparent" else int(colour[1:], 16)] = np.nan if value is None else value
    codes = np.array(sorted(known), np.int64)
    meant = np.array([known[c] for c in codes.tolist()])
    place = np.minimum(np.searchsorted(codes, colours), len(codes) - 1)
    strange = codes[place] != colours
    if strange.any() and options.unlisted == "refuse":
        first = int(colours[np.argmax(strange)])
        shown = "transparent" if first == _CLEAR else f"#{first:06x}"
        found = f"{shown} at pixel {int(np.argmax(strange))}, and {int(strange.sum()) - 1} more pixels of colours that it does not list"
        raise ContractError(asked=f"legend of {file}", found=found, mend="add the colour, or set options.unlisted = 'missing'")
    return np.where(strange, np.nan, meant[place])
