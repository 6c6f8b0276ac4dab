"""What live public APIs have in common: one base address, and requests by spans of time that are revised for a while, then stay."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import numpy as np
from pydantic import BaseModel, ConfigDict

from pipeline.contracts.nodes import NodeSet
from pipeline.contracts.times import from_seconds, to_seconds
from pipeline.contracts.worlds import Duration, Instant, Source
from pipeline.errors import ConfigError, ContractError
from pipeline.sources.adapter import Readings, RejectedRows

_DAY = 86400


class LiveOptions(BaseModel):
    """What every live source may say.

    Attributes:
        start: From when on history is fetched.
        span: What one request covers: whole days.
        revised: For how long after its end the provider may still change a span; until then it is asked for again.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    start: Instant
    span: Duration = timedelta(days=1)
    revised: Duration = timedelta(days=7)


@dataclass(frozen=True, kw_only=True)
class Span:
    """Instants from `start` (inclusive) to `end` (exclusive), int64 seconds UTC at midnights; it changes no more from `settles` on."""

    start: int
    end: int
    settles: int

    @property
    def first_day(self) -> datetime:
        """Midnight UTC of its first day."""
        return from_seconds(self.start)

    @property
    def last_day(self) -> datetime:
        """Midnight UTC of its last day."""
        return from_seconds(self.end - _DAY)


def spans(options: LiveOptions, as_of: datetime) -> Iterator[Span]:
    """The spans that have begun by `as_of`, in order."""
    length = int(options.span.total_seconds())
    start = to_seconds(options.start) // _DAY * _DAY
    while start < to_seconds(as_of):
        yield Span(start=start, end=start + length, settles=start + length + int(options.revised.total_seconds()))
        start += length


def check_live(source: Source, options: LiveOptions, longest: timedelta, example: str) -> None:
    """Refuse a live source without its one address, or with spans that the provider does not answer.

    Raises:
        ConfigError: Naming the key.
    """
    from pipeline.sources.web import check_url

    if len(source.locations) != 1:
        raise ConfigError(asked=f"locations {list(source.locations)}", found="not one address", mend=f"for example {example}")
    check_url(source.locations[0], source.allowed_hosts)
    if options.span.total_seconds() % _DAY or not timedelta(0) < options.span <= longest:
        raise ConfigError(asked=f"options.span = {options.span}", found="no whole days, or too long", mend=f"at most {longest.days}d")


def listed_places(source: Source) -> NodeSet:
    """The places that a source's `nodes.rows` lists.

    Raises:
        ConfigError: There are none.
    """
    if source.nodes is None or not source.nodes.rows:
        raise ConfigError(asked="nodes.rows", found="none", mend='list the places: nodes = { rows = [["name", 51.5, -0.1]] }')
    ids, latitude, longitude = zip(*source.nodes.rows, strict=True)
    return NodeSet(ids=ids, latitude=np.array(latitude, np.float64), longitude=np.array(longitude, np.float64))


def listed_nodes(names: tuple[str, ...]) -> NodeSet:
    """Nodes that are nowhere on Earth: instruments."""
    return NodeSet(ids=names, latitude=np.full(len(names), np.nan), longitude=np.full(len(names), np.nan))


def named_row(row: Any, names: tuple[str, ...], number: int, file: str) -> dict[str, Any]:
    """A row that is a list of values, as values by their documented names.

    Raises:
        ContractError: It is no list, or has more or fewer values.
    """
    if not isinstance(row, list) or len(row) != len(names):
        said = f"{len(row)} values" if isinstance(row, list) else f"a {type(row).__name__}"
        mend = "the provider changed its format: compare with its documentation and correct the adapter"
        raise ContractError(asked=f"{len(names)} values ({', '.join(names)}) in row {number} of {file}", found=said, mend=mend)
    return dict(zip(names, row, strict=True))


def query(address: str, **parameters: str | int | float) -> str:
    """An address with parameters, in the order given; commas and colons stay readable."""
    return f"{address}?{urlencode(parameters, safe=',:')}"


def gathered(pieces: list[Readings]) -> Readings:
    """Readings of several files of a delivery as one; rows are numbered through.

    Raises:
        ContractError: There is none.
    """
    if not pieces:
        raise ContractError(asked="readings of a delivery", found="no file", mend="land it again")
    ids = tuple(dict.fromkeys(i for piece in pieces for i in piece.node_ids))
    place = {identity: code for code, identity in enumerate(ids)}
    before = np.cumsum([0, *(piece.raw_rows for piece in pieces)])
    rejected = RejectedRows()
    for piece, shift in zip(pieces, before, strict=False):
        moved = tuple(row + int(shift) for row in piece.rejected.row)
        rejected += RejectedRows(file=piece.rejected.file, row=moved, reason=piece.rejected.reason, raw=piece.rejected.raw)
    published = [piece.published_time for piece in pieces]
    return Readings(
        node_ids=ids,
        node=np.concatenate([np.array([place[i] for i in p.node_ids] or [0], np.int32)[p.node] for p in pieces]),
        valid_time=np.concatenate([p.valid_time for p in pieces]),
        published_time=None if any(p is None for p in published) else np.concatenate([p for p in published if p is not None]),
        values={name: np.concatenate([p.values[name] for p in pieces]) for name in pieces[0].values},
        row=np.concatenate([p.row + shift for p, shift in zip(pieces, before, strict=False)]),
        rejected=rejected,
        raw_rows=sum(p.raw_rows for p in pieces),
    )
