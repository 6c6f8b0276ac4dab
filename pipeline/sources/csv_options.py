"""What a world may say about a CSV source."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, model_validator

from pipeline.contracts.worlds import Duration
from pipeline.sources.delimited import Dialect
from pipeline.sources.stamps import Ambiguous


class CsvOptions(BaseModel):
    """The `options` of a CSV source.

    Attributes:
        time: Column of the stamp.
        time_format: `iso`, `epoch_s`, `epoch_ms`, `session` (a date; `calendar` says when that session closed) or a strptime pattern.
        ambiguous: What a local stamp that the clock passes twice means.
        interval: Stamps name the start of an interval this long; `valid_time` is its end.
        published: Column of the instant at which the provider published the row.
        node, node_column, node_pattern: The node is this one; is in this column; is the first group of this pattern in the file's name.
        columns: Names of the columns of a file without header.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    layout: Literal["long", "wide"] = "long"
    separator: str = ","
    decimal: Literal[".", ","] = "."
    encoding: str = "utf-8"
    columns: tuple[str, ...] = ()
    nulls: tuple[str, ...] = ()
    time: str
    time_format: str = "iso"
    calendar: str | None = None
    ambiguous: Ambiguous = "reject"
    interval: Duration | None = None
    published: str | None = None
    published_format: Literal["iso", "epoch_s", "epoch_ms"] = "iso"
    node: str | None = None
    node_column: str | None = None
    node_pattern: str | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        given = [k for k in ("node", "node_column", "node_pattern") if getattr(self, k) is not None]
        if len(given) != (self.layout == "long"):
            raise ValueError(
                f"{self.layout} layout takes {'exactly one' if self.layout == 'long' else 'none'} of node, node_column, node_pattern"
            )
        if (self.time_format == "session") != (self.calendar is not None):
            raise ValueError("time_format = 'session' and calendar = '…' belong together")
        if self.time_format not in ("iso", "epoch_s", "epoch_ms", "session") and "%" not in self.time_format:
            raise ValueError(f"time_format '{self.time_format}' is none of iso, epoch_s, epoch_ms, session, nor a strptime pattern")
        if len(self.separator) != 1:
            raise ValueError(f"separator '{self.separator}' is not one character")
        return self

    @property
    def dialect(self) -> Dialect:
        """How the text is written."""
        pattern = self.time_format if "%" in self.time_format else None
        return Dialect(
            separator=self.separator,
            decimal=self.decimal,
            encoding=self.encoding,
            columns=self.columns,
            nulls=self.nulls,
            stamp_format=pattern,
        )
