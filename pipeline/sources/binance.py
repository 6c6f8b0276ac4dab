"""Binance: klines (bars) of a symbol, no key; `data-api.binance.vision` answers as `api.binance.com` does, without accounts behind it.

- `…/api/v3/klines?symbol=BTCUSDT&interval=1h&startTime=…&endTime=…&limit=1000`: milliseconds, both inclusive, of the opening.
- The answer is a list of 12 values each: open time, open, high, low, close, volume, close time, quote volume, trades, two volumes of takers,
  and one to ignore; prices are texts. The open time opens the bar: its value is of its end.
- Pages: at most 1000 bars; the next page starts after the last bar of this one. A page that is not full is the last.
- The newest bar is not closed: its end lies in the future, it is flagged so, and the closed one comes later as a revision.
- The published files count microseconds since 2025, and so does an answer where a proxy asks for it: such stamps are rejected by name.
- 429 means slower, 418 that it was not heard, with `Retry-After`; 451 that the country is not served. A call weighs 2 of 6000 a minute.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta

from pydantic import Field, field_validator

from pipeline.contracts.deliveries import Delivery, Fetched, Part, Validators
from pipeline.contracts.nodes import NodeSet
from pipeline.contracts.worlds import Duration, Source
from pipeline.errors import ConfigError, ContractError, NotYetAvailable
from pipeline.settings import Settings
from pipeline.sources import web as http
from pipeline.sources.adapter import Readings
from pipeline.sources.json import load_json, read_records, record_list
from pipeline.sources.live import LiveOptions, Span, check_live, gathered, listed_nodes, named_row, query, spans
from pipeline.sources.options import read_options
from pipeline.sources.row_options import RowOptions

_FIELDS = (
    *("open_time", "open", "high", "low", "close", "volume"),
    *("close_time", "quote_volume", "trades", "taker_volume", "taker_quote_volume", "ignore"),
)
_INTERVALS = {
    **{60 * n: f"{n}m" for n in (1, 3, 5, 15, 30)},
    **{3600 * n: f"{n}h" for n in (1, 2, 4, 6, 8, 12)},
    86400: "1d",
}
_MOST_PAGES = 10_000


class BinanceOptions(LiveOptions):
    """The `options` of a Binance source.

    Attributes:
        symbols: The symbols asked for, each a node.
        interval: Length of a bar.
        page_size: Bars a page.
        spacing: Least time between two calls.
    """

    symbols: tuple[str, ...] = Field(min_length=1)
    interval: Duration = timedelta(hours=1)
    page_size: int = Field(default=1000, ge=1, le=1000)
    revised: Duration = timedelta(days=1)
    spacing: Duration = timedelta(seconds=0.1)

    @field_validator("interval")
    @classmethod
    def _known(cls, interval: timedelta) -> timedelta:
        if int(interval.total_seconds()) not in _INTERVALS:
            raise ValueError(f"interval {interval} is none of {', '.join(_INTERVALS.values())}")
        return interval

    @field_validator("symbols")
    @classmethod
    def _plain(cls, symbols: tuple[str, ...]) -> tuple[str, ...]:
        strange = [s for s in symbols if not s.isalnum()]
        if strange:
            raise ValueError(f"symbol '{strange[0]}' is no symbol; for example BTCUSDT")
        return symbols


class BinanceAdapter:
    """Bars of symbols: variables with the columns open, high, low, close, volume, quote_volume, trades, …"""

    def check(self, source: Source) -> None:
        """Refuse options that make no sense.

        Raises:
            ConfigError: Naming the option, its value, what is allowed.
        """
        options = read_options(BinanceOptions, source)
        check_live(source, options, timedelta(days=366), "https://data-api.binance.vision/api/v3/klines")

    def deliveries(self, source: Source, settings: Settings, as_of: datetime) -> Iterator[Delivery]:
        """One delivery per symbol and span of days, in pages.

        Raises:
            NotYetAvailable: The provider is out of reach, or asks to come back.
            ConfigError: The provider refuses the request.
        """
        options = read_options(BinanceOptions, source)
        web = http.Web(source.allowed_hosts, dataclasses.replace(http.POLICY, spacing=options.spacing.total_seconds()))
        for span in spans(options, as_of):
            for symbol in options.symbols:
                page = _pages(web, source.locations[0], symbol, span, options)
                yield Delivery(
                    name=f"{symbol}-{span.first_day:%Y%m%d}",
                    parts=(page(1, span.start * 1000),),
                    covers=(span.start, span.end),
                    settles=span.settles,
                    following=_following(page, options),
                )

    def parse(self, source: Source, parts: Mapping[str, bytes]) -> Readings:
        """The readings in a delivery's pages.

        Raises:
            ContractError: A page is no whole JSON, or not what is documented.
        """
        options = read_options(BinanceOptions, source)
        pieces = []
        for file, data in parts.items():
            rows = record_list(load_json(data, file), "", file)
            how = RowOptions(time="open_time", time_format="epoch_ms", interval=options.interval, node=file.partition("-")[0])
            records = [(n, named_row(row, _FIELDS, n, file)) for n, row in enumerate(rows, start=1)]
            pieces.append(read_records(source, how, file, records))
        return gathered(pieces)

    def parse_places(self, source: Source, parts: Mapping[str, bytes]) -> NodeSet:
        """The symbols; nowhere on Earth."""
        return listed_nodes(read_options(BinanceOptions, source).symbols)


def _pages(web: http.Web, address: str, symbol: str, span: Span, options: BinanceOptions) -> Callable[[int, int], Part]:
    interval = _INTERVALS[int(options.interval.total_seconds())]

    def page(number: int, start: int) -> Part:
        asked: dict[str, str | int] = {"symbol": symbol, "interval": interval, "startTime": start}
        asked |= {"endTime": span.end * 1000 - 1, "limit": options.page_size}
        return _part(web, query(address, **asked), f"{symbol}-{span.first_day:%Y%m%d}-p{number:04d}.json")

    return page


def _part(web: http.Web, url: str, name: str) -> Part:
    def fetch(known: Validators | None) -> Fetched | None:
        try:
            return web.fetch(url, known)
        except ConfigError as error:
            if "HTTP 418" not in error.found:
                raise
            raise NotYetAvailable(
                asked=error.asked, found=error.found, mend="the address is banned for a while: come back later"
            ) from error

    def read() -> bytes:
        found = fetch(None)
        return b"" if found is None else found.data

    return Part(name=name, location=web.part(url).location, read=read, fetch=fetch)


def _following(page: Callable[[int, int], Part], options: BinanceOptions) -> Callable[[int, bytes], Part | None]:
    step = int(options.interval.total_seconds()) * 1000

    def following(number: int, data: bytes) -> Part | None:
        try:
            rows = record_list(load_json(data, "page"), "", "page")
            last = int(rows[-1][0]) if len(rows) >= options.page_size else None
        except (ContractError, ValueError, TypeError, LookupError):  # landed as it is, and refused when it is parsed
            return None
        return None if last is None or number + 1 >= _MOST_PAGES else page(number + 2, last + step)

    return following
