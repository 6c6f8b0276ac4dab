"""Repeats, corrections and their instants, with known answers."""

from __future__ import annotations

import numpy as np

from pipeline.quality.versions import apart, merged, unrepeated, value_bits


def bits(*values: float) -> list[np.ndarray]:
    return value_bits([np.array(values, np.float32)])


def keep_of(rows: list[tuple[int, int, float]]) -> list[bool]:
    """Rows (valid, available, value) of one delivery and node."""
    valid, available, value = (np.array(c) for c in zip(*rows, strict=True))
    return unrepeated(np.zeros(len(rows), np.int32), valid, available, bits(*value)).tolist()


def test_an_exact_repeat_in_a_delivery_goes() -> None:
    assert sum(keep_of([(0, 5, 1.0), (0, 5, 1.0)])) == 1


def test_of_two_values_for_one_instant_the_last_stays() -> None:
    assert keep_of([(0, 5, 1.0), (9, 14, 7.0), (0, 5, 2.0)]) == [False, True, True]


def test_versions_with_their_own_publication_times_both_stay() -> None:
    assert keep_of([(0, 5, 1.0), (0, 9, 2.0)]) == [True, True]


def test_a_repeat_published_later_goes_and_a_return_to_an_old_value_stays() -> None:
    assert keep_of([(0, 5, 1.0), (0, 9, 1.0), (0, 12, 2.0), (0, 15, 1.0)]) == [True, False, True, True]


def test_two_missing_values_are_a_repeat() -> None:
    assert sum(keep_of([(0, 5, float("nan")), (0, 5, float("nan"))])) == 1


def test_zero_and_minus_zero_are_a_repeat() -> None:
    assert sum(keep_of([(0, 5, 0.0), (0, 5, -0.0)])) == 1


def merge_of(rows: list[tuple[int, int, float, int, int, bool, bool]]) -> tuple[list[bool], list[int]]:
    """Rows (valid, available, value, delivery, delivery known, declared, old) of one node."""
    valid, available, value, delivery, known, declared, old = (np.array(c) for c in zip(*rows, strict=True))
    found = merged(
        np.zeros(len(rows), np.int32), valid, available, bits(*value), delivery=delivery, known_again=known, declared=declared, old=old
    )
    return found.keep.tolist(), found.available_time.tolist()


def test_a_repeat_from_a_later_delivery_goes() -> None:
    assert merge_of([(0, 5, 1.0, -1, 0, True, True), (0, 5, 1.0, 0, 100, False, False)])[0] == [True, False]


def test_a_correction_from_a_later_delivery_is_known_when_that_delivery_was() -> None:
    assert merge_of([(0, 5, 1.0, 0, 50, False, False), (0, 5, 2.0, 1, 100, False, False)]) == ([True, True], [5, 100])


def test_a_correction_with_its_own_time_keeps_it() -> None:
    assert merge_of([(0, 5, 1.0, -1, 0, True, True), (0, 60, 2.0, 0, 100, True, False)]) == ([True, True], [5, 60])


def test_corrections_that_claim_the_same_instant_are_told_apart_and_old_rows_stay() -> None:
    keep, available = merge_of(
        [
            (0, 5, 1.0, -1, 0, True, True),
            (0, 5, 2.0, 0, 100, True, False),
            (0, 5, 3.0, 1, 100, True, False),
            (9, 14, 4.0, 1, 100, False, False),
        ]
    )
    assert keep == [True] * 4
    assert available == [5, 100, 101, 14]


def test_a_repeat_of_a_superseded_version_with_its_own_time_is_no_return_to_it() -> None:
    keep, _ = merge_of([(0, 5, 1.0, -1, 0, True, True), (0, 60, 2.0, -1, 0, True, True), (0, 5, 1.0, 0, 100, True, False)])
    assert keep == [True, True, False]


def test_readings_of_nodes_that_one_delivery_has_alone_are_all_kept_as_they_are() -> None:
    node, delivery = np.array([0, 1, 0, 2], np.int32), np.array([0, 1, 0, 1])
    valid, value = np.array([5, 5, 5, 6]), [np.arange(4, dtype=np.int32)]
    none = np.zeros(4, np.bool_)
    assert apart(node, delivery)
    assert not apart(np.array([0, 1, 0, 1], np.int32), np.array([0, 1, 1, 1]))
    assert apart(node[:0], delivery[:0])
    found = merged(node, valid, np.array([9, 9, 8, 9]), value, delivery=delivery, known_again=np.full(4, 20), declared=none, old=none)
    assert found.keep.all()
    assert found.available_time.tolist() == [9, 9, 8, 9]
