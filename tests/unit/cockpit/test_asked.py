"""As of when a task is asked is what its run or its events carry."""

import pytest

from pipeline.cockpit.asked import asked_at
from pipeline.contracts.times import format_instant

OLDER = {"issue_time": "2025-10-31T12:00:00Z", "now": "2025-11-09T00:00:00Z"}
NEWER = {"issue_time": "2025-11-01T12:00:00Z", "now": "2025-11-03T00:00:00Z", "ids": {}}


@pytest.mark.parametrize(
    ("step", "instant"), [("", NEWER["issue_time"]), ("train", NEWER["issue_time"]), ("build_cube", NEWER["now"]), ("verify", NEWER["now"])]
)
def test_a_step_is_asked_for_the_newest_issue_time_or_for_what_time_it_is_then(step, instant):
    assert format_instant(asked_at([{}, NEWER, OLDER], step)) == instant


def test_it_is_the_issue_time_where_nothing_says_what_time_it_is():
    assert format_instant(asked_at([{"issue_time": NEWER["issue_time"], "now": None}], "land")) == NEWER["issue_time"]


def test_what_carries_no_instant_is_passed_over():
    by_hand = [{"issue_time": "tomorrow"}, {"issue_time": "2026-01-01T00:00:00"}, {"issue_time": 71}, {"now": NEWER["now"]}]
    assert asked_at(by_hand) is None
    assert format_instant(asked_at([*by_hand, NEWER])) == NEWER["issue_time"]
