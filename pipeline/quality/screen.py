"""All rules over the readings of one delivery: values in canonical units, and one flag word per value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.contracts.flags import Flag
from pipeline.contracts.units import conversion
from pipeline.contracts.worlds import RawVariable
from pipeline.quality import rules


@dataclass(frozen=True, kw_only=True, eq=False)
class Screened:
    """(R,) float32 in the canonical unit, NaN where missing or a fill code; (R,) uint16 flags."""

    values: NDArray[np.float32]
    flags: NDArray[np.uint16]


def screen(
    delivered: Mapping[str, NDArray[np.float64]],
    variables: Mapping[str, RawVariable],
    *,
    node: NDArray[np.int32],
    valid_time: NDArray[np.int64],
    punctual: NDArray[np.bool_],
    received_time: int,
) -> dict[str, Screened]:
    """Convert and flag the readings of one delivery, variable by variable.

    A flag depends on its own reading and on readings of the same node and delivery with an earlier `valid_time`, and
    only on `punctual` ones (available no later than the declared latency): what comes late cannot change what was known.
    """
    order, start = _series(node, valid_time, punctual) if any(v.spike or v.stuck_after for v in variables.values()) else _NO_SERIES
    ahead = rules.future(valid_time, received_time)
    return {name: _screen_one(delivered[name], variable, order, start, ahead) for name, variable in variables.items()}


_NO_SERIES = np.zeros(0, np.int64), np.zeros(0, np.bool_)


def _series(
    node: NDArray[np.int32], valid_time: NDArray[np.int64], punctual: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Places of the punctual readings by node and time, and where each node begins."""
    places = np.flatnonzero(punctual)
    order = places[np.lexsort((valid_time[places], node[places]))]
    return order, np.r_[True, np.diff(node[order]) != 0][: len(order)]


def _screen_one(
    delivered: NDArray[np.float64], variable: RawVariable, order: NDArray[np.int64], start: NDArray[np.bool_], ahead: NDArray[np.bool_]
) -> Screened:
    unit = variable.to or variable.unit
    change = conversion(variable.unit, variable.to)
    gap = rules.missing(delivered)
    code = rules.fill_code(delivered, variable.missing)
    values = np.where(code, np.nan, delivered) * change.factor + change.offset
    flags = np.zeros(len(values), np.uint16)

    def mark(where: NDArray[np.bool_], flag: Flag) -> None:
        flags[where] |= np.uint16(flag)

    mark(gap, Flag.MISSING)
    mark(code, Flag.FILL_CODE)
    outside = rules.out_of_range(values, variable.valid_min, variable.valid_max)
    mark(outside, Flag.OUT_OF_RANGE)
    mark(rules.unit_suspect(values, unit, variable.valid_min, variable.valid_max), Flag.UNIT_SUSPECT)
    mark(ahead, Flag.FUTURE)
    if variable.spike or variable.stuck_after:
        series = np.where(outside, np.nan, values)[order]
        if variable.spike:
            jumped = rules.spike(series, start, variable.spike)
            mark_at(flags, order[jumped], Flag.SPIKE)
        if variable.stuck_after:
            mark_at(flags, order[rules.stuck(series, start, variable.stuck_after)], Flag.STUCK)
    with np.errstate(over="ignore"):
        narrow = values.astype(np.float32)
    beyond = np.isinf(narrow)
    mark(beyond, Flag.OUT_OF_RANGE)
    return Screened(values=np.where(beyond, np.float32(np.nan), narrow), flags=flags)


def mark_at(flags: NDArray[np.uint16], places: NDArray[np.int64], flag: Flag) -> None:
    """Set a flag at some places, in place."""
    flags[places] |= np.uint16(flag)
