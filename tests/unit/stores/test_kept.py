"""What was read is kept up to so many bytes, and made once."""

from __future__ import annotations

import copy
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from pipeline.stores.kept import Kept


def test_a_value_is_made_once_also_where_several_ask_at_once() -> None:
    kept, made, barrier = Kept(100), [], Barrier(4)

    def ask(_: int) -> str:
        barrier.wait()
        return kept.get("key", lambda: made.append(1) or "value", len)  # type: ignore[func-returns-value]

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(ask, range(4))) == ["value"] * 4
    assert made == [1]


def test_beyond_its_bytes_the_one_not_asked_for_longest_goes() -> None:
    kept, made = Kept(10), []

    def ask(key: str) -> None:
        kept.get(key, lambda: made.append(key) or "12345", len)  # type: ignore[func-returns-value]

    for key in ("a", "b", "a", "c", "a", "b"):
        ask(key)
    assert made == ["a", "b", "c", "b"]


def test_what_fails_is_asked_for_again() -> None:
    kept = Kept(10)
    with pytest.raises(ZeroDivisionError):
        kept.get("key", lambda: 1 // 0, lambda _: 1)
    assert kept.get("key", lambda: 7, lambda _: 1) == 7


def test_a_copy_as_it_arrives_in_another_process_is_empty() -> None:
    kept = Kept(10)
    kept.get("key", lambda: 7, lambda _: 1)
    assert copy.copy(kept).get("key", lambda: 8, lambda _: 1) == 8
