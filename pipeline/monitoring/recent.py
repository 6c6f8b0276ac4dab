"""The newest steps of one variable, in the order of nodes of its profile. Shape suffixes: T axis steps, N node."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.contracts.cubes import DomainCube
from pipeline.contracts.units import Mistake, confusions
from pipeline.contracts.worlds import Domain, RawVariable, World
from pipeline.monitoring.levels import BEFORE, Kind, kind_of
from pipeline.monitoring.profile import PAST, Profile


@dataclass(frozen=True, kw_only=True, eq=False)
class Recent:
    """One variable as known at an instant, up to the newest step that is due.

    Attributes:
        v: Its place in the profile.
        valid_time_T: int64 seconds UTC.
        values_TN, flags_TN: As in the cube; NaN and 0 for nodes that it does not have.
        present_N: Share of good cells of the newest block.
        kind: What its level is.
        declared: How its source delivers it.
    """

    domain: str
    variable: str
    v: int
    valid_time_T: NDArray[np.int64]
    values_TN: NDArray[np.float32]
    flags_TN: NDArray[np.uint16]
    present_N: NDArray[np.float64]
    kind: Kind
    declared: RawVariable

    @property
    def confusions(self) -> tuple[Mistake, ...]:
        """What its values would mean in the units that are usually mistaken for its own."""
        return confusions(self.declared.unit, self.declared.to)


def needed_steps(profile: Profile) -> int:
    """How many of the newest steps the rules look at."""
    return max(profile.stretch + PAST * profile.block + 1, (1 + BEFORE) * profile.block)


def recent_of(world: World, domain: Domain, cube: DomainCube, profile: Profile, *, as_of: int) -> list[Recent]:
    """Each variable of a domain up to the newest step that is due by `as_of` (seconds UTC)."""
    at = {node: n for n, node in enumerate(cube.nodes.ids)}
    theirs = np.array([at.get(node, -1) for node in profile.nodes], np.int64)
    found = []
    for v, (name, declared) in enumerate(domain.variables.items()):
        source = world.sources[declared.source]
        due = int(np.searchsorted(cube.valid_time, as_of - int(source.latency_of(name).total_seconds()), side="right"))
        first, own = max(0, due - needed_steps(profile)), cube.variables.index(name)
        values = np.where(theirs >= 0, cube.values_TNV[first:due, theirs, own], np.float32(np.nan))
        flags = np.where(theirs >= 0, cube.flags_TNV[first:due, theirs, own], np.uint16(0))
        values = np.where(flags == 0, values, np.float32(np.nan))
        block = np.isfinite(values[-profile.block :])
        found.append(
            Recent(
                domain=cube.domain,
                variable=name,
                v=v,
                valid_time_T=cube.valid_time[first:due],
                values_TN=values,
                flags_TN=flags,
                present_N=block.sum(axis=0) / profile.block,
                kind=kind_of(declared),
                declared=source.variables[name],
            )
        )
    return found
