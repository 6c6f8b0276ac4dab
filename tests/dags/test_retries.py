"""When a task is tried again."""

import warnings
from datetime import timedelta

import pytest

from pipeline.api import PredictRequest

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from airflow.sdk import RetryAction
    from airflow.sdk.exceptions import AirflowException

    from dags import _house, _retries, _steps
    from pipeline.api import load_world

REQUEST = PredictRequest(world="synthetic", as_of="2025-11-01T12:00:00Z")


@pytest.mark.parametrize("code", [-9, 137, -11])
def test_a_step_that_was_killed_is_begun_again_at_once(code):
    with pytest.raises(_retries.Killed, match="killed") as caught:
        _steps.decide(code, REQUEST)
    assert [_retries.Patience().evaluate(caught.value, number, 5).retry_delay.total_seconds() for number in (1, 2, 3, 4)] == [0, 1, 3, 7]


def test_a_task_whose_own_process_was_killed_and_cannot_be_asked_is_begun_again_after_a_second():
    told = _house.house(load_world("synthetic"), "cube")["default_args"]
    assert told["retry_delay"] == timedelta(seconds=1)
    assert isinstance(told["retry_policy"], _retries.Patience)


def test_for_what_is_not_there_yet_a_step_comes_back_with_growing_patience():
    with pytest.raises(AirflowException, match="come back") as caught:
        _steps.decide(75, REQUEST)
    told = [_retries.Patience().evaluate(caught.value, number, 5) for number in (1, 2, 3, 9)]
    assert {decision.action for decision in told} == {RetryAction.RETRY}
    assert [decision.retry_delay.total_seconds() for decision in told] == [15, 30, 60, 600]
