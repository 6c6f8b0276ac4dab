"""Open-Meteo: hourly weather at listed places, no key: what was (archive) and what was forecast (single runs, by init time).

- `kind = "archive"`: `archive-api.open-meteo.com/v1/archive` (ERA5, days late) or `historical-forecast-api.open-meteo.com/v1/forecast`
  (the first hours of each run, up to today), by `start_date` and `end_date`, both inclusive.
- `kind = "forecast"`: `single-runs-api.open-meteo.com/v1/forecast` with `run=`, the init time in UTC, and `models=`. A run is out some
  hours after its init time: the source's `latency` says how many, `runs` the time between the runs taken, and `ahead` must
  reach the last hour. A run that is late, or that never was, is refused with 400.
- Several places go into one request, comma-separated; the answer is then a list of objects, in that order, else one object. Their
  `latitude` and `longitude` are those of the grid cell, not those asked for.
- Stamps carry no zone and no seconds: with `timezone=GMT` they are UTC. Hours that are not known yet come as null.
- Units come in `hourly_units` (`°C`, `km/h`); they are compared with the world's.
- Errors are `{"error": true, "reason": "…"}`, sometimes with status 200. At most 600 calls a minute, 10,000 a day, one at a time; a
  request for many places or days counts as several calls.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from pipeline.contracts.deliveries import Delivery, Fetched, Part, Validators
from pipeline.contracts.nodes import NodeSet
from pipeline.contracts.times import compact_instant, from_seconds, to_seconds
from pipeline.contracts.worlds import Source
from pipeline.errors import AbsentError, ConfigError, ContractError, NotYetAvailable
from pipeline.settings import Settings
from pipeline.sources.adapter import Readings
from pipeline.sources.columns import require_columns
from pipeline.sources.json import load_json, read_records
from pipeline.sources.live import LiveOptions, check_live, gathered, listed_places, query, spans
from pipeline.sources.options import read_options
from pipeline.sources.row_options import RowOptions
from pipeline.sources.rows import column_of
from pipeline.sources.web import Web

_UNITS = {"°C": "degC", "°F": "degF", "%": "percent", "°": "degree", "W/m²": "W m-2", "mp/h": "mph", "kn": "knot"}
_LATE = timedelta(days=1)
_MEND = "the provider changed its format: compare with its documentation and correct the world file or the adapter"


class OpenMeteoOptions(LiveOptions):
    """The `options` of an Open-Meteo source.

    Attributes:
        model: Forecasts: the weather model whose runs are taken.
        days: Forecasts: days from the init time on.
    """

    kind: Literal["archive", "forecast"]
    model: str | None = None
    days: int = Field(default=3, ge=1, le=16)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (self.kind == "forecast") != (self.model is not None):
            raise ValueError("kind = 'forecast' and model = '…' belong together")
        return self


class OpenMeteoAdapter:
    """Weather that was, or was forecast, at the places that `nodes.rows` lists."""

    def check(self, source: Source) -> None:
        """Refuse options that make no sense.

        Raises:
            ConfigError: Naming the option, its value, what is allowed.
        """
        options = read_options(OpenMeteoOptions, source)
        check_live(source, options, timedelta(days=366), "https://archive-api.open-meteo.com/v1/archive")
        listed_places(source)
        if (options.kind == "forecast") != (source.runs is not None):
            mend = "kind = 'forecast' and runs = '…', the time between runs, belong together"
            raise ConfigError(asked=f"runs = {source.runs}", found=f"options.kind = '{options.kind}'", mend=mend)
        if options.kind == "forecast" and source.ahead < timedelta(days=options.days):
            mend = "else the forecast hours count as stamped in the future"
            raise ConfigError(asked=f"ahead = {source.ahead}", found=f"less than the {options.days} days of a run", mend=mend)

    def deliveries(self, source: Source, settings: Settings, as_of: datetime) -> Iterator[Delivery]:
        """One delivery per span of days, or per run that is out by `as_of`.

        Raises:
            NotYetAvailable: The provider is out of reach, or a run is late.
            ConfigError: The provider refuses the request.
        """
        options, web = read_options(OpenMeteoOptions, source), Web(source.allowed_hosts)
        places = listed_places(source)
        where = {"latitude": ",".join(f"{v:g}" for v in places.latitude), "longitude": ",".join(f"{v:g}" for v in places.longitude)}
        what = {"hourly": ",".join(column_of(n, v) for n, v in source.variables.items()), "timezone": "GMT"}
        if options.kind == "forecast":
            yield from _runs(source, options, web, {**where, **what}, as_of)
            return
        for span in spans(options, as_of):
            # A day after today is refused by the archive; other hosts give forecasts for it.
            last = from_seconds(min(to_seconds(span.last_day), to_seconds(as_of)))
            when = {"start_date": f"{span.first_day:%Y-%m-%d}", "end_date": f"{last:%Y-%m-%d}"}
            name = f"{span.first_day:%Y%m%d}-{span.last_day:%Y%m%d}.json"
            part = _part(web, query(source.locations[0], **where, **when, **what), name)
            yield Delivery(name=name, parts=(part,), covers=(span.start, span.end), settles=span.settles)

    def parse(self, source: Source, parts: Mapping[str, bytes]) -> Readings:
        """The readings in a delivery's bytes.

        Raises:
            ContractError: The answer is no whole JSON, an error, or not what is documented (a key, a unit, a length).
        """
        [(file, data)] = parts.items()
        document = load_json(data, file)
        answers = document if isinstance(document, list) else [document]
        places = listed_places(source)
        if len(answers) != len(places):
            raise ContractError(asked=f"{len(places)} places in {file}", found=f"{len(answers)} answers", mend=_MEND)
        found = gathered([_parse_place(source, file, i, answer) for i, answer in zip(places.ids, answers, strict=True)])
        run = re.match(r"run-(\d{8}T\d{4})", file)
        if run is None:
            return found
        init = to_seconds(datetime.strptime(run.group(1), "%Y%m%dT%H%M").replace(tzinfo=UTC))
        return dataclasses.replace(found, init_time=np.full(len(found), init, np.int64))

    def parse_places(self, source: Source, parts: Mapping[str, bytes]) -> NodeSet:
        """The places that the world lists; raises as `listed_places` does."""
        return listed_places(source)


def _runs(source: Source, options: OpenMeteoOptions, web: Web, asked: dict[str, str], as_of: datetime) -> Iterator[Delivery]:
    cycle, latency = int((source.runs or _LATE).total_seconds()), int(source.latency.total_seconds())
    first = -(-to_seconds(options.start) // cycle) * cycle
    for init in range(first, to_seconds(as_of) - latency + 1, cycle):
        moment = from_seconds(init)
        run = {"run": f"{moment:%Y-%m-%dT%H:%M}", "models": str(options.model), "forecast_days": str(options.days)}
        name = f"run-{compact_instant(moment)[:13]}.json"
        part = _part(web, query(source.locations[0], **asked, **run), name, run=True)
        covers = (init, init + options.days * 86400)
        yield Delivery(name=name, parts=(part,), covers=covers, published_time=init + latency, settles=init + latency)


def _part(web: Web, url: str, name: str, *, run: bool = False) -> Part:
    """An answer that is no error; a `run` that is refused is absent."""

    def fetch(known: Validators | None) -> Fetched | None:
        try:
            found = web.fetch(url, known)
        except ConfigError as error:
            if not run or "HTTP 400" not in error.found:
                raise
            mend = "the run is late, or never was; where all runs are refused, correct the options in the world file"
            raise AbsentError(asked=error.asked, found=error.found, mend=mend) from error
        if found is not None and found.data[:100].replace(b" ", b"").startswith(b'{"error":true'):
            raise NotYetAvailable(asked=f"GET {url}", found=found.data[:300].decode("utf-8", errors="replace"), mend="come back later")
        return found

    def read() -> bytes:
        found = fetch(None)
        return b"" if found is None else found.data

    return Part(name=name, location=web.part(url).location, read=read, fetch=fetch)


def _parse_place(source: Source, file: str, place: str, answer: Any) -> Readings:
    if not isinstance(answer, dict) or answer.get("error") or not isinstance(answer.get("hourly"), dict):
        reason = answer.get("reason", f"keys {', '.join(answer)}") if isinstance(answer, dict) else f"a {type(answer).__name__}"
        raise ContractError(asked=f"key 'hourly' of {file} ({place})", found=str(reason)[:300], mend=_MEND)
    if str(answer.get("utc_offset_seconds", "0")) != "0":
        raise ContractError(asked=f"UTC in {file}", found=f"utc_offset_seconds {answer['utc_offset_seconds']}", mend=_MEND)
    hourly, units = answer["hourly"], answer.get("hourly_units", {})
    columns = ["time", *(column_of(name, variable) for name, variable in source.variables.items())]
    require_columns(list(hourly), columns, file)
    for name, variable in source.variables.items():
        unit = str(units.get(column_of(name, variable), "none"))
        if _UNITS.get(unit, unit) != variable.unit:
            asked = f"unit of key 'hourly.{column_of(name, variable)}' of {file}"
            raise ContractError(asked=asked, found=f"'{unit}', not '{variable.unit}'", mend="correct the variable's unit in the world file")
    lengths = {key: len(hourly[key]) if isinstance(hourly[key], list) else -1 for key in columns}
    if len(set(lengths.values())) != 1 or -1 in lengths.values():
        raise ContractError(asked=f"lists of one length in 'hourly' of {file}", found=str(lengths), mend=_MEND)
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*(hourly[key] for key in columns), strict=True)]
    known = [(n, row) for n, row in enumerate(rows, start=1) if any(row[key] is not None for key in columns[1:])]
    numbered = [(n, row) for n, (_, row) in enumerate(known, start=1)]
    return read_records(source, RowOptions(time="time", node=place), file, numbered)
