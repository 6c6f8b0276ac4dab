"""Outcomes: what came at a forecast's valid times, and which cells still wait.

Shape suffixes: T axis steps, L lead, N node, V target variable.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.contracts.cubes import DomainCube
from pipeline.contracts.forecasts import DomainForecast


@dataclass(frozen=True, kw_only=True)
class Counts:
    """Cells (lead, node, variable) of a forecast: expected = observed + missing + pending."""

    expected: int
    observed: int
    missing: int
    pending: int

    @staticmethod
    def zero() -> Counts:
        """No cell at all."""
        return Counts(expected=0, observed=0, missing=0, pending=0)

    def __add__(self, other: Counts) -> Counts:
        return Counts(**{name: value + getattr(other, name) for name, value in asdict(self).items()})

    def to_json(self) -> dict[str, int]:
        """The same as JSON content."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True, eq=False)
class Outcome:
    """What came, (L, N, V) in physical units, NaN where nothing good is known; and how many cells of each kind."""

    values_LNV: NDArray[np.float32]
    good_LNV: NDArray[np.bool_]
    counts: Counts


PUBLISHED = "published"
"""The name under which what was published is scored, whichever model made it."""


def pair(forecast: DomainForecast, cube: DomainCube | None, now: int) -> Outcome:
    """The outcome of one domain's forecast by equal valid time, node and variable; later than `now` is pending.

    What the cube does not have (a node, a variable, or where there is no cube at all) counts as missing.
    """
    shape = forecast.quantiles_LNVQ.shape[:3]
    values = np.full(shape, np.nan, np.float32)
    if cube is not None:
        _fill(values, forecast, cube, now)
    good = np.isfinite(values)
    pending = int((forecast.valid_time_L > now).sum()) * shape[1] * shape[2]
    observed = int(good.sum())
    counts = Counts(expected=values.size, observed=observed, missing=values.size - observed - pending, pending=pending)
    return Outcome(values_LNV=values, good_LNV=good, counts=counts)


def _fill(values: NDArray[np.float32], forecast: DomainForecast, cube: DomainCube, now: int) -> None:
    node_at = {node: i for i, node in enumerate(cube.nodes.ids)}
    ours = [i for i, node in enumerate(forecast.node_ids) if node in node_at]
    theirs = [node_at[forecast.node_ids[i]] for i in ours]
    for lead, valid_time in enumerate(forecast.valid_time_L):
        step = int(np.searchsorted(cube.valid_time, valid_time))
        if valid_time > now or step >= len(cube.valid_time) or cube.valid_time[step] != valid_time:
            continue
        for v, variable in enumerate(forecast.variables):
            if variable in cube.variables:
                at = cube.variables.index(variable)
                shown = np.where(cube.flags_TNV[step, theirs, at] == 0, cube.values_TNV[step, theirs, at], np.nan)
                values[lead, ours, v] = shown
