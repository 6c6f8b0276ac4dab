"""Freshness: how old the newest good values are and how much of the recent past is there, as of an instant."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from pipeline.alignment.time_grid import axis, step_seconds
from pipeline.contracts.alerts import Finding
from pipeline.contracts.cubes import DomainCube
from pipeline.contracts.times import format_instant, from_seconds, to_seconds
from pipeline.contracts.worlds import World


@dataclass(frozen=True, kw_only=True)
class Freshness:
    """The state of one variable of one domain as of an instant.

    Attributes:
        newest_time: `valid_time` of the newest good value of any node (seconds UTC), None where there is none.
        age_seconds: `as_of` - newest_time.
        share_present: Good cells among the last `steps` steps and all nodes, 0 .. 1.
        nodes_present: Nodes with at least one good value there, of `nodes`.
    """

    domain: str
    variable: str
    newest_time: int | None
    age_seconds: int | None
    share_present: float
    nodes_present: int
    nodes: int
    steps: int

    def to_json(self) -> dict[str, Any]:
        """The same as JSON content."""
        return asdict(self)


def freshness(cube: DomainCube, *, as_of: int, steps: int) -> tuple[Freshness, ...]:
    """The freshness of every variable of a domain over its last `steps` axis steps at or before `as_of`.

    A short axis counts as if the steps before it were empty; good means a value is there and no flag is set.
    """
    due = int(np.searchsorted(cube.valid_time, as_of, side="right"))
    good_TNV = (np.isfinite(cube.values_TNV) & (cube.flags_TNV == 0))[:due]
    found = []
    for v, variable in enumerate(cube.variables):
        good_TN = good_TNV[..., v]
        any_T = np.flatnonzero(good_TN.any(axis=1))
        newest = int(cube.valid_time[any_T[-1]]) if any_T.size else None
        recent = good_TN[max(0, due - steps) :]
        found.append(
            Freshness(
                domain=cube.domain,
                variable=variable,
                newest_time=newest,
                age_seconds=None if newest is None else as_of - newest,
                share_present=round(float(recent.sum()) / max(1, steps * len(cube.nodes)), 6),
                nodes_present=int(recent.any(axis=0).sum()) if recent.size else 0,
                nodes=len(cube.nodes),
                steps=steps,
            )
        )
    return tuple(found)


def inputs(found: Mapping[str, tuple[Freshness, ...]]) -> dict[str, dict[str, Any]]:
    """Per domain what a forecast's provenance says of its inputs: the worst age and share, and each variable's."""
    summary = {}
    for domain, rows in sorted(found.items()):
        ages = [row.age_seconds for row in rows]
        known = [age for age in ages if age is not None]
        summary[domain] = {
            "age_seconds": max(known) if len(known) == len(ages) and known else None,
            "share_present": min((row.share_present for row in rows), default=0.0),
            "variables": {row.variable: row.to_json() for row in rows},
        }
    return summary


def late_sources(world: World, cubes: Mapping[str, DomainCube], *, as_of: int) -> Iterator[Finding]:
    """Variables whose newest good value is too old at `as_of` (seconds UTC).

    A value is due `latency` after its step; it is late where the newest one that is there lies more than the source's
    `late_after` before the newest that is due. Where all of the domain's context is missing it blocks. A domain without a cube is late
    as a whole.
    """
    for name, domain in world.domains.items():
        cube = cubes.get(name)
        start = to_seconds(world.domain_start(name))
        newest = {f.variable: f.newest_time for f in freshness(cube, as_of=as_of, steps=domain.context)} if cube else {}
        for variable, declared in domain.variables.items():
            source = world.sources[declared.source]
            due = axis(domain.clock, start, as_of - int(source.latency_of(variable).total_seconds()))
            grace = step_seconds(domain.clock) if source.late_after is None else int(source.late_after.total_seconds())
            there = newest.get(variable)
            if len(due) and (there is None or there < due[-1] - grace):
                seen = format_instant(from_seconds(there)) if there is not None else "nothing"
                gone = there is None or there < due[-min(domain.context, len(due))]
                yield Finding(
                    rule="late_source",
                    level="block" if gone else "warn",
                    domain=name,
                    variable=variable,
                    subject=declared.source,
                    number=float(as_of - (there if there is not None else start)),
                    limit=float(as_of - int(due[-1]) + grace),
                    unit="s",
                    text=f"newest good value {seen}, due {format_instant(from_seconds(int(due[-1])))}",
                    since=there,
                )


def late(world: World, cubes: Mapping[str, DomainCube], *, as_of: int) -> list[str]:
    """What a forecast at `as_of` (seconds UTC) had better wait for, one line per variable."""
    return [f"{f.domain} {f.variable} (source {f.subject}): {f.text}" for f in late_sources(world, cubes, as_of=as_of)]


def node_ages(cube: DomainCube, *, as_of: int) -> dict[str, dict[str, int | None]]:
    """Per variable and node the seconds since its newest good value, None where it has none by `as_of`."""
    due = int(np.searchsorted(cube.valid_time, as_of, side="right"))
    good_TNV = (np.isfinite(cube.values_TNV) & (cube.flags_TNV == 0))[:due]
    if not due:
        return {variable: dict.fromkeys(cube.nodes.ids) for variable in cube.variables}
    last_NV = due - 1 - np.argmax(good_TNV[::-1], axis=0)
    age_NV = as_of - cube.valid_time[last_NV]
    there_NV = good_TNV.any(axis=0)
    return {
        variable: {node: int(age_NV[n, v]) if there_NV[n, v] else None for n, node in enumerate(cube.nodes.ids)}
        for v, variable in enumerate(cube.variables)
    }
