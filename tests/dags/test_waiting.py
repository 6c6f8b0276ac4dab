"""What waits, for how long, and what then."""

import warnings
from datetime import UTC, datetime, timedelta

import pytest

from pipeline.contracts.times import format_instant
from tests.dags.stage import ENDED, LIVE, RECEIPT, context, silently

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowSkipException, TaskDeferred

    from dags import _waiting


def wait(monkeypatch, world, code, *, ago, event=None):
    """Run the waiting task of a forecast that was due some time ago, its look at the inputs ending with this code."""
    task = silently(_waiting.Inputs, world=world)
    asked = []
    monkeypatch.setattr(task, "run_child", lambda request, context: asked.append(request) or (code, ""))
    due = datetime.now(UTC).replace(microsecond=0) - ago
    return due, asked, lambda: task.execute(context(partition=due, issue_time=None, now=None), event)


def test_a_forecast_whose_inputs_are_there_is_issued_at_its_own_time(monkeypatch):
    due, asked, run = wait(monkeypatch, LIVE, 0, ago=timedelta(minutes=2))
    assert run() == format_instant(due)
    assert [request.as_of for request in asked] == [due]


def test_a_forecast_waits_for_late_inputs_without_holding_a_worker(monkeypatch):
    _, _, run = wait(monkeypatch, LIVE, 75, ago=timedelta(minutes=2))
    with pytest.raises(TaskDeferred) as deferred:
        run()
    assert abs(deferred.value.trigger.moment - datetime.now(UTC) - LIVE.schedule.poll) < timedelta(seconds=30)


def test_late_inputs_that_have_come_move_the_issue_time_to_when_they_had(monkeypatch):
    due, _, run = wait(monkeypatch, LIVE, 0, ago=timedelta(minutes=20), event={"any": "thing"})
    assert datetime.fromisoformat(run()) > due + timedelta(minutes=19)


def test_at_the_deadline_a_world_forecasts_with_what_there_is_or_fails_as_it_says(monkeypatch):
    due, _, run = wait(monkeypatch, LIVE, 75, ago=timedelta(minutes=59))
    assert run() == format_instant(due)
    strict = LIVE.model_copy(update={"schedule": LIVE.schedule.model_copy(update={"late": "fail"})})
    _, _, run = wait(monkeypatch, strict, 75, ago=timedelta(minutes=59))
    with pytest.raises(AirflowFailException, match="still late"):
        run()


@pytest.mark.parametrize("code", [-9, 74, 124])
def test_a_look_at_the_inputs_that_was_killed_is_begun_again(monkeypatch, code):
    _, _, run = wait(monkeypatch, LIVE, code, ago=timedelta(minutes=2))
    with pytest.raises(AirflowException) as caught:
        run()
    assert not isinstance(caught.value, AirflowFailException)


def land(monkeypatch, world, code, *, ago):
    """Run the landing of a source that was due some time ago, its look ending with this code."""
    task = silently(_waiting.Landing, world=world, source="roads")
    monkeypatch.setattr(task, "run_child", lambda request, context: (code, RECEIPT))
    due = datetime.now(UTC).replace(microsecond=0) - ago
    return lambda: task.execute(context(partition=due, issue_time=None, now=None))


def test_a_late_source_is_held_for_without_a_worker_and_then_skipped_or_failed_as_the_world_says(monkeypatch):
    with pytest.raises(TaskDeferred):
        land(monkeypatch, LIVE, 75, ago=timedelta(minutes=1))()
    with pytest.raises(AirflowSkipException, match="roads"):
        land(monkeypatch, LIVE, 75, ago=timedelta(minutes=9))()
    strict = LIVE.model_copy(update={"schedule": LIVE.schedule.model_copy(update={"late": "fail"})})
    with pytest.raises(AirflowFailException, match="roads"):
        land(monkeypatch, strict, 75, ago=timedelta(minutes=9))()
    assert land(monkeypatch, LIVE, 0, ago=timedelta(minutes=1))()["ids"] == {"snapshot": "s1"}


def test_a_source_whose_data_are_wrong_fails_whatever_the_world_says_of_late_ones(monkeypatch):
    with pytest.raises(AirflowFailException):
        land(monkeypatch, LIVE, 65, ago=timedelta(minutes=9))()
    with pytest.raises(AirflowException) as caught:
        land(monkeypatch, ENDED, 75, ago=timedelta(minutes=1))()
    assert not isinstance(caught.value, AirflowSkipException | AirflowFailException), "without a schedule it is tried again"


def test_a_world_without_a_schedule_never_waits(monkeypatch):
    due, asked, run = wait(monkeypatch, ENDED, 75, ago=timedelta(0))
    assert run() == format_instant(due)
    assert asked == []
