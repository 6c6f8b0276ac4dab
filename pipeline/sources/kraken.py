"""Kraken: open, high, low, close and volume of a pair by the minute to the fortnight, no key.

- `api.kraken.com/0/public/OHLC?pair=XBTUSD&interval=60&since=…`: minutes and epoch seconds. Whatever `since` says, at most the newest
  720 bars are answered: what is older cannot be had, so that a world must run at least once in that time.
- The answer is `{"error": [], "result": {"XXBTZUSD": [[time, open, high, low, close, vwap, volume, count], …], "last": time}}`; prices are
  texts. The pair's name in it is another than the one asked for, so each pair is asked for alone.
- `time` opens the bar. The last bar is not closed yet; `last` is the last one that is.
- Errors come with status 200: `EAPI:Rate limit exceeded`, `EGeneral:Too many requests`, `EService:Unavailable`, … About one call a second.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any, Self

from pydantic import Field, model_validator

from pipeline.contracts.deliveries import Delivery, Fetched, Part, Validators
from pipeline.contracts.nodes import NodeSet
from pipeline.contracts.times import to_seconds
from pipeline.contracts.worlds import Duration, Source
from pipeline.errors import ConfigError, ContractError, NotYetAvailable
from pipeline.settings import Settings
from pipeline.sources import web as http
from pipeline.sources.adapter import Readings
from pipeline.sources.json import load_json, read_records
from pipeline.sources.live import LiveOptions, check_live, listed_nodes, named_row, query, spans
from pipeline.sources.options import read_options
from pipeline.sources.row_options import RowOptions

_FIELDS = ("time", "open", "high", "low", "close", "vwap", "volume", "count")
_MOST_BARS = 720
_FOR_NOW = ("EAPI:Rate limit", "EGeneral:Too many requests", "EGeneral:Temporary lockout", "EService:")
_MEND = "the provider changed its format: compare with its documentation and correct the world file or the adapter"


class KrakenOptions(LiveOptions):
    """The `options` of a Kraken source.

    Attributes:
        pairs: The pairs asked for, each a node.
        interval: Length of a bar.
        spacing: Least time between two calls.
    """

    pairs: tuple[str, ...] = Field(min_length=1)
    interval: Duration = timedelta(hours=1)
    revised: Duration = timedelta(days=1)
    spacing: Duration = timedelta(seconds=1)

    @model_validator(mode="after")
    def _known(self) -> Self:
        minutes = self.interval.total_seconds() / 60
        if minutes not in (5, 15, 30, 60, 240, 1440):
            raise ValueError(f"interval {self.interval} is none of 5min, 15min, 30min, 1h, 4h, 1d")
        strange = [p for p in self.pairs if not p.isalnum()]
        if strange:
            raise ValueError(f"pair '{strange[0]}' is no pair; for example XBTUSD")
        return self


class KrakenAdapter:
    """Bars of pairs: variables with the columns open, high, low, close, vwap, volume, count."""

    def check(self, source: Source) -> None:
        """Refuse options that make no sense.

        Raises:
            ConfigError: Naming the option, its value, what is allowed.
        """
        options = read_options(KrakenOptions, source)
        longest = max(timedelta(days=1), options.interval * _MOST_BARS // timedelta(days=1) * timedelta(days=1))
        check_live(source, options, longest, "https://api.kraken.com/0/public/OHLC")

    def deliveries(self, source: Source, settings: Settings, as_of: datetime) -> Iterator[Delivery]:
        """One delivery per pair and span of days that can still be had.

        Raises:
            NotYetAvailable: The provider is out of reach, or asks to come back.
            ConfigError: The provider refuses the request.
        """
        options = read_options(KrakenOptions, source)
        web = http.Web(source.allowed_hosts, dataclasses.replace(http.POLICY, spacing=options.spacing.total_seconds()))
        oldest = to_seconds(as_of) - int(options.interval.total_seconds()) * _MOST_BARS
        for span in spans(options, as_of):
            if span.end <= oldest:
                continue
            for pair in options.pairs:
                asked: dict[str, str | int] = {
                    "pair": pair,
                    "interval": int(options.interval.total_seconds()) // 60,
                    "since": span.start - 1,
                }
                part = _answer(web, query(source.locations[0], **asked), f"{pair}-{span.first_day:%Y%m%d}.json")
                yield Delivery(name=part.name, parts=(part,), covers=(span.start, span.end), settles=span.settles)

    def parse(self, source: Source, parts: Mapping[str, bytes]) -> Readings:
        """The readings in a delivery's bytes; a bar that is not closed is rejected.

        Raises:
            ContractError: The answer is no whole JSON, an error, or not what is documented.
        """
        options = read_options(KrakenOptions, source)
        [(file, data)] = parts.items()
        rows, last = _bars(load_json(data, file), file)
        records = [named_row(row, _FIELDS, n, file) for n, row in enumerate(rows, start=1)]
        young = [str(row["time"]).isdigit() and int(row["time"]) > last for row in records]
        closed = [(n, row) for n, row in enumerate(records, start=1) if not young[n - 1]]
        open_bars = [(n, "a bar that is not closed yet", str(row)[:500]) for n, row in enumerate(records, start=1) if young[n - 1]]
        how = RowOptions(time="time", time_format="epoch_s", interval=options.interval, node=file.partition("-")[0])
        return read_records(source, how, file, closed, open_bars)

    def parse_places(self, source: Source, parts: Mapping[str, bytes]) -> NodeSet:
        """The pairs; nowhere on Earth."""
        return listed_nodes(read_options(KrakenOptions, source).pairs)


def _answer(web: http.Web, url: str, name: str) -> Part:
    """An answer that is no error; one that says to come back is for now only."""

    def fetch(known: Validators | None) -> Fetched | None:
        found = web.fetch(url, known)
        said = b"" if found is None else found.data[:400].replace(b" ", b"")
        if said.startswith(b'{"error":[') and not said.startswith(b'{"error":[]'):
            words = (b"" if found is None else found.data[:300]).decode("utf-8", errors="replace")
            if any(kind in words for kind in _FOR_NOW):
                raise NotYetAvailable(asked=f"GET {url}", found=words, mend="come back later")
            raise ConfigError(asked=f"GET {url}", found=words, mend="correct the pair or the options in the world file")
        return found

    def read() -> bytes:
        found = fetch(None)
        return b"" if found is None else found.data

    return Part(name=name, location=web.part(url).location, read=read, fetch=fetch)


def _bars(document: Any, file: str) -> tuple[list[Any], int]:
    """The bars of the one pair in an answer, and the time of the last that is closed."""
    result = document.get("result") if isinstance(document, dict) else None
    if not isinstance(result, dict) or not str(result.get("last")).isdigit():
        keys = ", ".join(result) if isinstance(result, dict) else str(document)[:200]
        raise ContractError(asked=f"keys 'result' and 'result.last' of {file}", found=keys, mend=_MEND)
    pairs = [key for key in result if key != "last"]
    if len(pairs) != 1 or not isinstance(result[pairs[0]], list):
        raise ContractError(asked=f"bars of one pair in {file}", found=f"keys {', '.join(result)}", mend=_MEND)
    return result[pairs[0]], int(result["last"])
