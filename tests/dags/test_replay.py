"""The replay of a day as a task."""

import warnings
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest

from pipeline.api import load_world
from pipeline.contracts.schedules import Schedule

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from airflow.sdk.exceptions import AirflowException, AirflowSkipException

    from dags._replay import Replay

LIVE = load_world("synthetic").model_copy(
    update={"recorded": None, "schedule": Schedule(ingest="*/15 * * * *", issue="0 6 * * *", train="0 2 * * *")}
)


def ends_with(code, run_type, try_number):
    """Run the replay of a day, its child ending with this code."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        task = Replay(world=LIVE, retries=5)
    asked = []
    task.run_child = lambda request, context: asked.append(request) or (code, "")
    ti = SimpleNamespace(try_number=try_number, xcom_push=lambda key, value: None)
    run = SimpleNamespace(partition_date=datetime(2026, 3, 4, tzinfo=UTC), run_type=run_type)
    try:
        task.execute({"params": {}, "ti": ti, "dag_run": run})
    finally:
        assert [f"{request.first:%d %H:%M} {request.last:%d %H:%M}" for request in asked] == ["04 00:00 05 00:00"]


def test_the_schedules_replay_of_yesterday_is_skipped_where_nothing_could_be_replayed_at_any_try():
    with pytest.raises(AirflowSkipException, match="nothing to replay of synthetic yet"):
        ends_with(75, "scheduled", try_number=6)


@pytest.mark.parametrize(("code", "run_type", "try_number"), [(75, "scheduled", 5), (75, "backfill", 6), (74, "scheduled", 6)])
def test_it_is_tried_before_that_and_one_that_somebody_asked_for_fails(code, run_type, try_number):
    with pytest.raises(AirflowException) as caught:
        ends_with(code, run_type, try_number)
    assert not isinstance(caught.value, AirflowSkipException)
