"""The only door to Dask: many independent tasks, on threads, on a local cluster, or on a cluster somewhere."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from pipeline.errors import ConfigError, StoreError
from pipeline.process_tree import die_with_parent
from pipeline.settings import Settings, one_thread
from pipeline.telemetry import Progress, Stage

Task = TypeVar("Task")
Result = TypeVar("Result")
_LOST_SECONDS = 60.0


@dataclass(frozen=True, kw_only=True)
class Mapped(Generic[Result]):
    """Results in the order of the tasks, and what was noticed about the workers on the way."""

    results: list[Result]
    notes: tuple[str, ...] = ()


def isolated(settings: Settings) -> bool:
    """Whether tasks run in other processes, so that nothing in memory is shared with them."""
    return settings.dask is not None


def worker_count(settings: Settings) -> int:
    """Tasks that run at once in one process."""
    return 1 if isolated(settings) else processors()


def processors() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0))


def map_regions(
    function: Callable[[Task], Result], tasks: Sequence[Task], settings: Settings, progress: Progress, *, name: str = "regions"
) -> Mapped[Result]:
    """`function` of every task, each computed at least once; the results do not depend on where or in which order.

    Raises:
        ConfigError: CUBECAST_DASK names no scheduler.
        StoreError: The scheduler is out of reach, or every worker was lost for a minute.
    """
    with progress.stage(name, len(tasks), "regions") as stage:
        if not tasks:
            return Mapped(results=[])
        if not isolated(settings):
            return Mapped(results=_on_threads(function, tasks, stage))
        with _client(str(settings.dask)) as client:
            return _on_cluster(client, function, tasks, stage)


@contextmanager
def call_elsewhere(settings: Settings, workers: int) -> Iterator[Executor]:
    """Where calls run beside this process: on the cluster where there is one, else in `workers` processes of our own.

    One worker is this process itself. Processes of our own calculate on one thread and end with this one.

    Raises:
        StoreError: A process was killed.
    """
    if settings.dask is not None:
        with _client(settings.dask) as client:
            yield client.get_executor()
    elif workers == 1:
        yield _Here()
    else:
        with _processes(workers) as pool:
            yield pool


@contextmanager
def _processes(workers: int) -> Iterator[Executor]:
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor
    from concurrent.futures.process import BrokenProcessPool

    others = set(multiprocessing.active_children())
    spawn = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, mp_context=spawn, initializer=_begin, initargs=(os.getpid(),))
    try:
        yield pool
        pool.shutdown()
    except BaseException as error:
        for process in set(multiprocessing.active_children()) - others:
            process.terminate()
        pool.shutdown(cancel_futures=True)
        if isinstance(error, BrokenProcessPool):
            raise StoreError(
                asked=f"work in {workers} processes",
                found="one of them was killed",
                mend="look whether memory ran out; then run the same command again, it goes on",
            ) from error
        raise


def _begin(parent: int) -> None:
    """What a process of our own does first: a Ctrl-C is for its parent, with which it ends."""
    die_with_parent(parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    one_thread()


class _Here(Executor):
    """Runs a call at once, in this process."""

    def submit(self, fn: Callable[..., Result], /, *args: Any, **kwargs: Any) -> Future[Result]:
        """The result of a call, or what it raised."""
        done: Future[Result] = Future()
        done.set_result(fn(*args, **kwargs))
        return done


def _on_threads(function: Callable[[Task], Result], tasks: Sequence[Task], stage: Stage) -> list[Result]:
    def one(task: Task) -> Result:
        result = function(task)
        stage.advance(1)
        return result

    if len(tasks) == 1:
        return [one(tasks[0])]
    from dask.base import compute as dask_compute
    from dask.delayed import delayed as dask_delayed

    compute: Any = dask_compute
    lazily: Any = dask_delayed
    return list(compute(*(lazily(one, pure=False)(task) for task in tasks), scheduler="threads"))


def _on_cluster(client: Any, function: Callable[[Task], Result], tasks: Sequence[Task], stage: Stage) -> Mapped[Result]:
    before = len(_workers(client))
    shared = client.scatter(function, broadcast=True, hash=False)
    futures = [client.submit(_apply, shared, task, pure=False, retries=2) for task in tasks]
    done, seen = 0, time.monotonic()
    while done < len(futures):
        finished = sum(future.done() for future in futures)
        stage.advance(finished - done)
        done, seen = finished, _last_seen(client, seen)
        time.sleep(0.02)
    results = client.gather(futures)
    after = len(_workers(client))
    return Mapped(results=results, notes=() if after >= before else (f"the cluster shrank from {before} to {after} workers",))


def _workers(client: Any) -> Any:
    return client.scheduler_info(n_workers=-1)["workers"]


def _apply(function: Callable[[Task], Result], task: Task) -> Result:
    return function(task)


def _last_seen(client: Any, before: float) -> float:
    """When there last was a worker (monotonic seconds)."""
    if _workers(client):
        return time.monotonic()
    if time.monotonic() - before > _LOST_SECONDS:
        raise StoreError(
            asked="a Dask worker", found=f"none for {_LOST_SECONDS:.0f} s", mend="start workers, then run the same command again"
        )
    return before


@contextmanager
def _client(address: str) -> Iterator[Any]:
    import distributed

    Client: Any = distributed.Client
    LocalCluster: Any = distributed.LocalCluster

    kind, _, rest = address.partition(":")
    if kind == "processes" and rest.isdigit() and int(rest) > 0:
        options = {"n_workers": int(rest), "threads_per_worker": 1, "processes": True, "dashboard_address": "127.0.0.1:0"}
        with LocalCluster(**options) as cluster, Client(cluster) as client:
            yield client
    elif kind in ("tcp", "tls"):
        try:
            client = Client(address, timeout=30)
        except OSError as error:
            raise StoreError(
                asked=f"Dask scheduler {address}", found=str(error), mend="start it, or unset CUBECAST_DASK to use threads"
            ) from error
        with client:
            yield client
    else:
        raise ConfigError(
            asked=f"CUBECAST_DASK = '{address}'",
            found="neither processes:N nor tcp://host:port",
            mend="write processes:2 or tcp://scheduler:8786, or unset it to use threads",
        )
