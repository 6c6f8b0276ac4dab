"""Readings that look as if delivered in another unit than the declared one: K among degC, knots for m/s. Named by that unit.

A code is 0, or the place of the suspected unit in the variable's `mistakes`, from 1. Like every rule, each looks at earlier readings only.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline.contracts.units import Mistake
from pipeline.quality.rules import Mask, Values, out_of_range

Codes = NDArray[np.int8]
ENOUGH = 24
"""Readings of a node before its median says something."""
_FAR = 5.0


def by_range(values: Values, outside: Mask, mistakes: Sequence[Mistake], low: float | None, high: float | None) -> Codes:
    """Where a value is out of range as declared and in range as if delivered in another usual unit."""
    codes = np.zeros(len(values), np.int8)
    if not outside.any():
        return codes
    for number, mistake in enumerate(mistakes, start=1):
        inside = ~out_of_range(values * mistake.factor + mistake.offset, low, high)
        codes[outside & (codes == 0) & inside] = number
    return codes


def by_series(
    values: Values, start: Mask, codes: Codes, mistakes: Sequence[Mistake], low: float | None, high: float | None, spike: float | None
) -> Codes:
    """Codes `by_range` (in the order of the series), spread over what follows in the same unit.

    A reading after a suspect is one too as long as it lies nearer to that than to what that would be as declared. With `spike`
    a jump beyond it that another unit undoes begins such a stretch, where that unit lies far off: not km/h for m/s in a storm.
    """
    known = np.flatnonzero(~np.isnan(values))
    x, begins, given = values[known], np.maximum.accumulate(np.where(start, np.arange(len(start)), 0))[known], codes[known]
    shifted = _shifts(x, begins, mistakes, low, high, spike)
    out = given.copy()
    starts = np.flatnonzero(np.r_[True, (given[1:] != given[:-1]) | (begins[1:] != begins[:-1])][: len(x)])
    ends = np.append(starts[1:], len(x))
    place, entries = 0, np.union1d(starts[given[starts] > 0], np.flatnonzero(shifted))
    for entry in entries.tolist():
        if entry >= place:
            credible = float(x[entry - 1]) if entry and begins[entry - 1] == begins[entry] and not out[entry - 1] else None
            code = shifted[entry] if not given[entry] else _nearest(float(x[entry]), int(given[entry]), credible, mistakes, (low, high))
            place = _stretch(x, begins, given, out, (entry, int(code)), ends, mistakes, (low, high))
    spread = np.zeros(len(values), np.int8)
    spread[known] = out
    return spread


Bounds = tuple[float | None, float | None]


def _nearest(value: float, code: int, credible: float | None, mistakes: Sequence[Mistake], bounds: Bounds) -> int:
    """Of the units in which a value is in range, that which brings it nearest to the last credible one."""
    if credible is None:
        return code
    meant = np.array([value * m.factor + m.offset for m in mistakes])
    far = np.where(out_of_range(meant, *bounds), np.inf, np.abs(meant - credible))
    return int(np.argmin(far)) + 1


def _shifts(
    x: Values, begins: NDArray[np.int64], mistakes: Sequence[Mistake], low: float | None, high: float | None, spike: float | None
) -> Codes:
    """Where a value jumps, and in another unit does not."""
    codes = np.zeros(len(x), np.int8)
    if spike is None or len(x) < 2:
        return codes
    last = np.r_[x[:1], x[:-1]]
    jumps = (np.abs(x - last) > spike) & np.r_[False, begins[1:] == begins[:-1]]
    for number, mistake in enumerate(mistakes, start=1):
        far = abs(mistake.offset) > spike or mistake.factor > _FAR or mistake.factor < 1 / _FAR
        meant = x * mistake.factor + mistake.offset
        undone = (np.abs(meant - last) <= spike / 2) & ~out_of_range(meant, low, high)
        codes[far & jumps & undone & (codes == 0)] = number
    return codes


def _stretch(
    x: Values,
    begins: NDArray[np.int64],
    given: Codes,
    out: Codes,
    entry: tuple[int, int],
    ends: NDArray[np.int64],
    mistakes: Sequence[Mistake],
    bounds: Bounds,
) -> int:
    """Mark an entry (place, code) and what follows it in the same unit; the place after it. `ends` are those of runs of one given code."""
    place, code = entry
    while place < len(x) and begins[place] == begins[entry[0]]:
        mistake, last = mistakes[code - 1], float(x[place - 1])
        if given[place]:
            end = int(ends[np.searchsorted(ends, place, side="right")])
            beyond = out_of_range(x[place:end] * mistake.factor + mistake.offset, *bounds)
            stop = place + int(np.argmax(beyond)) if beyond.any() else end
            out[place:stop] = code
            code = code if stop > place else int(given[place])
            place = max(stop, place + 1)
            continue
        meant = float(x[place]) * mistake.factor + mistake.offset
        inside = (bounds[0] is None or meant >= bounds[0]) and (bounds[1] is None or meant <= bounds[1])
        near = place == entry[0] or abs(x[place] - last) <= abs(x[place] - (last * mistake.factor + mistake.offset))
        if not (inside and near):
            break
        out[place] = code
        place += 1
    return place


def by_median(values: Values, start: Mask, mistakes: Sequence[Mistake], usual: tuple[float, float]) -> Codes:
    """Where the median of a node's readings so far (at least 24) is unusual as declared, and most of them are usual in another unit."""
    codes = np.zeros(len(values), np.int8)
    known = np.flatnonzero(~np.isnan(values))
    if not len(known):
        return codes
    x, series = values[known], np.cumsum(start)[known]
    first = np.flatnonzero(np.r_[True, series[1:] != series[:-1]])
    begin = np.repeat(first, np.diff(np.r_[first, len(x)]))
    count = np.arange(len(x)) - begin + 1

    def so_far(where: Mask) -> NDArray[np.int64]:
        total = np.cumsum(where)
        return np.asarray(total - (total[begin] - where[begin]), np.int64)

    low, high = usual
    odd = (count >= ENOUGH) & ((2 * so_far(x < low) > count) | (2 * so_far(x > high) > count))
    found, most = np.zeros(len(x), np.int8), count // 2
    for number, mistake in enumerate(mistakes, start=1):
        meant = x * mistake.factor + mistake.offset
        share = so_far((meant >= low) & (meant <= high))
        better = odd & (share > most)
        found[better], most[better] = number, share[better]
    codes[known] = found
    return codes
