"""The made-up world as feeds with all the faults of real ones, planted and listed.

- `weather`: NetCDF-3 files; per slab its time and when it was published; `nodes.csv` says which cell is where.
- `roads`: CSV; local stamps with their offset; decimal points; a column says when each row was published.
- `prices`: CSV with `;`, decimal commas and epoch seconds; the same column.
- `outlook`: forecasts of the weather by others (`synthetic_outlook`); `notices`: texts about the roads (`synthetic_notices`).
"""

from __future__ import annotations

import difflib
import io
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.contracts.deliveries import Delivery, Part
from pipeline.contracts.nodes import NodeSet
from pipeline.contracts.times import compact_instant, from_seconds, to_seconds
from pipeline.contracts.worlds import NodeTable, Source
from pipeline.errors import ConfigError, ContractError
from pipeline.settings import Settings
from pipeline.sources.adapter import Readings, Slabs
from pipeline.sources.csv import parse_long
from pipeline.sources.csv_options import CsvOptions
from pipeline.sources.json import parse_lines
from pipeline.sources.node_tables import parse_places
from pipeline.sources.options import read_options
from pipeline.sources.slabs import slabs_of, times_of
from pipeline.sources.stamps import utc_offsets
from pipeline.sources.synthetic_faults import PlantedFault, Reports, plant
from pipeline.sources.synthetic_notices import NOTICE_ROWS, notice_deliveries
from pipeline.sources.synthetic_outlook import OUTLOOK_ROWS, outlook_deliveries
from pipeline.sources.synthetic_truth import Feed, SyntheticOptions, Truth, cell_axes, truth

__all__ = ["FEED_VARIABLES", "Made", "SyntheticAdapter", "SyntheticOptions", "Truth", "made", "truth"]

FEED_VARIABLES: dict[Feed, tuple[str, ...]] = {
    "weather": ("temperature", "rain"),
    "roads": ("speed", "count"),
    "prices": ("price",),
    "outlook": ("temperature", "rain"),
    "notices": (),
}
_ROADS = CsvOptions(time="stamp", node_column="sensor", published="published")
_PRICES = CsvOptions(
    separator=";",
    decimal=",",
    time="time",
    time_format="epoch_s",
    node_column="good",
    published="published",
    published_format="epoch_s",
)
_CELLS = NodeTable(location="nodes.csv")


@dataclass(frozen=True, kw_only=True, eq=False)
class Made:
    """What one feed reports, and the faults planted in it."""

    reports: Reports
    faults: tuple[PlantedFault, ...]


def made(options: SyntheticOptions, latency: int) -> Made:
    """Everything that the feed of `options` will ever report, with noise and faults; `latency` seconds after each instant."""
    reports, faults = plant(options, truth(options), latency)
    return Made(reports=reports, faults=faults)


class SyntheticAdapter:
    """The made-up world."""

    def check(self, source: Source) -> None:
        """Refuse options or variables that the feed does not have.

        Raises:
            ConfigError: Naming the key, its value, what is allowed.
        """
        feed = read_options(SyntheticOptions, source).feed
        known = FEED_VARIABLES[feed]
        if source.slabs and feed != "weather":
            raise ConfigError(asked=f"slabs of feed '{feed}'", found="no grids", mend="only feed 'weather' delivers grids")
        if (feed == "outlook") != (source.runs is not None) or (feed == "notices") != (source.text is not None):
            mend = "feed 'outlook' comes in runs and 'notices' are texts, no others"
            raise ConfigError(asked=f"feed '{feed}'", found=f"runs = {source.runs}, text = {source.text}", mend=mend)
        for name, variable in source.variables.items():
            column = variable.column or name
            if column not in known:
                close = difflib.get_close_matches(column, known, n=1)
                raise ConfigError(
                    asked=f"variables.{name} of feed '{source.options['feed']}'",
                    found=f"no column '{column}'",
                    mend=(f"did you mean '{close[0]}'? " if close else "") + f"there are {', '.join(known)}",
                )

    def deliveries(self, source: Source, settings: Settings, as_of: datetime) -> Iterator[Delivery]:
        """One delivery per interval that is over at `as_of`, with what was published in it; the places of the nodes first."""
        options = read_options(SyntheticOptions, source)
        if options.feed in ("outlook", "notices"):
            offered = outlook_deliveries if options.feed == "outlook" else notice_deliveries
            yield from offered(source, options, to_seconds(as_of))
            return
        feed = made(options, int(source.latency.total_seconds())).reports
        truths = truth(options)
        places = _places_csv(options, truths)
        if places is not None:
            yield Delivery(name="nodes.csv", parts=(_part(options, "nodes.csv", lambda: places),), role="nodes")
        start, length = to_seconds(options.start), int(options.delivery.total_seconds())
        interval = -(-(feed.published - start) // length)
        last = int(min(interval.max(initial=0), (to_seconds(as_of) - start) // length))
        for number in range(1, last + 1):
            rows = np.flatnonzero(interval == number)
            end = start + number * length
            name = f"{options.feed}-{compact_instant(from_seconds(end))}.{'nc' if options.feed == 'weather' else 'csv'}"
            if len(rows):
                yield Delivery(
                    name=name,
                    parts=(_part(options, name, _renderer(options, feed, rows)),),
                    covers=(int(feed.valid[rows].min()), int(feed.valid[rows].max())),
                    published_time=end,
                )

    def parse(self, source: Source, parts: Mapping[str, bytes]) -> Readings:
        """The readings in a delivery's bytes.

        Raises:
            ContractError: The file as a whole cannot be read.
        """
        [(file, data)] = parts.items()
        feed = read_options(SyntheticOptions, source).feed
        if feed == "weather":
            return _parse_slabs(source, file, data)
        if feed == "notices":
            return parse_lines(source, NOTICE_ROWS, file, data)
        return parse_long(source, {"roads": _ROADS, "outlook": OUTLOOK_ROWS}.get(feed, _PRICES), file, data)

    def slab_times(self, source: Source, parts: Mapping[str, bytes]) -> Readings:
        """Which grids of the weather a delivery holds; raises as `parse` does."""
        return times_of(self.parse(source, parts), len(_cell_ids(source)))

    def slabs(self, source: Source, parts: Mapping[str, bytes], rows: NDArray[np.int64]) -> Slabs:
        """The grids of these numbers; raises as `parse` does."""
        return slabs_of(self.parse(source, parts), *cell_axes(read_options(SyntheticOptions, source)), rows)

    def parse_places(self, source: Source, parts: Mapping[str, bytes]) -> NodeSet:
        """The cells of the grid row by row, or the sensors.

        Raises:
            ContractError: The file as a whole cannot be read.
        """
        options = read_options(SyntheticOptions, source)
        found = parse_places(source.model_copy(update={"nodes": _CELLS}), parts)
        shape = (options.rows, options.columns) if options.feed == "weather" else None
        return NodeSet(ids=found.ids, latitude=found.latitude, longitude=found.longitude, shape=shape)


def _part(options: SyntheticOptions, name: str, read: Callable[[], bytes]) -> Part:
    return Part(name=name, location=f"synthetic://{options.seed}/{options.feed}/{name}", read=read)


def _places_csv(options: SyntheticOptions, truths: Truth) -> bytes | None:
    if options.feed == "prices":
        return None
    cells = options.feed == "weather"
    ids, places = (truths.cell_ids, truths.cell_place_C2) if cells else (truths.sensor_ids, truths.sensor_place_N2)
    lines = [f"{i},{y:.6f},{x:.6f}" for i, (y, x) in zip(ids, places, strict=True)]
    return ("id,latitude,longitude\n" + "\n".join(lines) + "\n").encode()


def _renderer(options: SyntheticOptions, feed: Reports, rows: NDArray[np.int64]) -> Callable[[], bytes]:
    if options.feed == "weather":
        return lambda: _slabs(feed, rows)
    return lambda: _roads_csv(feed, rows, options.timezone) if options.feed == "roads" else _prices_csv(feed, rows)


def _slabs(feed: Reports, rows: NDArray[np.int64]) -> bytes:
    """Rows as NetCDF-3: each report of the grid's feed is one slab of all cells."""
    from scipy.io import netcdf_file

    sink = io.BytesIO()
    file = netcdf_file(sink, "w", version=2)
    file.createDimension("time", len(rows))
    file.createDimension("cell", len(feed.ids))
    for name, content in (("time", feed.valid[rows]), ("published", feed.published[rows])):
        file.createVariable(name, "f8", ("time",))[:] = content.astype(np.float64)
    for name, values in feed.values.items():
        file.createVariable(name, "f4", ("time", "cell"))[:] = values[rows].astype(np.float32)
    file.flush()
    written = sink.getvalue()
    file.close()
    return written


def _iso_local(seconds: NDArray[np.int64], zone: str) -> list[str]:
    offsets = utc_offsets(seconds, zone)
    texts = np.datetime_as_string((seconds + offsets).astype("datetime64[s]"), unit="s")
    ends = {int(o): f"{'+' if o >= 0 else '-'}{abs(int(o)) // 3600:02d}:{abs(int(o)) % 3600 // 60:02d}" for o in np.unique(offsets)}
    return [f"{text}{ends[int(o)]}" for text, o in zip(texts, offsets, strict=True)]


def _roads_csv(feed: Reports, rows: NDArray[np.int64], zone: str) -> bytes:
    stamps = _iso_local(feed.valid[rows], zone)
    published = np.datetime_as_string(feed.published[rows].astype("datetime64[s]"), unit="s")
    speed, count = feed.values["speed"][rows], feed.values["count"][rows]
    lines = ["stamp,sensor,speed,count,published"]
    for i, row in enumerate(rows):
        lines.append(f"{stamps[i]},{feed.ids[feed.node[row]]},{_plain(speed[i], 1)},{_plain(count[i], 0)},{published[i]}Z")
        lines += feed.garbage.get(int(row), ())
    return ("\n".join(lines) + "\n").encode()


def _prices_csv(feed: Reports, rows: NDArray[np.int64]) -> bytes:
    lines = ["time;good;price;published"]
    for row in rows:
        price = _plain(feed.values["price"][row], 4).replace(".", ",")
        lines.append(f"{feed.valid[row]};{feed.ids[feed.node[row]]};{price};{feed.published[row]}")
        lines += feed.garbage.get(int(row), ())
    return ("\n".join(lines) + "\n").encode()


def _plain(value: float, digits: int) -> str:
    return "" if np.isnan(value) else f"{value:.{digits}f}"


def _parse_slabs(source: Source, file: str, data: bytes) -> Readings:
    time, published, fields = _read_netcdf(file, data, [v.column or n for n, v in source.variables.items()])
    slabs, cells = next(iter(fields.values())).shape
    ids = _cell_ids(source)
    if len(ids) != cells:
        raise ContractError(
            asked=f"{len(ids)} cells in {file}", found=f"{cells}", mend="rows and columns of the world differ from the file's"
        )
    return Readings(
        node_ids=ids,
        node=np.tile(np.arange(cells, dtype=np.int32), slabs),
        valid_time=np.repeat(np.ceil(time).astype(np.int64), cells),
        published_time=np.repeat(np.ceil(published).astype(np.int64), cells),
        values={n: fields[v.column or n].astype(np.float64).ravel() for n, v in source.variables.items()},
        row=np.arange(1, slabs * cells + 1),
        raw_rows=slabs * cells,
    )


def _cell_ids(source: Source) -> tuple[str, ...]:
    options = read_options(SyntheticOptions, source)
    return tuple(f"y{y:03d}x{x:03d}" for y in range(options.rows) for x in range(options.columns))


def _read_netcdf(file: str, data: bytes, names: list[str]) -> tuple[NDArray[Any], NDArray[Any], dict[str, NDArray[Any]]]:
    from scipy.io import netcdf_file

    try:
        with netcdf_file(io.BytesIO(data), "r", mmap=False) as content:
            arrays: dict[str, NDArray[Any]] = {name: np.array(content.variables[name][:]) for name in ("time", "published", *names)}
            widths = {len(content.dimensions), *(len(arrays["time"]) - len(a) for a in arrays.values())}
    except KeyError as error:
        raise ContractError(asked=f"variable {error} of {file}", found="no such variable", mend="correct the world's variables") from error
    except (ValueError, TypeError, IndexError, EOFError, OSError, OverflowError, MemoryError) as error:
        raise ContractError(
            asked=f"read {file} ({len(data)} bytes) as NetCDF",
            found=f"{type(error).__name__}: {error}",
            mend="fetch the file again; a newer delivery of the same name takes its place",
        ) from error
    if widths != {2, 0} or not (np.isfinite(arrays["time"]).all() and np.isfinite(arrays["published"]).all()):
        raise ContractError(
            asked=f"read {file}", found="times that are no numbers, or arrays of other lengths", mend="fetch the file again"
        )
    return arrays["time"], arrays["published"], {name: arrays[name] for name in names}
