"""NOAA GFS: global weather forecasts of every run, from public buckets, no key; of each file only the messages wanted. Extra `grib`.

- `s3://anonymous@noaa-gfs-bdp-pds` (or `https://noaa-gfs-bdp-pds.s3.amazonaws.com`):
  `gfs.YYYYMMDD/HH/atmos/gfs.tHHz.pgrb2.0p25.fFFF`, without `atmos/` before the run of 2021-03-22 12:00. Runs every 6 h; hourly to 120 h,
  then every 3 h to 384 h.
- Beside each file lies its index, `….idx`: `number:offset:d=YYYYMMDDHH:PARAMETER:LEVEL:FORECAST:`. A message ends where the next offset
  begins; two lines may share one. The bytes fetched must be that message, whole.
- A file half a gigabyte long comes to a few messages of half a megabyte each. A run is out 3.5 to 5 h after its start, lead by lead: one that
  is late is asked for again; one that is a day late is a hole in the archive.
- Accumulations (`APCP`) come twice: since the start of the run, and since the last 6 h; name the one meant in `index`. They, and means, are
  not in the file of lead 0.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal, Self

import numpy as np
from pydantic import ConfigDict, Field, model_validator

from pipeline.contracts.deliveries import Delivery, Part
from pipeline.contracts.nodes import NodeSet
from pipeline.contracts.times import from_seconds, to_seconds
from pipeline.contracts.worlds import Duration, Instant, Source
from pipeline.errors import ConfigError, ContractError, NotYetAvailable
from pipeline.settings import Settings
from pipeline.sources.adapter import Readings
from pipeline.sources.files import FileAdapter, check_locations, node_deliveries
from pipeline.sources.grib import decoded_apart, grib_readings, grid_cells
from pipeline.sources.grib_messages import check_installed
from pipeline.sources.grids import GridOptions, gridded_readings
from pipeline.sources.locations import if_there, ranges_at
from pipeline.sources.node_tables import parse_places
from pipeline.sources.options import read_options
from pipeline.sources.rows import column_of

_ATMOS_SINCE = datetime(2021, 3, 22, 12, tzinfo=UTC)
_LATE = timedelta(days=1)
_HOUR = 3600
_MOST_INDEX = 2**20
_INDEX = {
    "2t": "TMP:2 m above ground",
    "2d": "DPT:2 m above ground",
    "2r": "RH:2 m above ground",
    "10u": "UGRD:10 m above ground",
    "10v": "VGRD:10 m above ground",
    "gust": "GUST:surface",
    "prmsl": "PRMSL:mean sea level",
    "sp": "PRES:surface",
    "prate": "PRATE:surface",
    "tp": "APCP:surface:{since_start} acc fcst",
    "vis": "VIS:surface",
    "cape": "CAPE:surface",
    "tcc": "TCDC:entire atmosphere",
}

Ranges = Callable[[str, int, int | None], bytes]


class GfsOptions(GridOptions):
    """The `options` of a GFS source.

    Attributes:
        start: From which run on.
        every: Hours from one lead to the next; the last is the source's `ahead`.
        resolution: Degrees of the grid.
        index: What a variable's column is called in the index, where that is not known here: "PARAMETER:LEVEL" and, to tell
            two apart, ":FORECAST", in which {lead} is the hours since the start of the run and {since_start} all of them as written.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    start: Instant
    every: Duration = timedelta(hours=3)
    resolution: Literal["0p25", "0p50", "1p00"] = "0p25"
    index: dict[str, str] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.every.total_seconds() < _HOUR or self.every.total_seconds() % _HOUR:
            raise ValueError(f"every {self.every} is no number of hours")
        return self


@dataclass(frozen=True, kw_only=True)
class _Line:
    """One line of an index."""

    offset: int
    fields: tuple[str, ...]


class GfsAdapter(FileAdapter):
    """Runs of the GFS, each one delivery with a part per lead."""

    example = "gfs"

    def check(self, source: Source) -> None:
        """Refuse options that make no sense.

        Raises:
            ConfigError: Naming the option, its value, what is allowed; or the extra that is not installed.
        """
        options = read_options(GfsOptions, source)
        check_locations(source, self.example)
        if source.runs is None or source.runs % timedelta(hours=6):
            raise ConfigError(asked=f"runs = {source.runs}", found="no multiple of 6h", mend="runs = '6h' takes all four runs of a day")
        if source.ahead % options.every:
            raise ConfigError(
                asked=f"ahead = {source.ahead}", found=f"no multiple of every = {options.every}", mend="ahead is the last lead"
            )
        strange = [c for c in _columns(source) if c not in {**_INDEX, **options.index}]
        if strange:
            mend = f"known are {', '.join(_INDEX)}; give others in options.index = {{ '{strange[0]}' = 'PARAMETER:LEVEL' }}"
            raise ConfigError(asked=f"column '{strange[0]}'", found="no name in the index", mend=mend)
        check_installed()

    def deliveries(self, source: Source, settings: Settings, as_of: datetime) -> Iterator[Delivery]:
        """One delivery per run that is out by `as_of`, then the grid of the first, or the node table.

        Raises:
            NotYetAvailable: The service is out of reach, or a run is late.
            ConfigError: The service refuses the request.
        """
        options = read_options(GfsOptions, source)
        ranges = ranges_at(source.locations[0], source, settings)
        cycle, latency = int((source.runs or _LATE).total_seconds()), int(source.latency.total_seconds())
        first = -(-to_seconds(options.start) // cycle) * cycle
        for init in range(first, to_seconds(as_of) - latency + 1, cycle):
            moment = from_seconds(init)
            parts = tuple(_part(source, options, ranges, moment, lead) for lead in _leads(source, options))
            known = tuple(if_there(part) for part in parts) if as_of - moment > _LATE else parts
            covers = (init, init + int(source.ahead.total_seconds()))
            yield Delivery(name=f"{moment:%Y%m%dT%H}", parts=known, covers=covers, published_time=init + latency, settles=init + latency)
            if init == first and source.nodes is None:
                yield Delivery(name="grid", parts=parts[:1], role="nodes", settles=init + latency)
        yield from node_deliveries(source, settings)

    def parse(self, source: Source, parts: Mapping[str, bytes]) -> Readings:
        """The readings in the messages of a run.

        Raises:
            ContractError: A message is damaged, or of another parameter, grid or unit.
        """
        options, names = read_options(GfsOptions, source), list(parts)
        data = b"".join(parts.values())
        if not data:
            empty = {name: np.zeros((0, 0)) for name in source.variables}
            return gridded_readings((), np.zeros(0, np.int64), empty, options, "nothing", init=np.zeros(0, np.int64))
        return grib_readings(source, options, data, f"{names[0]} … {names[-1]}")

    def parse_places(self, source: Source, parts: Mapping[str, bytes]) -> NodeSet:
        """The places in a node table, or the cells of the grid row by row.

        Raises:
            ContractError: The file as a whole cannot be read.
        """
        if source.nodes is not None:
            return parse_places(source, parts)
        [(file, data)] = parts.items()
        return grid_cells(decoded_apart(data, file, [], read_options(GfsOptions, source)))


def _columns(source: Source) -> tuple[str, ...]:
    return tuple(dict.fromkeys(column_of(n, v) for n, v in source.variables.items()))


def _leads(source: Source, options: GfsOptions) -> range:
    step = int(options.every.total_seconds()) // _HOUR
    return range(0, int(source.ahead.total_seconds()) // _HOUR + 1, step)


def _part(source: Source, options: GfsOptions, ranges: Ranges, init: datetime, lead: int) -> Part:
    folder = f"gfs.{init:%Y%m%d}/{init:%H}/" + ("atmos/" if init >= _ATMOS_SINCE else "")
    name = f"gfs.t{init:%H}z.pgrb2.{options.resolution}.f{lead:03d}"
    wanted = [{**_INDEX, **options.index}[c] for c in _columns(source)]

    def read() -> bytes:
        index = _index(ranges(f"{folder}{name}.idx", 0, None), init, f"{name}.idx")
        offsets = sorted({line.offset for line in index})
        out = []
        for text in wanted:
            start = _place(index, text, lead, f"{name}.idx")
            if start is not None:
                stop = next((o for o in offsets if o > start), None)
                out.append(_message(ranges(folder + name, start, stop), f"{name} at byte {start}"))
        return b"".join(out)

    return Part(name=name, location=f"{source.locations[0].rstrip('/')}/{folder}{name}", read=read)


def _index(data: bytes, init: datetime, file: str) -> list[_Line]:
    lines = []
    text = data[:_MOST_INDEX].decode("utf-8", errors="replace")
    for number, line in enumerate(text.splitlines(), start=1):
        words = line.split(":")
        if len(words) < 6 or not words[1].isdigit() or words[2] != f"d={init:%Y%m%d%H}":
            mend = "the provider changed its format, or mixed up its files: compare with the head of the adapter"
            raise ContractError(asked=f"line {number} of {file}", found=line[:200], mend=mend)
        lines.append(_Line(offset=int(words[1]), fields=tuple(words[3:])))
    if not lines:
        raise NotYetAvailable(asked=f"index {file}", found="no line", mend="it is being written: come back")
    return lines


def _place(index: list[_Line], text: str, lead: int, file: str) -> int | None:
    """Offset of the message that a text of `index` means; None for one that lead 0 does not have."""
    written = f"0-{lead // 24} day" if lead and lead % 24 == 0 else f"0-{lead} hour"
    fields = tuple(text.replace("{lead}", str(lead)).replace("{since_start}", written).split(":"))
    found = {line.fields: line.offset for line in reversed(index) if line.fields[: len(fields)] == fields}
    if not found and lead == 0:
        return None
    if len(found) != 1:
        said = "; ".join(":".join(f).rstrip(":") for f in found) or f"{len(index)} others"
        mend = "write in options.index what tells them apart" if found else "correct options.index to what the index says"
        raise ContractError(asked=f"'{':'.join(fields)}' in {file}", found=said, mend=mend)
    return next(iter(found.values()))


def _message(data: bytes, where: str) -> bytes:
    if data[:4] != b"GRIB" or data[7:8] != b"\2" or int.from_bytes(data[8:16], "big") != len(data) or data[-4:] != b"7777":
        found = f"{len(data)} bytes that are no whole message: index and file do not belong together"
        raise NotYetAvailable(asked=f"message of {where}", found=found, mend="they are being replaced: come back")
    return data
