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
from pipeline.sources.adapter import Adapter, Readings
from pipeline.sources.mends import mend_of
from pipeline.sources.registry import adapter_named, check_sources, source_names

_TRIES = 3
_PAGES = 3
_SHOWN = 5


@dataclass(frozen=True, kw_only=True)
class Probe:
    """What a provider handed over: where from, how many bytes, and the readings in them."""

    delivery: str
    locations: tuple[str, ...]
    bytes: int
    readings: Readings


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
    return Probe(
        delivery=delivery.name,
        locations=tuple(part.location for part in parts),
        bytes=sum(map(len, content.values())),
        readings=adapter.parse(world.sources[name], content),
    )


def probe_lines(found: Probe) -> list[str]:
    """What a probe found, for people."""
    readings = found.readings
    lines = [f"delivery {found.delivery}: {found.bytes:,} bytes from", *(f"  {location}" for location in found.locations)]
    lines.append(f"rows {readings.raw_rows:,}: readings {len(readings):,}, rejected {len(readings.rejected):,}")
    for reason, count in Counter(readings.rejected.reason).most_common(_SHOWN):
        row = readings.rejected.row[readings.rejected.reason.index(reason)]
        lines.append(f"  rejected {count:,}: {reason} (first in row {row}); mend: {mend_of(reason)}")
    if len(readings):
        first, last = (format_instant(from_seconds(int(t))) for t in (readings.valid_time.min(), readings.valid_time.max()))
        nodes = ", ".join(readings.node_ids[:_SHOWN]) + (" …" if len(readings.node_ids) > _SHOWN else "")
        lines += [f"valid_time {first} .. {last}", f"nodes {len(readings.node_ids)}: {nodes}"]
    for name, values in readings.values.items():
        known = values[~np.isnan(values)]
        span = f"{known.min():g} .. {known.max():g}" if len(known) else "nothing"
        lines.append(f"{name}: {span}, {1 - len(known) / max(len(values), 1):.1%} missing")
    return lines
