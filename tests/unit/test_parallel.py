import os
import threading
from pathlib import Path

import pytest

from pipeline.errors import ConfigError
from pipeline.parallel import map_regions
from pipeline.settings import Settings
from pipeline.telemetry import QUIET


def settings_of(dask: str | None) -> Settings:
    return Settings(store="unused", data=None, dask=dask)


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
    assert map_regions(double, list(range(50)), settings_of(None), QUIET).results == [2 * k for k in range(50)]


def test_no_task_gives_no_result_and_one_task_needs_no_scheduler() -> None:
    assert map_regions(double, [], settings_of("processes:2"), QUIET).results == []
    assert map_regions(lambda _: threading.current_thread().name, [0], settings_of(None), QUIET).results == ["MainThread"]


def test_an_error_of_a_task_is_the_error_of_the_whole() -> None:
    with pytest.raises(ZeroDivisionError):
        map_regions(lambda k: 1 // k, [1, 0, 2], settings_of(None), QUIET)


@pytest.mark.parametrize("address", ["processes:0", "processes:two", "spark://x", "2"])
def test_an_address_that_is_none_is_refused(address: str) -> None:
    with pytest.raises(ConfigError, match="processes:2 or tcp://"):
        map_regions(double, [1], settings_of(address), QUIET)


def test_a_worker_killed_on_the_way_changes_no_result(tmp_path: Path) -> None:
    tasks = [(k, str(tmp_path)) for k in range(6)]
    assert map_regions(dies_once, tasks, settings_of("processes:2"), QUIET).results == list(range(6))
    assert (tmp_path / "died").exists()
