"""What a world may say about a CSV source."""

from __future__ import annotations

import io
from itertools import islice
from typing import Literal, Self

from pydantic import model_validator

from pipeline.contracts.worlds import Duration, Instant
from pipeline.sources.columns import Dialect, Kind, kind_of_stamp, require_columns
from pipeline.sources.delimited import header_of
from pipeline.sources.row_options import EPOCHS, RowOptions

_LOOKED_AT = 65536


class CsvOptions(RowOptions):
    """The `options` of a CSV source.

    Attributes:
        columns: Names of the columns of a file without header.
        first_time, step: Wide files without stamps: the instant of the first row, and from each to the next.
    """

    time: str = ""
    first_time: Instant | None = None
    step: Duration | None = None

    layout: Literal["long", "wide"] = "long"
    separator: str = ","
    decimal: Literal[".", ","] = "."
    encoding: str = "utf-8"
    columns: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if len(self.given_nodes) != (self.layout == "long"):
            raise ValueError(
                f"{self.layout} layout takes {'exactly one' if self.layout == 'long' else 'none'} of node, node_column, node_pattern, node_place"
            )
        if (self.first_time is None) != (self.step is None) or bool(self.time) == (self.first_time is not None):
            raise ValueError("takes either time = 'column', or first_time and step")
        if self.first_time is not None and self.layout != "wide":
            raise ValueError("first_time and step are for layout = 'wide': in a long file a row says its own time")
        if self.strict and self.layout == "wide":
            raise ValueError("renamed and extra_columns are for layout = 'long': in a wide file a column is a node")
        if len(self.separator) != 1:
            raise ValueError(f"separator '{self.separator}' is not one character")
        return self

    @property
    def dialect(self) -> Dialect:
        """How the text is written."""
        return Dialect(
            separator=self.separator,
            decimal=self.decimal,
            encoding=self.encoding,
            columns=self.columns,
            nulls=self.nulls,
            stamp_format=self.stamp_format,
        )


def time_kind(options: CsvOptions, data: bytes, file: str) -> Kind:
    """Whether the first stamp of a file carries a zone; the rest must do as the first."""
    if options.time_format in EPOCHS:
        return "number"
    if options.time_format != "iso":
        return "instant" if "%z" in options.time_format else "stamp"
    return iso_kind(options, data, file, options.time)


def iso_kind(options: CsvOptions, data: bytes, file: str, column: str) -> Kind:
    """Whether the first ISO stamp of a column carries a zone.

    Raises:
        ContractError: There is no such column.
    """
    names = header_of(data, options.dialect, file)
    require_columns(names, [column], file)
    for line in islice(io.BytesIO(data[:_LOOKED_AT]), 0 if options.columns else 1, None):
        fields = line.decode(options.encoding, errors="replace").strip().split(options.separator)
        if len(fields) == len(names):
            return kind_of_stamp(fields[names.index(column)].strip('" '))
    return "stamp"
