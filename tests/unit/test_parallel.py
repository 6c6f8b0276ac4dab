import os
import threading
from pathlib import Path

import pytest

from pipeline.errors import ConfigError
from pipeline.parallel import crew, machine_bytes
from pipeline.settings import Settings
from pipeline.telemetry import QUIET


def settings_of(dask: str | None) -> Settings:
    return Settings(store="unused", data=None, dask=dask)


def mapped(function, tasks, dask):
    with crew(settings_of(dask)) as workers:
        return workers.map(function, tasks, QUIET).results


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
        assert workers.map(dies_once, tasks, QUIET).results == list(range(6))
    assert (tmp_path / "died").exists()


def test_memory_is_what_was_given_or_half_of_what_there_is() -> None:
    with crew(Settings(store="unused", data=None, dask=None, memory=2**30)) as given, crew(settings_of(None)) as found:
        assert given.memory == 2**30
        assert found.memory == machine_bytes() // 2
