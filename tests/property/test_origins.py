"""Rolling origins: nothing that a model learns from lies within the embargo of its block, and every window is scored once."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.alignment.time_grid import axis, steps_ahead
from pipeline.contracts.times import to_seconds
from pipeline.contracts.windows import FOLD_CODES
from pipeline.contracts.worlds import World
from pipeline.windows.folds import expected_windows
from pipeline.windows.index import issue_lag, training_windows
from pipeline.windows.maturity import label_maturity
from pipeline.windows.origins import block_codes, learning_world, plan_origins
from tests.unit.windows.little import little_world

HOUR = 3600


@st.composite
def questions(draw: st.DrawFn) -> tuple[World, int, int, int, int]:
    world = little_world(
        step=timedelta(minutes=draw(st.sampled_from([5, 15, 60]))),
        context=draw(st.integers(1, 12)),
        horizon=draw(st.integers(1, 12)),
        latency=timedelta(minutes=draw(st.integers(0, 300))),
    )
    first = to_seconds(world.start) + draw(st.integers(100, 160)) * HOUR
    last = first + draw(st.integers(10, 100)) * HOUR + draw(st.integers(0, 3599))
    return world, first, last, draw(st.integers(1, 5)), draw(st.integers(0, 48)) * HOUR


def windows_at(world: World, domain: str, as_of: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Issue times, first context cells and last target cells of all windows known of as of an instant."""
    declared = world.domains[domain]
    past = axis(declared.clock, to_seconds(world.domain_start(domain)), as_of)
    whole = np.concatenate([past, steps_ahead(declared.clock, int(past[-1]), declared.horizon)])
    issue, end = training_windows(past, issue_lag(world, domain), declared.context, as_of)
    return issue, whole[end - declared.context + 1], whole[end + declared.horizon]


@settings(max_examples=60, deadline=None)
@given(question=questions())
def test_no_cell_that_a_model_learns_from_lies_within_the_embargo_of_its_block(question) -> None:
    world, first, last, count, embargo = question
    learning = learning_world(world)
    for origin in plan_origins(world, first, last, count, embargo):
        issue, _, last_target = windows_at(world, "road", origin.settled)
        codes = block_codes(learning, "road", issue, last_target, origin)
        learned = np.isin(codes, [FOLD_CODES["train"], FOLD_CODES["validation"]])
        tested = codes == FOLD_CODES["test"]
        assert learned.any()
        gap = issue[tested].min(initial=origin.end) - max(last_target[learned].max(), issue[learned].max(initial=0))
        assert gap >= max(embargo, label_maturity(world))
        purged = (issue <= origin.cut_off) & (last_target > origin.cut_off)
        assert not learned[purged].any()


@settings(max_examples=60, deadline=None)
@given(question=questions())
def test_the_blocks_hold_every_window_of_the_range_once_and_as_many_as_the_clock_says(question) -> None:
    world, first, last, count, embargo = question
    learning, found = learning_world(world), []
    origins = plan_origins(world, first, last, count, embargo)
    for origin in origins:
        issue, _, last_target = windows_at(world, "road", origin.settled)
        block = issue[block_codes(learning, "road", issue, last_target, origin) == FOLD_CODES["test"]]
        start = to_seconds(world.start)
        assert len(block) == expected_windows(world, "road", first=start, since=origin.begin, until=origin.end, as_of=origin.settled)
        found.append(block)
    issue, _, _ = windows_at(world, "road", origins[-1].settled)
    np.testing.assert_array_equal(np.concatenate(found), issue[(issue >= first) & (issue < last)])


def test_an_embargo_shorter_than_the_labels_need_is_as_long_as_they_need() -> None:
    world = little_world(latency=timedelta(hours=5))
    origin = plan_origins(world, to_seconds(world.start) + 90 * HOUR, to_seconds(world.start) + 99 * HOUR, 1, HOUR)[0]
    assert origin.begin - origin.cut_off == 5 * HOUR


@pytest.mark.parametrize("own", [False, True])
def test_learning_folds_keep_the_ratio_of_training_to_validation_and_leave_no_test(own) -> None:
    world = little_world()
    if own:
        road = world.domains["road"].model_copy(update={"folds": world.folds})
        world = world.model_copy(update={"domains": {"road": road}})
    made = learning_world(world)
    folds = made.domains["road"].folds if own else made.folds
    assert folds is not None
    assert folds.train / folds.validation == pytest.approx(world.folds.train / world.folds.validation)
    assert (folds.test, folds.train + folds.validation) == (0, pytest.approx(1))
