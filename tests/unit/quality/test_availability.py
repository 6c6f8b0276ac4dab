"""When readings could be known."""

from __future__ import annotations

import numpy as np

from pipeline.quality.availability import available_times, settled

NONE = np.iinfo(np.int64).min


def test_history_is_known_after_the_declared_latency() -> None:
    found, declared = available_times(np.array([0, 100]), None, latency=10, received_time=9999, first_received=5000)
    assert found.tolist() == [10, 110]
    assert not declared.any()


def test_what_was_lived_is_known_no_earlier_than_it_came() -> None:
    found, _ = available_times(np.array([4989, 4990, 6000]), None, latency=10, received_time=5500, first_received=5000)
    assert found.tolist() == [4999, 5500, 6010]


def test_a_publication_time_of_its_own_wins_where_there_is_one() -> None:
    found, declared = available_times(np.array([0, 0]), np.array([700, NONE]), latency=10, received_time=9999, first_received=5000)
    assert found.tolist() == [700, 10]
    assert declared.tolist() == [True, False]


def test_a_reading_settles_with_the_punctual_ones_before_it_and_late_ones_hold_nothing_up() -> None:
    found = settled(
        np.array([5, 3, 90, 8, 2]), np.array([0, 0, 0, 0, 1], np.int32), np.array([1, 2, 3, 4, 1]), np.array([1, 1, 0, 1, 1], bool)
    )
    assert found.tolist() == [5, 5, 90, 8, 2]
