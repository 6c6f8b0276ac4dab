"""What a world may say about a long table, whatever its format: where the stamp and the node of a row are."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from pipeline.contracts.worlds import Duration, Source
from pipeline.errors import ConfigError, ContractError
from pipeline.sources.stamps import Ambiguous, known_calendars

EPOCHS = {"epoch_s": 1, "epoch_ms": 10**3, "epoch_us": 10**6, "epoch_ns": 10**9}
"""Counts since 1970, and how many of them a second has."""


class StampOptions(BaseModel):
    """How stamps are written and what they mean.

    Attributes:
        time: Column of the stamp.
        time_format: `iso`, `epoch_s`, `epoch_ms`, `epoch_us`, `epoch_ns`, `session` (a date; `calendar` says when that session closed) or a strptime pattern.
        ambiguous: What a local stamp that the clock passes twice means.
        interval: Stamps name the start of an interval this long; `valid_time` is its end.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    time: str
    time_format: str = "iso"
    calendar: str | None = None
    ambiguous: Ambiguous = "reject"
    interval: Duration | None = None

    @model_validator(mode="after")
    def _stamped(self) -> Self:
        if (self.time_format == "session") != (self.calendar is not None):
            raise ValueError("time_format = 'session' and calendar = '…' belong together")
        if self.time_format not in ("iso", "session", *EPOCHS) and "%" not in self.time_format:
            raise ValueError(f"time_format '{self.time_format}' is none of iso, {', '.join(EPOCHS)}, session, nor a strptime pattern")
        return self

    @property
    def stamp_format(self) -> str | None:
        """The strptime pattern, where there is one."""
        return self.time_format if "%" in self.time_format else None


class RowOptions(StampOptions):
    """How the rows of a long table are read.

    Attributes:
        published: Column of the instant at which the provider published the row.
        init: Column of the start of the run that a forecast is of; it is written as `published` is.
        node, node_column, node_pattern, node_place: The node is this one; is in this column; is the first group of this pattern in
            the file's name; is the place in these two columns, latitude and longitude.
        nulls: Further texts that mean "no value".
        renamed: What the provider calls a column now, and what the contract calls it.
        extra_columns: Whether a column that the contract does not know is passed over, or its file refused.
        known: Columns that are known and not needed.
    """

    published: str | None = None
    published_format: Literal["iso", "epoch_s", "epoch_ms", "epoch_us", "epoch_ns"] = "iso"
    init: str | None = None
    node: str | None = None
    node_column: str | None = None
    node_pattern: str | None = None
    node_place: tuple[str, str] | None = None
    nulls: tuple[str, ...] = ()
    renamed: dict[str, str] = Field(default_factory=dict)
    extra_columns: Literal["ignore", "refuse"] = "ignore"
    known: tuple[str, ...] = ()

    @property
    def strict(self) -> bool:
        """Whether the names of columns are more than looked up."""
        return bool(self.renamed) or self.extra_columns == "refuse"

    def contract_names(self, names: list[str], needed: Iterable[str], file: str) -> list[str]:
        """The names by which the contract knows the columns of a file.

        Raises:
            ContractError: A column comes under both its names, or the contract does not know one and says to refuse that.
        """
        found = [self.renamed.get(name, name) for name in names]
        twice = sorted({n for n in found if found.count(n) > 1})
        if twice:
            asked = f"column '{twice[0]}' of {file}"
            raise ContractError(asked=asked, found="it comes under its old and its new name", mend="correct options.renamed")
        extra = [n for n in found if n not in {*needed, *self.known}]
        if extra and self.extra_columns == "refuse":
            mend = "add it to options.known, or set options.extra_columns = 'ignore'"
            raise ContractError(asked=f"columns of {file} that the contract knows", found=f"column '{extra[0]}'", mend=mend)
        return found

    def refuse_column_as_node(self, names: Iterable[str], file: str) -> None:
        """Refuse a column where the name of a node belongs: all rows would be of one node of that name.

        Raises:
            ContractError: Naming the option that takes a column.
        """
        if self.node is not None and self.node in names:
            found, mend = "a column of that name", f"for the node that each row names, write options.node_column = '{self.node}'"
            raise ContractError(asked=f"node '{self.node}' for all rows of {file}", found=found, mend=mend)

    @property
    def given_nodes(self) -> list[str]:
        """Which of the ways to name the node are used."""
        return [k for k in ("node", "node_column", "node_pattern", "node_place") if getattr(self, k) is not None]


def check_rows(options: RowOptions, source: Source) -> None:
    """Refuse a calendar that no exchange has, and forecasts of which no column says the run.

    Raises:
        ConfigError: Naming it.
    """
    if (options.init is None) != (source.runs is None):
        found = "no column that says of which run a row is" if options.init is None else "a source without runs"
        raise ConfigError(asked=f"options.init = {options.init}", found=found, mend="runs = '…' and options.init = '…' belong together")
    check_calendar(options)


def check_calendar(options: StampOptions) -> None:
    """Refuse a calendar that no exchange has.

    Raises:
        ConfigError: Naming it.
    """
    if options.calendar is not None and options.calendar not in known_calendars():
        raise ConfigError(asked=f"options.calendar = '{options.calendar}'", found="no such calendar", mend="for example XNYS, XLON, XCSE")
