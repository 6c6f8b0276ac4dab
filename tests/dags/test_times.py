"""Which times a run is asked for."""

import warnings
from datetime import UTC, datetime, timedelta

import pytest

from tests.dags.stage import T, context

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from airflow.sdk.exceptions import AirflowFailException

    from dags import _house


def test_times_come_from_the_newest_event_that_triggered_the_run():
    older = {"issue_time": "2025-10-31T12:00:00Z", "now": "2025-11-02T00:00:00Z"}
    assert _house.times(context([older, T, {}], issue_time="2020-01-01T00:00:00Z")) == T


def test_times_come_from_parameters_where_no_event_triggered_the_run():
    assert _house.times(context(issue_time=T["issue_time"], now=None)) == {"issue_time": T["issue_time"], "now": T["issue_time"]}


def test_the_issue_time_of_a_scheduled_run_is_its_partition_and_its_now_is_the_clock():
    partition = datetime(2025, 11, 1, 6, tzinfo=UTC)
    found = _house.times(context(partition=partition, issue_time=None, now=None))
    assert found["issue_time"] == "2025-11-01T06:00:00Z"
    assert abs(datetime.now(UTC) - datetime.fromisoformat(found["now"])) < timedelta(minutes=1)


def test_a_run_without_a_time_is_refused_with_the_mend():
    with pytest.raises(AirflowFailException, match="trigger it with issue_time"):
        _house.times(context(issue_time=None, now=None))
