"""Steps of a real Airflow killed once each, as soon as they are seen."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from pipeline.process_tree import descendants
from tests.torture.managed import words_of


@contextmanager
def struck_once(process: subprocess.Popen[str], steps: tuple[str, ...]) -> Iterator[dict[str, list[str]]]:
    """Kills, below a process, the first process of each of the steps; what each was asked comes into the dictionary."""
    struck: dict[str, list[str]] = {}
    striker = threading.Thread(target=_strike, args=(process, set(steps), struck), daemon=True)
    striker.start()
    yield struck
    striker.join(timeout=10)


def _strike(process: subprocess.Popen[str], steps: set[str], struck: dict[str, list[str]]) -> None:
    while process.poll() is None and len(struck) < len(steps):
        for pid in descendants(process.pid):
            words = words_of(pid)[1:]
            if words[:2] == ["-m", "pipeline"] and words[2] in steps - set(struck) and "--die-with-parent" in words:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                    struck[words[2]] = words
        time.sleep(0.2)
