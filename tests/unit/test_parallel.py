import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from pipeline.errors import ConfigError
from pipeline.machine import machine_bytes
from pipeline.parallel import TOGETHER, crew
from pipeline.settings import Settings
from pipeline.telemetry import QUIET


def settings_of(dask: str | None) -> Settings:
    return Settings(store="unused", data=None, dask=dask)


def mapped(function, tasks, dask):
    with crew(settings_of(dask)) as workers:
        return workers.map(function, tasks, QUIET)


def double(task: int) -> int:
    return 2 * task


def dies_once(task: tuple[int, str]) -> int:
    number, folder = task
    mark = Path(folder) / "died"
    if number == 2 and not mark.exists():
        mark.touch()
        os._exit(9)
    return number


def test_results_come_in_the_order_of_the_tasks() -> None:
    assert mapped(double, list(range(50)), None) == [2 * k for k in range(50)]


class Held:
    """A result that says when it is let go of, at a worker too."""

    def __init__(self, folder: str, number: int) -> None:
        self.mark = Path(folder) / f"{os.getpid()}-{number}"
        self.mark.touch()

    def __setstate__(self, state: dict[str, Path]) -> None:
        self.mark = state["mark"].with_name(f"{os.getpid()}-{state['mark'].name}")
        self.mark.touch()

    def __del__(self) -> None:
        self.mark.unlink(missing_ok=True)


def held(task: tuple[int, str]) -> Held:
    return Held(task[1], task[0])


def held_in_the_end(folder: Path, dask: str | None, *, tasks: int, at_most: int) -> int:
    """How many results are held anywhere when the last one is taken; a worker has a minute to hear that others were."""
    taken: list[int] = []

    def take(number: int, result: Held) -> None:
        taken.append(number)
        patience = time.monotonic() + 60
        while len(taken) == tasks and len(list(folder.iterdir())) > at_most and time.monotonic() < patience:
            time.sleep(0.05)
        if len(taken) == tasks:
            taken.append(len(list(folder.iterdir())))

    with crew(settings_of(dask)) as workers:
        workers.each(held, [(k, str(folder)) for k in range(tasks)], take, QUIET)
    return taken[tasks]


def test_threads_keep_no_result_that_was_taken(tmp_path: Path) -> None:
    assert held_in_the_end(tmp_path, None, tasks=40, at_most=1) == 1


def test_a_cluster_keeps_no_more_than_a_batch_of_results_which_here_and_at_its_worker_are_let_go_of(tmp_path: Path) -> None:
    most = 2 * TOGETHER
    assert held_in_the_end(tmp_path, "processes:1", tasks=10 * TOGETHER, at_most=most) <= most


def test_what_is_taken_comes_once_with_the_number_of_its_task() -> None:
    found: list[tuple[int, int]] = []
    with crew(settings_of(None)) as workers:
        assert workers.each(double, [5, 6, 7], lambda number, result: found.append((number, result)), QUIET) == ()
    assert sorted(found) == [(0, 10), (1, 12), (2, 14)]


def test_no_task_gives_no_result_and_one_task_needs_no_scheduler() -> None:
    assert mapped(double, [], None) == []
    assert mapped(lambda _: threading.current_thread().name, [0], None) == ["MainThread"]


def test_an_error_of_a_task_is_the_error_of_the_whole() -> None:
    with pytest.raises(ZeroDivisionError):
        mapped(lambda k: 1 // k, [1, 0, 2], None)


@pytest.mark.parametrize("address", ["processes:0", "processes:two", "spark://x", "2"])
def test_an_address_that_is_none_is_refused(address: str) -> None:
    with pytest.raises(ConfigError, match="processes:2 or tcp://"):
        mapped(double, [1], address)


def test_a_worker_killed_on_the_way_changes_no_result(tmp_path: Path) -> None:
    tasks = [(k, str(tmp_path)) for k in range(6)]
    with crew(Settings(store="unused", data=None, dask="processes:2", memory=2**30)) as workers:
        assert (workers.workers, workers.threads, workers.memory, workers.isolated) == (2, 1, 2**30, True)
        assert workers.map(dies_once, tasks, QUIET) == list(range(6))
    assert (tmp_path / "died").exists()


def test_memory_is_what_was_given_or_half_of_what_there_is() -> None:
    with crew(Settings(store="unused", data=None, dask=None, memory=2**30)) as given, crew(settings_of(None)) as found:
        assert given.memory == 2**30
        assert found.memory == machine_bytes() // 2


WORKS = """
import time
from pipeline.parallel import call_elsewhere, crew
from pipeline.settings import Settings
from pipeline.telemetry import QUIET
settings = Settings(store="unused", data=None, dask={dask!r})
try:
    {work}
except KeyboardInterrupt:
    print("ENDED", flush=True)
"""
MAPPED = """with crew(settings) as workers:
        print("READY", flush=True)
        workers.map(time.sleep, [0.2] * 1000, QUIET)"""
CALLED = """with call_elsewhere(settings, 2) as elsewhere:
        print("READY", flush=True)
        [call.result() for call in [elsewhere.submit(time.sleep, 60.0) for _ in range(3)]]"""


@pytest.mark.parametrize(("dask", "work"), [("processes:2", MAPPED), (None, CALLED)])
def test_a_ctrl_c_in_a_terminal_is_heard_by_the_command_and_by_no_worker(dask: str | None, work: str) -> None:
    command = [sys.executable, "-c", WORKS.format(dask=dask, work=work)]
    asked = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "start_new_session": True}
    process = subprocess.Popen(command, **asked, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler))
    assert process.stdout.readline() == "READY\n"
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (out, "KeyboardInterrupt" in err, "resource_tracker" in err) == ("ENDED\n", False, False), err
