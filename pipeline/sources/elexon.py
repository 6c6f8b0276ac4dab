"""Elexon Insights: the market index price of electricity in Great Britain, by half hour, no key.

- `data.elexon.co.uk/bmrs/api/v1/balancing/pricing/market-index?from=…&to=…&dataProviders=…&format=json`; without settlement periods,
  `from` and `to` are start times in UTC, both inclusive. At most 7 days a request are asked.
- The answer is `{"metadata": …, "data": [{startTime, dataProvider, settlementDate, settlementPeriod, price, volume}, …]}`, newest
  first. `startTime` opens the half hour: the value is of its end. A settlement day is local and has 46 to 50 periods: not used here.
- A node is a data provider: APXMIDP (EPEX SPOT) or N2EXMIDP. A provider whose trade was too thin reports price 0 and volume 0: that
  price is missing, not zero. A price may be negative.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

from pydantic import Field

from pipeline.contracts.deliveries import Delivery
from pipeline.contracts.nodes import NodeSet
from pipeline.contracts.times import from_seconds
from pipeline.contracts.worlds import Source
from pipeline.errors import ConfigError
from pipeline.settings import Settings
from pipeline.sources.adapter import Readings
from pipeline.sources.json import load_json, read_records, record_list
from pipeline.sources.live import LiveOptions, check_live, listed_places, query, spans
from pipeline.sources.options import read_options
from pipeline.sources.row_options import RowOptions
from pipeline.sources.web import Web

_HALF_HOUR = timedelta(minutes=30)
_ROWS = RowOptions(time="startTime", node_column="dataProvider", interval=_HALF_HOUR)


class ElexonOptions(LiveOptions):
    """The `options` of an Elexon source.

    Attributes:
        providers: The market index data providers asked for.
    """

    providers: tuple[str, ...] = Field(default=("APXMIDP",), min_length=1)


class ElexonAdapter:
    """Market index data: variables with the columns `price` [GBP/MWh] and `volume` [MWh]."""

    def check(self, source: Source) -> None:
        """Refuse options that make no sense.

        Raises:
            ConfigError: Naming the option, its value, what is allowed.
        """
        options = read_options(ElexonOptions, source)
        example = "https://data.elexon.co.uk/bmrs/api/v1/balancing/pricing/market-index"
        check_live(source, options, timedelta(days=7), example)
        strange = [p for p in options.providers if p not in ("APXMIDP", "N2EXMIDP")]
        if strange:
            raise ConfigError(asked=f"options.providers '{strange[0]}'", found="no such provider", mend="use APXMIDP or N2EXMIDP")

    def deliveries(self, source: Source, settings: Settings, as_of: datetime) -> Iterator[Delivery]:
        """One delivery per span of days.

        Raises:
            NotYetAvailable: The provider is out of reach.
            ConfigError: The provider refuses the request.
        """
        options, web = read_options(ElexonOptions, source), Web(source.allowed_hosts)
        for span in spans(options, as_of):
            last = from_seconds(span.end) - _HALF_HOUR
            when = {"from": f"{span.first_day:%Y-%m-%dT%H:%MZ}", "to": f"{last:%Y-%m-%dT%H:%MZ}"}
            url = query(source.locations[0], **when, dataProviders=",".join(options.providers), format="json")
            part = web.part(url, f"{span.first_day:%Y%m%d}-{span.last_day:%Y%m%d}.json")
            yield Delivery(name=part.name, parts=(part,), covers=(span.start, span.end), settles=span.settles)

    def parse(self, source: Source, parts: Mapping[str, bytes]) -> Readings:
        """The readings in a delivery's bytes.

        Raises:
            ContractError: The answer is no whole JSON, or not what is documented.
        """
        [(file, data)] = parts.items()
        rows = record_list(load_json(data, file), "data", file)
        return read_records(source, _ROWS, file, list(enumerate((_without_index(row) for row in rows), start=1)))

    def parse_places(self, source: Source, parts: Mapping[str, bytes]) -> NodeSet:
        """The places that the world lists; raises as `listed_places` does."""
        return listed_places(source)


def _without_index(row: Any) -> Any:
    """A row whose price is no index because nothing was traded has none."""
    if isinstance(row, dict) and {"price", "volume"} <= row.keys() and {str(row["price"]), str(row["volume"])} <= {"0", "0.0", "0.00"}:
        return {**row, "price": None}
    return row
