"""Each rule by itself, with known answers; and all of them never looking ahead."""

from __future__ import annotations

from unittest.mock import patch

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.contracts.flags import Flag
from pipeline.contracts.worlds import RawVariable
from pipeline.quality import rules
from pipeline.quality.screen import screen

NAN = float("nan")


def one_series(*values: float) -> tuple[np.ndarray, np.ndarray]:
    return np.array(values), np.arange(len(values)) == 0


def test_missing_is_where_nothing_was_delivered() -> None:
    assert rules.missing(np.array([1.0, NAN])).tolist() == [False, True]


def test_a_fill_code_is_told_from_a_value() -> None:
    assert rules.fill_code(np.array([0.0, -999.0, NAN]), (0.0, -999.0)).tolist() == [True, True, False]
    assert not rules.fill_code(np.array([0.0]), ()).any()


def test_bounds_are_inclusive_and_a_missing_value_is_not_out_of_range() -> None:
    assert rules.out_of_range(np.array([0.9, 1.0, 2.0, 2.1, NAN]), 1.0, 2.0).tolist() == [True, False, False, True, False]
    assert not rules.out_of_range(np.array([-1e30]), None, None).any()


def test_future_is_later_than_received() -> None:
    assert rules.future(np.array([10, 11]), 10).tolist() == [False, True]


def test_a_jump_that_the_next_reading_takes_back_is_a_spike() -> None:
    assert rules.spike(*one_series(50, 120, 51, 52), 30).tolist() == [False, True, False, False]


def test_a_jump_that_the_next_reading_confirms_is_a_new_level() -> None:
    assert rules.spike(*one_series(50, 120, 121, 119), 30).tolist() == [False, True, False, False]


def test_spikes_in_a_row_at_odds_with_each_other_are_all_flagged() -> None:
    assert rules.spike(*one_series(50, 120, 5, 51), 30).tolist() == [False, True, True, False]


def test_a_spike_is_measured_against_the_last_credible_value_over_a_gap() -> None:
    assert rules.spike(*one_series(50, NAN, 120, NAN, 52), 30).tolist() == [False, False, True, False, False]


def test_the_first_reading_of_a_node_is_no_spike_beside_another_node() -> None:
    start = np.array([True, False, True, False])
    assert not rules.spike(np.array([1.0, 1.0, 99.0, 99.0]), start, 30).any()


def test_stuck_begins_with_the_reading_that_makes_it_too_long() -> None:
    assert rules.stuck(*one_series(5, 5, 5, 5, 6), 3).tolist() == [False, False, True, True, False]


def test_zero_is_never_stuck_and_a_gap_does_not_end_a_run() -> None:
    assert not rules.stuck(*one_series(0, 0, 0, 0), 3).any()
    assert rules.stuck(*one_series(5, NAN, 5, 5), 3).tolist() == [False, False, False, True]


def test_a_reading_too_soon_after_the_last_is_flagged_and_a_repeat_or_a_pause_is_not() -> None:
    start = np.array([True, False, False, False, False, True])
    assert rules.too_often(np.array([0, 300, 420, 420, 1800, 0]), start, 300).tolist() == [False, False, True, False, False, False]


def test_a_usual_fill_code_is_one_only_where_it_is_out_of_range() -> None:
    outside = np.array([True, False, True, True])
    assert rules.likely_fill_code(np.array([-9999.0, 999.0, 12.0, 9.96921e36]), outside).tolist() == [True, False, False, True]


def test_screen_converts_masks_and_sets_one_bit_per_rule() -> None:
    variables = {"v": RawVariable(unit="km/h", to="m s-1", missing=(-1.0,), valid_min=0.0, valid_max=40.0)}
    found = screen(
        {"v": np.array([36.0, -1.0, NAN, 3600.0, 36.0])},
        variables,
        node=np.zeros(5, np.int32),
        valid_time=np.array([0, 60, 120, 180, 999]),
        punctual=np.ones(5, np.bool_),
        received_time=500,
    )["v"]
    assert found.values[0] == 10
    assert np.isnan(found.values[1:3]).all()
    assert found.values[3] == 1000
    assert found.flags.tolist() == [0, Flag.FILL_CODE, Flag.MISSING, Flag.OUT_OF_RANGE, Flag.FUTURE]


def test_a_value_beyond_float32_is_flagged_and_no_infinity_is_stored() -> None:
    found = screen(
        {"v": np.array([1e300])},
        {"v": RawVariable(unit="count")},
        node=np.zeros(1, np.int32),
        valid_time=np.zeros(1, np.int64),
        punctual=np.ones(1, np.bool_),
        received_time=0,
    )["v"]
    assert np.isnan(found.values[0])
    assert found.flags[0] & Flag.OUT_OF_RANGE


@patch("pipeline.quality.unit_suspects.ENOUGH", 3)
@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 1), st.integers(0, 20), st.integers(0, 6), st.booleans()), min_size=1, max_size=40),
    st.integers(0, 21),
    st.randoms(use_true_random=False),
)
def test_no_flag_depends_on_what_is_available_later(rows: list[tuple[int, int, int, bool]], cut: int, random: object) -> None:
    from pipeline.quality.availability import settled

    latency = 2
    node = np.array([r[0] for r in rows], np.int32)
    valid = np.array([r[1] for r in rows], np.int64)
    value = np.array([[0.0, 20.0, 68.0, 50.0, 290.0, 120.0, NAN][r[2]] for r in rows])
    late = np.array([r[3] for r in rows])
    available = valid + np.where(late, 9, latency)
    variables = {"v": RawVariable(unit="degC", spike=30.0, stuck_after=3, valid_max=100.0, usual=(-10.0, 30.0))}
    settled_time = settled(available, node, valid, ~late)

    def flags(values: np.ndarray) -> np.ndarray:
        return screen({"v": values}, variables, node=node, valid_time=valid, punctual=~late, received_time=100, cadence=4)["v"].flags

    later = settled_time > cut
    poisoned = np.where(later, [random.choice([0.0, 7.0, 200.0, 68.0, 290.0]) for _ in rows], value)  # type: ignore[attr-defined]
    assert (flags(value)[~later] == flags(poisoned)[~later]).all()
