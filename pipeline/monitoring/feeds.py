"""Whether feeds that are no readings come in time: runs of forecasts by others, and documents."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from pipeline.contracts.alerts import Finding
from pipeline.contracts.cubes import DomainCube
from pipeline.contracts.times import format_instant, from_seconds
from pipeline.contracts.worlds import World


def late_runs(world: World, runs: Mapping[str, DomainCube], *, as_of: int) -> Iterator[Finding]:
    """Domains whose newest run is older than what is due at `as_of` (seconds UTC); it blocks where none is of use any more.

    A run is due `latency` after its start, each cycle of its source; one that misses by no more than `late_after`, by default a cycle,
    is not late.
    """
    for name, domain in world.domains.items():
        if domain.future is None:
            continue
        source = world.sources[domain.future.source]
        cycle = int((source.runs or source.ahead).total_seconds())
        reach = int((domain.future.reach or source.ahead).total_seconds())
        grace = cycle if source.late_after is None else int(source.late_after.total_seconds())
        due = (as_of - int(source.latency.total_seconds())) // cycle * cycle
        cube = runs.get(name)
        there = None if cube is None else _newest(cube)
        if there is None or there < due - grace:
            seen = "none" if there is None else format_instant(from_seconds(there))
            yield Finding(
                rule="late_source",
                level="block" if there is None or there < as_of - reach else "warn",
                domain=name,
                variable="future",
                subject=domain.future.source,
                number=float(as_of - (there if there is not None else due - reach)),
                limit=float(as_of - due + grace),
                unit="s",
                text=f"newest run {seen}, due {format_instant(from_seconds(due))}",
                since=there,
            )


def _newest(cube: DomainCube) -> int | None:
    known = np.flatnonzero(np.isfinite(cube.values_TNV).any(axis=(1, 2)))
    return int(cube.valid_time[known[-1]]) if len(known) else None


def late_texts(world: World, known: Mapping[str, NDArray[np.int64]], *, as_of: int) -> Iterator[Finding]:
    """Streams that have been silent for longer than their source's `cadence` allows; a source that declares none may be silent.

    `known` is per stream when its documents became known (int64 seconds UTC), `as_of` in seconds UTC.
    """
    for name, stream in world.texts.items():
        source = world.sources[stream.source]
        if source.cadence is None:
            continue
        grace = source.cadence if source.late_after is None else source.late_after
        limit = int((source.latency + source.cadence + grace).total_seconds())
        times = known.get(name)
        newest = int(times.max()) if times is not None and len(times) else None
        if newest is None or as_of - newest > limit:
            seen = "none" if newest is None else format_instant(from_seconds(newest))
            yield Finding(
                rule="late_source",
                level="warn",
                domain="texts",
                variable=name,
                subject=stream.source,
                number=float(as_of - newest) if newest is not None else float(stream.reach.total_seconds()),
                limit=float(limit),
                unit="s",
                text=f"newest document {seen}",
                since=newest,
            )
