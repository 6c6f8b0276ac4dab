"""Whole receipts, from the store, of steps of which XComs give the ids and paths."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable, Mapping
from typing import Any

from airflow.sdk.exceptions import AirflowException

from pipeline.api import child_environment

_SECONDS = 120


def receipts_of(known: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The receipts that lie where XComs say, in their order.

    Raises:
        AirflowException: One cannot be read now.
    """
    paths = [said["paths"]["receipt"] for said in known]
    if not paths:
        return []
    words = [sys.executable, "-m", "pipeline", "receipts", "read", *paths]
    done = subprocess.run(words, env=child_environment(), capture_output=True, text=True, timeout=_SECONDS, check=False)  # noqa: S603
    if done.returncode:
        raise AirflowException(f"receipts cannot be read: {done.stderr.strip()[-2000:]}")
    return [json.loads(line) for line in done.stdout.splitlines()]
