"""Caltrans PeMS: five-minute counts, occupancies and speeds of the loop detectors of California's highways.

- A file per district and local day, `d04_text_station_5min_2024_01_15.txt.gz`, without a header: stamp, station, district, freeway,
  direction, lane type, station length, samples, % observed, total flow, average occupancy, average speed; then five columns a lane (samples,
  flow, occupancy, speed, observed), as many lanes as the district's widest road has.
- The clearinghouse at pems.dot.ca.gov wants a login: download there, and name the files (`data://pems/d04_text_station_5min_*.txt.gz`), or a
  mirror that hands them out by day (`start`, `district`).
- Stamps are local wall-clock (`America/Los_Angeles`) and open their five minutes: 08:00:00 is known at 08:05. A detector that sends nothing
  still has its row, with empty values.
- What is not observed is imputed, by PeMS, from neighbours and history: a guess that looks like a measurement. `% observed` says how much of
  a row was measured; less than `observed` counts as missing.
- The node table is `d04_text_meta_….txt`: separated by tabs: `id = "ID"`, `latitude = "Latitude"`, `longitude = "Longitude"`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from pipeline.contracts.deliveries import Delivery
from pipeline.contracts.times import to_seconds
from pipeline.contracts.worlds import Duration, Instant, Source
from pipeline.errors import ConfigError, ContractError
from pipeline.settings import Settings
from pipeline.sources.adapter import Readings
from pipeline.sources.columns import require_columns
from pipeline.sources.csv_options import CsvOptions
from pipeline.sources.delimited import read_columns
from pipeline.sources.files import FileAdapter, check_locations, file_deliveries, node_deliveries
from pipeline.sources.live import LiveOptions, spans
from pipeline.sources.locations import folder_at, if_there
from pipeline.sources.options import read_options
from pipeline.sources.rows import readings_of, row_kinds
from pipeline.sources.stamps import Ambiguous
from pipeline.sources.unpacking import unpacked

_ZONE = "America/Los_Angeles"
_OBSERVED = "% Observed"
_ROAD = (
    *("Timestamp", "Station", "District", "Freeway", "Direction", "Lane Type", "Station Length"),
    *("Samples", _OBSERVED, "Total Flow", "Avg Occupancy", "Avg Speed"),
)
_LANE = ("Samples", "Flow", "Avg Occ", "Avg Speed", "Observed")
_LOCAL = timedelta(hours=8)


class PemsOptions(BaseModel):
    """The `options` of a PeMS source.

    Attributes:
        district, start: A mirror's files are asked for day by day, from this one on; without them the locations name the files.
        revised: For how long after its end a day's file may still change.
        observed: Least percentage of a row that was measured.
        ambiguous: What a stamp in the hour that comes twice in autumn means.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    district: int | None = Field(default=None, ge=1, le=12)
    start: Instant | None = None
    revised: Duration = timedelta(days=7)
    observed: float = Field(default=100.0, ge=0, le=100)
    ambiguous: Ambiguous = "second"

    @model_validator(mode="after")
    def _together(self) -> Self:
        if (self.district is None) != (self.start is None):
            raise ValueError("district and start belong together")
        return self


class PemsAdapter(FileAdapter):
    """Station five-minute files: variables with the columns Total Flow, Avg Occupancy, Avg Speed, Lane 1 Flow, …"""

    example = "d04_text_station_5min_*.txt.gz"

    def check(self, source: Source) -> None:
        """Refuse options that make no sense.

        Raises:
            ConfigError: Naming the option, its value, what is allowed.
        """
        options = read_options(PemsOptions, source)
        check_locations(source, self.example)
        if source.timezone != _ZONE:
            raise ConfigError(asked=f"timezone = '{source.timezone}'", found="not that of the stamps", mend=f"timezone = '{_ZONE}'")
        if options.start is not None and len(source.locations) != 1:
            raise ConfigError(asked=f"locations {list(source.locations)}", found="not one folder", mend="a mirror has one address")

    def deliveries(self, source: Source, settings: Settings, as_of: datetime) -> Iterator[Delivery]:
        """One delivery per file, or per day that is over by `as_of` (empty where the mirror has none), then the node table.

        Raises:
            NotYetAvailable: No file is there, or the mirror is out of reach.
            ConfigError: The location can never be read.
        """
        options = read_options(PemsOptions, source)
        if options.start is None:
            yield from file_deliveries(source, settings)
            return
        folder = folder_at(source.locations[0], source, settings)
        for span in spans(LiveOptions(start=options.start, revised=options.revised), as_of):
            if span.end + int(_LOCAL.total_seconds()) > to_seconds(as_of):
                break
            name = f"d{options.district:02d}_text_station_5min_{span.first_day:%Y_%m_%d}.txt.gz"
            yield Delivery(name=name, parts=(if_there(folder(name)),), covers=(span.start, span.end), settles=span.settles)
        yield from node_deliveries(source, settings)

    def parse(self, source: Source, parts: Mapping[str, bytes]) -> Readings:
        """The readings in a file.

        Raises:
            ContractError: It cannot be read as a whole (truncated, other columns).
        """
        options = read_options(PemsOptions, source)
        [(file, packed)] = parts.items()
        data = unpacked(packed, file) if packed else b""
        names = _names(data, file)
        how = CsvOptions(
            columns=names,
            time="Timestamp",
            time_format="%m/%d/%Y %H:%M:%S",
            node_column="Station",
            interval=timedelta(minutes=5),
            ambiguous=options.ambiguous,
        )
        kinds = {**row_kinds(how, source, "stamp", "number"), _OBSERVED: "number"}
        require_columns(list(names), list(kinds), file)
        found = read_columns(data, kinds, how.dialect, file)
        guessed = ~(found.columns[_OBSERVED] >= options.observed)
        for column, kind in kinds.items():
            if kind == "number" and column != _OBSERVED:
                found.columns[column] = np.where(guessed, np.nan, found.columns[column])
        return readings_of(source, how, file, found, "stamp", "number")


def _names(data: bytes, file: str) -> tuple[str, ...]:
    """The columns of a file, by how many there are."""
    count = data[: data.find(b"\n") if b"\n" in data else len(data)].count(b",") + 1 if data else len(_ROAD) + len(_LANE)
    lanes, rest = divmod(count - len(_ROAD), len(_LANE))
    if rest or not 0 < lanes <= 16:
        mend = "is it a station 5-minute file? else the provider changed its format: compare with its documentation"
        raise ContractError(asked=f"first row of {file}", found=f"{count} fields, not {len(_ROAD)} and five a lane", mend=mend)
    return (*_ROAD, *(f"Lane {lane} {word}" for lane in range(1, lanes + 1) for word in _LANE))
