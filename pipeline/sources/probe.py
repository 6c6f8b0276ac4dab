"""Ask a source's real provider for its newest delivery, and say what came: nothing is kept."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from pipeline.contracts.deliveries import Delivery
from pipeline.contracts.times import format_instant, from_seconds
from pipeline.contracts.worlds import World
from pipeline.errors import AbsentError, NotYetAvailable
from pipeline.settings import Settings
from pipeline.sources.adapter import Adapter, Readings, Slabs
from pipeline.sources.mends import mend_of
from pipeline.sources.registry import adapter_named, check_sources, source_names
from pipeline.sources.slabs import slab_times, slabs

_TRIES = 3
_PAGES = 3
_SHOWN = 5


@dataclass(frozen=True, kw_only=True)
class Probe:
    """What a provider handed over: where from, how many bytes, and the readings in them.

    Attributes:
        readings: Of a source of whole grids a row for each grid, without values.
        newest: The newest of these grids.
    """

    delivery: str
    locations: tuple[str, ...]
    bytes: int
    readings: Readings
    newest: Slabs | None = None


def probe(world: World, name: str, settings: Settings, as_of: datetime) -> Probe:
    """The newest delivery of a source that holds readings, fetched and parsed.

    Raises:
        NotYetAvailable: The provider is out of reach, or its newest deliveries are empty.
        ContractError: What came is not what the world says.
        ConfigError: There is no such source, or the provider refuses the request.
    """
    check_sources(world)
    [name] = source_names(world, name)
    source = world.sources[name]
    adapter = adapter_named(source.adapter)
    offered = [d for d in adapter.deliveries(source, settings, as_of) if d.role == "readings"]
    absent: AbsentError | None = None
    for delivery in reversed(offered[-_TRIES:]):
        try:
            found = _fetched(adapter, world, name, delivery)
        except AbsentError as error:
            absent = absent or error
            continue
        if found.readings.raw_rows:
            return found
    raise absent or NotYetAvailable(
        asked=f"readings of source '{name}' of world {world.name} as of {format_instant(as_of)}",
        found=f"none in its newest {min(len(offered), _TRIES)} deliveries",
        mend="come back later, or correct start, nodes or latency in the world file",
    )


def _fetched(adapter: Adapter, world: World, name: str, delivery: Delivery) -> Probe:
    parts = list(delivery.parts)
    content = {part.name: part.read() for part in parts}
    while delivery.following is not None and len(parts) < _PAGES:
        part = delivery.following(len(parts) - 1, content[parts[-1].name])
        if part is None:
            break
        parts.append(part)
        content[part.name] = part.read()
    source = world.sources[name]
    readings = slab_times(adapter, source, content) if source.slabs else adapter.parse(source, content)
    rows = readings.row[readings.valid_time == readings.valid_time.max()][-1:] if len(readings) else readings.row
    return Probe(
        delivery=delivery.name,
        locations=tuple(part.location for part in parts),
        bytes=sum(map(len, content.values())),
        readings=readings,
        newest=slabs(adapter, source, content, rows) if source.slabs and len(rows) else None,
    )


def probe_lines(found: Probe) -> list[str]:
    """What a probe found, for people."""
    readings = found.readings
    lines = [f"delivery {found.delivery}: {found.bytes:,} bytes from", *(f"  {location}" for location in found.locations)]
    kind = "readings" if found.newest is None else "whole grids"
    lines.append(f"rows {readings.raw_rows:,}: {kind} {len(readings):,}, rejected {len(readings.rejected):,}")
    for reason, count in Counter(readings.rejected.reason).most_common(_SHOWN):
        row = readings.rejected.row[readings.rejected.reason.index(reason)]
        lines.append(f"  rejected {count:,}: {reason} (first in row {row}); mend: {mend_of(reason)}")
    if len(readings):
        first, last = (format_instant(from_seconds(int(t))) for t in (readings.valid_time.min(), readings.valid_time.max()))
        lines += [f"valid_time {first} .. {last}", _places(found)]
    for name, values in (readings.values if found.newest is None else found.newest.values).items():
        known = values[~np.isnan(values)]
        span = f"{known.min():g} .. {known.max():g}" if len(known) else "nothing"
        lines.append(f"{name}: {span}, {1 - len(known) / max(values.size, 1):.1%} missing")
    return lines


def _places(found: Probe) -> str:
    ids, grid = found.readings.node_ids, found.newest
    if grid is None:
        return f"nodes {len(ids)}: {', '.join(ids[:_SHOWN])}{' …' if len(ids) > _SHOWN else ''}"
    south, north, west, east = (f(axis) for axis in (grid.latitude, grid.longitude) for f in (np.min, np.max))
    return (
        f"grids of {len(grid.latitude):,} x {len(grid.longitude):,} cells, latitude {south:g} .. {north:g}, longitude {west:g} .. {east:g}; "
        "in the newest:"
    )
