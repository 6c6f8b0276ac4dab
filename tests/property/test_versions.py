"""Versions joined at once, one delivery at a time, and by plain loops give the same answer as of any instant."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.quality.versions import merged, unrepeated, value_bits

Row = tuple[int, int, int, int | None]
"""Node, valid_time, value, published (None: not said)."""
row = st.tuples(st.integers(0, 1), st.integers(0, 1), st.integers(0, 2), st.one_of(st.none(), st.integers(0, 6)))
deliveries = st.lists(st.tuples(st.lists(row, min_size=1, max_size=6), st.integers(0, 3)), min_size=1, max_size=5)
Version = tuple[int, int, int]
LATENCY = 1


def columns(found: list[tuple[list[Row], int]]) -> list[tuple[np.ndarray, ...]]:
    """Per delivery what survives within it: node, valid, available, value, declared, received."""
    out, received = [], 2
    for rows, wait in found:
        received += wait
        node, valid, value = (np.array([r[i] for r in rows]) for i in range(3))
        declared = np.array([r[3] is not None for r in rows])
        available = np.array([r[1] + LATENCY if r[3] is None else r[3] for r in rows])
        keep = unrepeated(node.astype(np.int32), valid, available, value_bits([value.astype(np.float32)]))
        out.append(tuple(c[keep] for c in (node, valid, available, value, declared, np.full(len(rows), received))))
    return out


def join(old: list[tuple[int, int, int, int]], parts: list[tuple[np.ndarray, ...]]) -> list[tuple[int, int, int, int]]:
    """Stored rows (node, valid, available, value) and some deliveries, joined."""
    stored = np.array(old, np.int64).reshape(-1, 4)
    count = len(stored)
    node, valid, available, value = (np.concatenate([stored[:, i], *(p[i] for p in parts)]) for i in range(4))
    new = [len(p[0]) for p in parts]
    found = merged(
        node.astype(np.int32),
        valid,
        available,
        value_bits([value.astype(np.float32)]),
        delivery=np.repeat(np.arange(-1, len(parts)), [count, *new]),
        known_again=np.concatenate([np.zeros(count, np.int64), *(p[5] for p in parts)]),
        declared=np.concatenate([np.ones(count, bool), *(p[4] for p in parts)]),
        old=np.arange(len(node)) < count,
    )
    assert found.keep[:count].all()
    assert (found.available_time[:count] == available[:count]).all()
    return [(int(node[i]), int(valid[i]), int(found.available_time[i]), int(value[i])) for i in np.flatnonzero(found.keep)]


def visible(rows: list[tuple[int, int, int, int]], key: tuple[int, int], as_of: int) -> int | None:
    versions = [(a, v) for n, t, a, v in rows if (n, t) == key and a <= as_of]
    assert len({a for a, _ in versions}) == len(versions)
    return max(versions)[1] if versions else None


@settings(max_examples=500, deadline=None)
@given(deliveries)
def test_at_once_and_one_by_one_agree_as_of_any_instant(found: list[tuple[list[Row], int]]) -> None:
    parts = columns(found)
    at_once = join([], parts)
    one_by_one: list[tuple[int, int, int, int]] = []
    for part in parts:
        one_by_one = join(one_by_one, [part])
    for key in {(n, t) for n, t, _, _ in at_once + one_by_one}:
        for as_of in range(25):
            assert visible(at_once, key, as_of) == visible(one_by_one, key, as_of), (key, as_of, at_once, one_by_one)


@settings(max_examples=300, deadline=None)
@given(deliveries)
def test_a_new_delivery_never_changes_what_was_known_before_it_unless_it_says_so_itself(found: list[tuple[list[Row], int]]) -> None:
    parts = columns(found)
    stored: list[tuple[int, int, int, int]] = []
    for part in parts:
        after = join(stored, [part])
        received = int(part[5][0])
        for key in {(n, t) for n, t, _, _ in stored}:
            if part[4].any():
                continue
            for as_of in range(received):
                assert visible(after, key, as_of) == visible(stored, key, as_of)
        stored = after
