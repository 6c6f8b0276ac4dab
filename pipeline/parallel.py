"""The only door to Dask: many independent tasks, on threads, on a local cluster, or on a cluster somewhere."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, TypeVar

from pipeline.errors import ConfigError, StoreError
from pipeline.machine import machine_bytes
from pipeline.process_tree import die_with_parent, heard_by_us_alone
from pipeline.settings import Settings, one_thread
from pipeline.telemetry import Progress, Stage

_CREDENTIALS = re.compile(
    r"credential|AccessDenied|access denied|forbidden|\b403\b|InvalidAccessKey|SignatureDoesNotMatch|ExpiredToken", re.I
)
_LENT = "a worker has an environment of its own: start {} with the AWS_… variables, or the role, that this command has"

Task = TypeVar("Task")
Result = TypeVar("Result")
_LOST_SECONDS, _LOOK_SECONDS = 60.0, 1.0
_KEEPS = {"MALLOC_TRIM_THRESHOLD_": 64 * 2**20, "MALLOC_MMAP_THRESHOLD_": 32 * 2**20}
"""Freed memory that a worker keeps for its next arrays; Dask's own 64 KiB lets every array be cleared by the kernel anew."""
_TURNS, TOGETHER = 4, 8
"""Batches of tasks for each thread of a cluster: more of them would end closer together, fewer read less twice. A worker keeps what
comes of a batch until all of it is made, so that it has no more than so many tasks."""


@dataclass(frozen=True, kw_only=True)
class Crew:
    """Those who work on tasks.

    Attributes:
        workers: Processes.
        threads: Tasks at once in each.
        memory: Bytes that each process may use.
        isolated: Whether they are other processes, so that nothing in memory is shared with them.
        spare: How many tasks more may be begun in a process where memory allows, so that others go on while one waits for storage.
    """

    workers: int
    threads: int
    memory: int
    isolated: bool
    spare: int = 0
    _client: Any = None

    def map(
        self, function: Callable[[Task], Result], tasks: Sequence[Task], progress: Progress, *, name: str = "regions", threads: int = 0
    ) -> list[Result]:
        """`function` of every task, in the order of the tasks; see `each`."""
        found: dict[int, Result] = {}
        self.each(function, tasks, found.__setitem__, progress, name=name, threads=threads)
        return [found[number] for number in range(len(tasks))]

    def each(
        self,
        function: Callable[[Task], Result],
        tasks: Sequence[Task],
        take: Callable[[int, Result], None],
        progress: Progress,
        *,
        name: str = "regions",
        threads: int = 0,
    ) -> tuple[str, ...]:
        """Hand over the number of every task and `function` of it, once, in whatever order; returns what was noticed about the workers.

        A task may be computed more than once, anywhere. What was handed over is kept by nobody else, here or at a worker. `take` is
        called in this thread; `threads` are the tasks at once in this process, where they are not `self.threads`.

        Raises:
            StoreError: The scheduler is out of reach, or every worker was lost for a minute.
        """
        with progress.stage(name, len(tasks), name) as stage:
            if not tasks:
                return ()
            if self._client is None:
                _on_threads(function, tasks, take, stage, threads or self.threads)
                return ()
            return _on_cluster(self._client, function, tasks, take, stage)


@contextmanager
def crew(settings: Settings) -> Iterator[Crew]:
    """Threads of this process, processes of a local cluster, or the workers of a cluster somewhere, as CUBECAST_DASK says.

    A process may use CUBECAST_MEMORY; without it its share of half of this machine's, or 60 % of a cluster's worker's, beyond which
    Dask writes to disk.

    Raises:
        ConfigError: CUBECAST_DASK names no scheduler.
        StoreError: The scheduler is out of reach, or has no worker.
    """
    if settings.dask is None:
        yield Crew(workers=1, threads=worker_count(), memory=settings.memory or machine_bytes() // 2, isolated=False, spare=1)
        return
    with _client(settings) as client:
        found = _workers(client)
        if not found:
            raise StoreError(asked=f"workers of {settings.dask}", found="none", mend="start workers, then run the same command again")
        limits = [int(w["memory_limit"]) * 6 // 10 for w in found.values() if w["memory_limit"]]
        given = [settings.memory] if settings.memory else []
        threads = max(int(w["nthreads"]) for w in found.values())
        memory = min([*limits, *given], default=machine_bytes() // 2)
        yield Crew(workers=len(found), threads=threads, memory=memory, isolated=True, _client=client)


def worker_count() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0))


@contextmanager
def call_elsewhere(settings: Settings, workers: int) -> Iterator[Executor]:
    """Where calls run beside this process: on the cluster where there is one, else in `workers` processes of our own.

    One worker is this process itself. Processes of our own calculate on one thread and end with this one.

    Raises:
        StoreError: A process was killed.
    """
    if settings.dask is not None:
        with _client(settings) as client:
            yield _AtWorkers(client.get_executor())
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
        with heard_by_us_alone():
            for _ in range(workers):  # each call begins a process while none is idle
                pool.submit(int)
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


class _AtWorkers(Executor):
    """Runs calls on the workers of a cluster."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor

    def submit(self, fn: Callable[..., Result], /, *args: Any, **kwargs: Any) -> Future[Result]:
        """The call, begun at a worker."""
        return self._executor.submit(_call, fn, args, kwargs)


def _on_threads(
    function: Callable[[Task], Result], tasks: Sequence[Task], take: Callable[[int, Result], None], stage: Stage, threads: int
) -> None:
    def one(task: Task) -> Result:
        result = function(task)
        stage.advance(1)
        return result

    if len(tasks) == 1 or threads == 1:
        _hand_over(take, 0, map(one, tasks))
        return
    with ThreadPoolExecutor(threads) as pool:
        try:
            _hand_over(take, 0, pool.map(one, tasks))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _hand_over(take: Callable[[int, Result], None], first: int, results: Iterable[Result]) -> None:
    for number, result in enumerate(results, first):
        take(number, result)
        del result  # else the last one stays while the next is made


def _on_cluster(
    client: Any, function: Callable[[Task], Result], tasks: Sequence[Task], take: Callable[[int, Result], None], stage: Stage
) -> tuple[str, ...]:
    """Neighbours go to the same worker, some at a time: what one has read serves the next."""
    # A cluster of our own ends with a Ctrl-C, and complains of what was being said between it and us then.
    with nullcontext() if client.cluster is None else heard_by_us_alone():
        found = _workers(client)
        size = min(-(-len(tasks) // (_TURNS * sum(int(w["nthreads"]) for w in found.values()))), TOGETHER)
        shared = client.scatter(function, broadcast=True, hash=False)
        waiting = {k: client.submit(_apply, shared, tasks[k : k + size], pure=False, retries=2) for k in range(0, len(tasks), size)}
    try:
        _take_all(client, waiting, take, stage)
    except BaseException:
        client.cancel([*waiting.values(), shared])  # else the scheduler takes its end for a loss
        raise
    after = len(_workers(client))
    return () if after >= len(found) else (f"the cluster shrank from {len(found)} to {after} workers",)


def _take_all(client: Any, waiting: dict[int, Any], take: Callable[[int, Result], None], stage: Stage) -> None:
    """Hand over what comes of the tasks, as it comes."""
    seen = time.monotonic()
    while waiting:
        done = [first for first, future in waiting.items() if future.done()]
        for first in done:
            # Popped: a worker lets go of a result as soon as nobody here names its future.
            results = waiting.pop(first).result()
            stage.advance(len(results))
            _hand_over(take, first, results)
            del results
        if done:
            seen = time.monotonic()
        elif time.monotonic() - seen > _LOOK_SECONDS:
            seen = _last_seen(client, seen)
        if waiting:
            time.sleep(0.02)


def _workers(client: Any) -> Any:
    return client.scheduler_info(n_workers=-1)["workers"]


def _apply(function: Callable[[Task], Result], tasks: Sequence[Task]) -> list[Result]:
    with _naming_the_worker():
        return [function(task) for task in tasks]


def _call(fn: Callable[..., Result], args: Sequence[Any], kwargs: Mapping[str, Any]) -> Result:
    with _naming_the_worker():
        return fn(*args, **kwargs)


@contextmanager
def _naming_the_worker() -> Iterator[None]:
    """Errors of storage say on which worker they came; where credentials are to blame, they are those of the worker."""
    import distributed

    try:
        yield
    except StoreError as error:
        address = distributed.get_worker().address
        mend = f"{_LENT.format(address)}; then run the same command again" if _CREDENTIALS.search(error.found) else error.mend
        raise StoreError(asked=f"{error.asked}, on the Dask worker {address}", found=error.found, mend=mend) from error


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
def local_cluster(processes: int, memory: int | str = "auto") -> Iterator[Any]:
    """Worker processes of one thread on this machine, each of which may use so many bytes before Dask ends it."""
    import dask
    import distributed

    LocalCluster: Any = distributed.LocalCluster
    begun_with = {f"distributed.nanny.pre-spawn-environ.{name}": str(size) for name, size in _KEEPS.items()}
    with dask.config.set(begun_with):
        with heard_by_us_alone():
            cluster = LocalCluster(
                n_workers=processes, threads_per_worker=1, processes=True, dashboard_address="127.0.0.1:0", memory_limit=memory
            )
        with cluster:
            yield cluster


@contextmanager
def _client(settings: Settings) -> Iterator[Any]:
    import distributed

    Client: Any = distributed.Client

    address = str(settings.dask)
    kind, _, rest = address.partition(":")
    if kind == "processes" and rest.isdigit() and int(rest) > 0:
        share = machine_bytes() // 2 // int(rest)
        with local_cluster(int(rest), (settings.memory or share) * 10 // 6 + 1) as cluster, Client(cluster) as client:
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
