"""Live providers as they answer, and sources that ask them."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pipeline.contracts.worlds import Source
from pipeline.settings import Settings
from pipeline.sources.adapter import Readings
from pipeline.sources.registry import adapter_named
from pipeline.stores.landing import LandingStore
from pipeline.stores.objects import ObjectStore
from tests.unit.sources.made import source
from tests.unit.sources.server import Answer, Asked, Provider

NOW = datetime(2026, 1, 3, 6, tzinfo=UTC)
START = "2026-01-01T00:00Z"
PLACES = {"rows": [["a", 51.5, -0.1], ["b", 51.25, 0.5]]}
TEMPERATURE = {"temperature": {"column": "temperature_2m", "unit": "degC"}}
TRAFFIC = {"vehicles": {"column": "Total Volume", "unit": "count"}, "speed": {"column": "Avg mph", "unit": "mph"}}
PRICE = {"price": {"unit": "GBP/MWh"}, "volume": {"unit": "MWh"}}


def reply(content: Any, **fields: Any) -> Answer:
    return Answer(body=json.dumps(content).encode(), **fields)


def at_provider(adapter: str, p: Provider, path: str, options: dict[str, Any], variables: dict[str, Any], **fields: Any) -> Source:
    made = source(adapter, {"start": START, **options}, variables, locations=[p.url(path)], allowed_hosts=[p.host], **fields)
    adapter_named(adapter).check(made)
    return made


def landed(made: Source, folder: Path, moment: datetime = NOW) -> list[Readings]:
    """Land everything and parse the readings that are new."""
    store = LandingStore(ObjectStore(str(folder)), "w", "s")
    adapter = adapter_named(made.adapter)
    settings = Settings(store=str(folder), data=None, dask=None)
    fresh = store.land(adapter.deliveries(made, settings, moment), int(moment.timestamp()))
    return [adapter.parse(made, store.read(d)) for d in fresh if d.role == "readings"]


def hourly(asked: Asked, unit: str = "°C", hours: int = 24) -> list[dict[str, Any]]:
    day = asked.query.get("start_date") or asked.query["run"][:10]
    one = {
        "latitude": 51.49,
        "longitude": -0.12,
        "generationtime_ms": 0.05,
        "utc_offset_seconds": 0,
        "timezone": "GMT",
        "hourly_units": {"time": "iso8601", "temperature_2m": unit},
        "hourly": {
            "time": [f"{day}T{h:02d}:00" for h in range(hours)],
            "temperature_2m": [h + 0.5 if h < 20 else None for h in range(hours)],
        },
    }
    return [one, one]


def archive(p: Provider) -> Source:
    return at_provider("open_meteo", p, "/v1/archive", {"kind": "archive", "revised": "1d"}, TEMPERATURE, nodes=PLACES)


SITES = {"rows": [["5", 51.5, 0.3], ["8", 51.4, -0.5]]}


def report(asked: Asked, rows: int = 5) -> Answer:
    """A page of a daily report, as the provider writes it."""
    page, size, day = int(asked.query["page"]), int(asked.query["page_size"]), asked.query["start_date"]
    if asked.query["sites"] == "8":
        return Answer(status=204)
    quarters = range((page - 1) * size, min(page * size, rows))
    link = {"href": "http://elsewhere.example/api/v1.0/reports/Daily?page=2", "rel": "nextPage"}
    links = [link] if page * size < rows else [{**link, "rel": "prevPage"}]
    written = [
        {
            "Site Name": "M25/5764B",
            "Report Date": f"{day[4:]}-{day[2:4]}-{day[:2]}T00:00:00",
            "Time Period Ending": f"{q // 4:02d}:{q % 4 * 15 + 14}:00",
            "Time Interval": str(q),
            "0 - 520 cm": "60",
            "0 - 10 mph": "",
            "Avg mph": "53" if q else "",
            "Total Volume": str(70 + q),
        }
        for q in quarters
    ]
    return reply({"Header": {"row_count": rows, "start_date": day, "end_date": day, "links": links}, "Rows": written})


def webtris(p: Provider, **fields: Any) -> Source:
    return at_provider("webtris", p, "/api/v1.0", {"page_size": 2}, TRAFFIC, nodes=SITES, timezone="Europe/London", **fields)


def index(asked: Asked) -> list[dict[str, Any]]:
    day = asked.query["from"][:10]
    rows = [
        {"startTime": f"{day}T{h:02d}:{m:02d}:00Z", "dataProvider": who, "settlementDate": day, "settlementPeriod": 2 * h + m // 30 + 1}
        for h in (1, 0)
        for m in (30, 0)
        for who in asked.query["dataProviders"].split(",")
    ]
    return [
        {**row, "price": 0.0 if row["dataProvider"] == "N2EXMIDP" else -3.5, "volume": 0.0 if row["dataProvider"] == "N2EXMIDP" else 100}
        for row in rows
    ]


def elexon(p: Provider) -> Source:
    return at_provider("elexon", p, "/bmrs/market-index", {"providers": ["APXMIDP", "N2EXMIDP"], "span": "2d"}, PRICE)
