"""Versions: of several readings of one node and instant, which are repeats, which are corrections, and when each was known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True, eq=False)
class Versions:
    """(R,) which new readings stay, and the instant at which each could be known (int64 seconds UTC)."""

    keep: NDArray[np.bool_]
    available_time: NDArray[np.int64]


def same_as_previous(order: NDArray[np.int64], columns: list[NDArray[np.generic]]) -> NDArray[np.bool_]:
    """For rows taken in `order`: whether all columns equal those of the row before."""
    same = np.ones(len(order), np.bool_)
    same[:1] = False
    for column in columns:
        ordered = column[order]
        same[1:] &= ordered[1:] == ordered[:-1]
    return same


def value_bits(values: list[NDArray[np.float32]]) -> list[NDArray[np.generic]]:
    """Float columns as comparable bits: every NaN the same, -0 as 0."""
    return [np.where(np.isnan(v), np.float32(np.nan), v + np.float32(0)).astype(np.float32).view(np.int32) for v in values]


def unrepeated(
    node: NDArray[np.int32], valid_time: NDArray[np.int64], available_time: NDArray[np.int64], bits: list[NDArray[np.generic]]
) -> NDArray[np.bool_]:
    """Which readings of ONE delivery stay, rows in the order delivered.

    Of several for the same node, `valid_time` and `available_time` the last stays; of versions that follow each other with
    the same values the earliest stays.
    """
    key = _key(node, valid_time)
    keep = np.ones(len(key), np.bool_)
    if len(key) < 2 or _strictly_increasing(key):
        return keep
    rows = _shared(key)
    order = rows[np.lexsort((rows, available_time[rows], key[rows]))]
    again = same_as_previous(order, [key, available_time])
    keep[order[:-1][again[1:]]] = False
    kept = order[keep[order]]
    keep[kept[same_as_previous(kept, [key, *bits])]] = False
    return keep


def orderly(node: NDArray[np.int32], valid_time: NDArray[np.int64]) -> bool:
    """Whether readings lie by node and instant, with no two for the same: `unrepeated` keeps them all, `by_series` leaves them there."""
    return _strictly_increasing(_key(node, valid_time))


def by_series(
    node: NDArray[np.int32], valid_time: NDArray[np.int64], available_time: NDArray[np.int64], keep: NDArray[np.bool_]
) -> NDArray[np.int64] | NDArray[np.bool_]:
    """What picks the readings to keep by node, instant and availability: `keep` itself where they lie so, else their places."""
    key = _key(node, valid_time)[keep]
    if _strictly_increasing(key):
        return keep
    rows = np.flatnonzero(keep)
    places: NDArray[np.int64] = rows[np.lexsort((available_time[rows], key))]
    return places


def _shared(key: NDArray[np.int64]) -> NDArray[np.int64]:
    """The rows whose key another row has too."""
    order = np.argsort(key, kind="stable")
    same = np.diff(key[order]) == 0
    shared: NDArray[np.int64] = order[np.r_[False, same] | np.r_[same, False]]
    return shared


def _key(node: NDArray[np.int32], valid_time: NDArray[np.int64]) -> NDArray[np.int64]:
    key = node.astype(np.int64)
    key <<= 36
    key += valid_time
    return key


def _strictly_increasing(key: NDArray[np.int64]) -> bool:
    return bool((key[1:] > key[:-1]).all())


def apart(node: NDArray[np.int32], delivery: NDArray[np.int32]) -> bool:
    """Whether no node has readings of two deliveries, so that `merged` keeps them all as they are."""
    one = np.zeros(int(node.max(initial=-1)) + 1, np.int32)
    one[node] = delivery
    return bool((one[node] == delivery).all())


def merged(
    node: NDArray[np.int32],
    valid_time: NDArray[np.int64],
    available_time: NDArray[np.int64],
    bits: list[NDArray[np.generic]],
    *,
    delivery: NDArray[np.int64],
    known_again: NDArray[np.int64],
    declared: NDArray[np.bool_],
    old: NDArray[np.bool_],
) -> Versions:
    """Join readings of several deliveries; old rows (stored already) come first and never change.

    Args:
        node: (R,) code of the node, below 2**27.
        valid_time: (R,) int64 seconds UTC.
        available_time: (R,) as the feed or the declared latency says.
        bits: Values as comparable bits (`value_bits`).
        delivery: (R,) place of each row's delivery in the order of arrival.
        known_again: (R,) when that delivery was published, else received: no correction it brings was known earlier.
        declared: (R,) the row carries a publication time of its own.
        old: (R,) the row is stored already.

    Returns:
        For all rows, old ones kept unchanged, as if the deliveries had come one by one. A repeat of the version before it, or of one
        of the same instant, is dropped. A correction without a publication time of its own becomes available when its
        delivery did; one that claims the instant of another version comes after it.
    """
    key = _key(node, valid_time)
    available, keep = available_time.copy(), np.ones(len(key), np.bool_)
    placed = old.copy()
    turn = _turns(key, delivery, old)
    for number in range(1, int(turn.max(initial=0)) + 1):
        coming = np.flatnonzero(turn == number)
        known = np.flatnonzero(placed & keep) if number > 1 or placed.any() else coming[:0]
        meets = np.isin(key[coming], key[known]) if len(known) else np.zeros(len(coming), np.bool_)
        placed[coming] = True
        if meets.any():
            rows = np.concatenate([known[np.isin(key[known], key[coming[meets]])], coming[meets]])
            held = np.arange(len(rows)) < len(rows) - int(meets.sum())
            _place(rows, held, key, bits, available, keep, known_again, declared)
    return Versions(keep=keep, available_time=available)


def _turns(key: NDArray[np.int64], delivery: NDArray[np.int64], old: NDArray[np.bool_]) -> NDArray[np.int64]:
    """0 for old rows; else which of its key's new deliveries, from 1, a row is of."""
    turn = np.where(old, 0, 1)
    new = np.flatnonzero(~old)
    if len(new) < 2 or _strictly_increasing(key[new]):
        return turn
    order = new[np.lexsort((delivery[new], key[new]))]
    fresh = ~same_as_previous(order, [key])
    step = np.cumsum(~same_as_previous(order, [key, delivery]))
    begin = np.flatnonzero(fresh)
    turn[order] = step - np.repeat(step[begin], np.diff(np.append(begin, len(order)))) + 1
    return turn


def _place(
    rows: NDArray[np.int64],
    held: NDArray[np.bool_],
    key: NDArray[np.int64],
    bits: list[NDArray[np.generic]],
    available: NDArray[np.int64],
    keep: NDArray[np.bool_],
    known_again: NDArray[np.int64],
    declared: NDArray[np.bool_],
) -> None:
    """Place the new ones of `rows`, one delivery per key, among those `held`; changes `available` and `keep` of new ones only."""
    new = rows[~held]
    late = new[~declared[new]]
    available[late] = np.maximum(available[late], known_again[late])
    age = np.zeros(len(key), np.int8)
    age[new] = 1

    def drop(columns: list[NDArray[np.generic]], sort: tuple[NDArray[np.generic], ...]) -> NDArray[np.int64]:
        order = rows[np.lexsort(tuple(c[rows] for c in sort))]
        order = order[keep[order]]
        again = order[same_as_previous(order, columns)]
        keep[again[age[again] == 1]] = False
        return order[keep[order]]

    drop([key, available, *bits], (age, *bits, available, key))
    order = drop([key, *bits], (age, available, key))
    tied = same_as_previous(order, [key, available])
    if tied.any():
        _untie(order, tied, key, available, known_again, age == 0)
        drop([key, *bits], (age, available, key))


def _untie(
    order: NDArray[np.int64],
    tied: NDArray[np.bool_],
    key: NDArray[np.int64],
    available: NDArray[np.int64],
    known_again: NDArray[np.int64],
    old: NDArray[np.bool_],
) -> None:
    """Give new rows that share key and instant with another the next free instant, no earlier than their delivery."""
    keys = key[order]
    for group in np.unique(keys[tied]):
        rows = order[np.searchsorted(keys, group) : np.searchsorted(keys, group, side="right")]
        taken = {int(available[r]) for r in rows[old[rows]]}
        for row in rows[~old[rows]]:
            moment = int(available[row])
            if moment in taken:
                moment = max(moment, int(known_again[row]))
            while moment in taken:
                moment += 1
            taken.add(moment)
            available[row] = moment
