"""All rules over the readings of one delivery: values in canonical units, and one flag word per value."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from pipeline.contracts.flags import Flag
from pipeline.contracts.units import Mistake, conversion, floor_of, mistakes
from pipeline.contracts.worlds import RawVariable
from pipeline.quality import rules
from pipeline.quality.unit_suspects import by_median, by_range, by_series


@dataclass(frozen=True, kw_only=True, eq=False)
class Screened:
    """(R,) float32 in the canonical unit, NaN where missing or a fill code; (R,) uint16 flags.

    Attributes:
        suspect: (R,) int8: the place in `mistakes` of the unit in which a value seems to be, from 1; 0: the declared one.
    """

    values: NDArray[np.float32]
    flags: NDArray[np.uint16]
    suspect: NDArray[np.int8]
    mistakes: tuple[Mistake, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class _Series:
    """Places of the punctual readings by node and time, and where each node begins."""

    order: NDArray[np.int64]
    start: NDArray[np.bool_]


def screen(
    delivered: Mapping[str, NDArray[np.float64]],
    variables: Mapping[str, RawVariable],
    *,
    node: NDArray[np.int32],
    valid_time: NDArray[np.int64],
    punctual: NDArray[np.bool_],
    received_time: int,
    cadence: int | None = None,
) -> dict[str, Screened]:
    """Convert and flag the readings of one delivery, variable by variable.

    A flag depends on its own reading and on readings of the same node and delivery with an earlier `valid_time`, and
    only on `punctual` ones (available no later than the declared latency): what comes late cannot change what was known.
    """

    @cache
    def series() -> _Series:
        places = np.flatnonzero(punctual)
        order = places[np.lexsort((valid_time[places], node[places]))]
        return _Series(order=order, start=np.r_[True, np.diff(node[order]) != 0][: len(order)])

    common = np.where(rules.future(valid_time, received_time), np.uint16(Flag.FUTURE), np.uint16(0))
    if cadence is not None:
        often = rules.too_often(valid_time[series().order], series().start, cadence)
        mark_at(common, series().order[often], Flag.CADENCE)
    return {name: _screen_one(delivered[name], variable, series, common) for name, variable in variables.items()}


def rest_on_series(variables: Mapping[str, RawVariable]) -> bool:
    """Whether a flag may rest on earlier readings of its node, by what is declared and never by what was delivered."""
    return any(
        v.spike or v.stuck_after or v.usual or (mistakes(v.unit, v.to) and (v.valid_min, v.valid_max, floor_of(v.to or v.unit)) != _UNBOUND)
        for v in variables.values()
    )


_UNBOUND = (None, None, None)


def _screen_one(
    delivered: NDArray[np.float64], variable: RawVariable, series: Callable[[], _Series], common: NDArray[np.uint16]
) -> Screened:
    unit = variable.to or variable.unit
    low = floor_of(unit) if variable.valid_min is None else variable.valid_min
    change, likely = conversion(variable.unit, variable.to), mistakes(variable.unit, variable.to)
    code = rules.fill_code(delivered, variable.missing)
    values = np.where(code, np.nan, delivered)
    values *= change.factor
    values += change.offset
    flags = common.copy()

    def mark(where: NDArray[np.bool_], flag: Flag) -> None:
        if where.any():
            np.bitwise_or(flags, np.uint16(flag), out=flags, where=where)

    outside = rules.out_of_range(values, low, variable.valid_max)
    mark(rules.missing(delivered), Flag.MISSING)
    mark(code | rules.likely_fill_code(delivered, outside), Flag.FILL_CODE)
    mark(outside, Flag.OUT_OF_RANGE)
    suspect = by_range(values, outside, likely, low, variable.valid_max)
    if variable.spike or variable.stuck_after or variable.usual or suspect.any():
        suspect = _over_series(values, np.where(outside, np.nan, values), suspect, variable, low, likely, series(), flags)
    mark(suspect > 0, Flag.UNIT_SUSPECT)
    with np.errstate(over="ignore"):
        narrow = values.astype(np.float32)
    beyond = np.isinf(narrow)
    mark(beyond, Flag.OUT_OF_RANGE)
    narrow[beyond] = np.nan
    return Screened(values=narrow, flags=flags, suspect=suspect, mistakes=likely)


def _over_series(
    values: NDArray[np.float64],
    inside: NDArray[np.float64],
    suspect: NDArray[np.int8],
    variable: RawVariable,
    low: float | None,
    likely: tuple[Mistake, ...],
    series: _Series,
    flags: NDArray[np.uint16],
) -> NDArray[np.int8]:
    """Spikes and stuck readings, marked in `flags`; and the suspects of `by_range` with those that the series shows."""
    order, start, out = series.order, series.start, suspect.copy()
    if likely:
        found = by_series(values[order], start, suspect[order], likely, low, variable.valid_max, variable.spike)
        if variable.usual is not None:
            found = np.where(found == 0, by_median(inside[order], start, likely, variable.usual), found)
        out[order] = found
    credible = np.where(out > 0, np.nan, inside)[order]
    if variable.spike:
        mark_at(flags, order[rules.spike(credible, start, variable.spike)], Flag.SPIKE)
    if variable.stuck_after:
        mark_at(flags, order[rules.stuck(credible, start, variable.stuck_after)], Flag.STUCK)
    return out


def mark_at(flags: NDArray[np.uint16], places: NDArray[np.int64], flag: Flag) -> None:
    """Set a flag at some places, in place."""
    flags[places] |= np.uint16(flag)
