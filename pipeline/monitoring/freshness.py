"""Freshness: how old the newest good values are and how much of the recent past is there, as of an instant."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from pipeline.contracts.cubes import DomainCube


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
