"""When a task is tried again: at once where its step was killed, with growing patience where something is not there or does not answer."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import RetryAction, RetryDecision, RetryPolicy
from airflow.sdk.exceptions import AirflowException

FIRST, MOST = timedelta(seconds=15), timedelta(minutes=10)


class Killed(AirflowException):
    """A step was killed: by a fault of its machine, or for want of memory."""


class Patience(RetryPolicy):
    """Come back after 15 s, then after twice as long each time, never later than after 10 minutes; what was killed is begun again at once, then after 1, 3, 7 s."""

    def evaluate(self, exception: BaseException, try_number: int, max_tries: int, context: Any = None) -> RetryDecision:
        """How long to wait after this failure."""
        doubled = 2 ** (try_number - 1)
        delay = timedelta(seconds=doubled - 1) if isinstance(exception, Killed) else FIRST * doubled
        return RetryDecision(action=RetryAction.RETRY, retry_delay=min(delay, MOST))


TRIES = {
    "retries": 5,
    "retry_delay": timedelta(seconds=1),
    "retry_exponential_backoff": True,
    "max_retry_delay": MOST,
    "retry_policy": Patience(),
}
"""The delay is for those who cannot be asked: a task whose own process was killed."""
