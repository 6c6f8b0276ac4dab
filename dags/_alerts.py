"""What happens when a task has failed for good: the command line raises an alert and tells people, as it does of all others."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

from pipeline.api import child_environment

_SECONDS = 120


def failed(context: Mapping[str, Any]) -> None:
    """Raise the alert of a failed task; it closes when its step has ended well."""
    ti = context["ti"]
    world, _, dag = ti.dag_id.rpartition("__")
    words = [sys.executable, "-m", "pipeline", "alerts", "failed", "--world", world, "--task", f"{dag}.{ti.task_id}", "--run", ti.run_id]
    code = _exit_code(ti)
    words += [] if code is None else ["--exit-code", str(code)]
    done = subprocess.run(  # noqa: S603
        words, env=child_environment(tells=True), capture_output=True, text=True, timeout=_SECONDS, check=False
    )
    if done.returncode or done.stderr:
        logging.getLogger(__name__).warning("alert of %s.%s: %s", ti.dag_id, ti.task_id, done.stderr.strip()[-2000:])


def _exit_code(ti: Any) -> int | None:
    """How the task's step ended; None where that is not known: it was killed, or its log is all there is."""
    try:
        code = ti.xcom_pull(task_ids=ti.task_id, key="exit_code")
    except Exception:  # a task that was killed has no supervisor to ask
        logging.getLogger(__name__).info("the exit code of %s is not known", ti.task_id)
        return None
    return code if isinstance(code, int) else None
