"""The cube from a Dask scheduler with two workers, each a process of its own reached over tcp, is that of threads byte for byte."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipeline.api import BuildCubeRequest
from pipeline.contracts.times import from_seconds
from pipeline.errors import ConfigError, StoreError
from pipeline.parallel import Crew
from pipeline.steps import build_cube
from pipeline.stores.cubes import CubeStore
from tests.feeds import START, Place, build, make_place, observe, random_rows
from tests.s3 import s3_store

ROOT = Path(__file__).resolve().parents[2]
END = START + 40 * 3600
FOLLOW = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}


def process(*words: str, env: Mapping[str, str] = os.environ) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, "-m", *words], cwd=ROOT, env={**env, "PYTHONPATH": str(ROOT)}, **FOLLOW)


def end(child: subprocess.Popen) -> None:
    # A worker told to end while its scheduler goes away can wait for ever in its own close.
    try:
        child.communicate(timeout=20)
    except subprocess.TimeoutExpired:
        child.kill()
        child.communicate()


@contextmanager
def cluster(
    workers: int,
    memory: str = "1GiB",
    *,
    started: list[subprocess.Popen] | None = None,
    nanny: bool = True,
    env: Mapping[str, str] = os.environ,
) -> Iterator[str]:
    """A scheduler's address, with so many workers; `started` takes their processes, the scheduler's first. `env` is that of workers."""
    started = [] if started is None else started
    started.append(process("distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--no-show"))
    try:
        address = next(m[0] for line in started[0].stderr if (m := re.search(r"tcp://127\.0\.0\.1:\d+", line)))
        options = ("--nthreads", "1", "--memory-limit", memory, "--no-dashboard", *(() if nanny else ("--no-nanny",)))
        for _ in range(workers):
            started.append(process("distributed.cli.dask_worker", address, *options, env=env))
        for worker in started[1:]:
            assert any("Registered to" in line for line in worker.stderr)
        yield address
    finally:
        for child in reversed(started):
            child.terminate()
        for child in reversed(started):
            end(child)


def on(place: Place, dask: str | None, **more: object) -> Place:
    return replace(place, settings=replace(place.settings, dask=dask, **more))


def arrays(place: Place) -> dict[str, bytes]:
    store = CubeStore(place.settings.store, "little")
    cubes = {domain: store.open(from_seconds(END), domain) for domain in store.domains()}
    return {f"{d} {n}": getattr(c, n).tobytes() for d, c in cubes.items() for n in ("values_TNV", "flags_TNV", "latency_TNV")}


def test_two_workers_over_tcp_make_the_same_bytes_as_threads_and_are_held_to_their_memory(tmp_path: Path) -> None:
    places = [make_place(tmp_path / name) for name in ("threads", "tcp")]
    for place in places:
        observe(place, "road", random_rows(np.random.default_rng(1), hours=40))
    first = build(places[0], END)
    with cluster(2) as address:
        with pytest.raises(ConfigError, match="3 MiB are allowed"):
            build(on(places[1], address, memory=3 * 2**20), END)
        second = build(on(places[1], address), END)
    assert {k: v for k, v in first.ids.items() if k != "snapshot"} == {k: v for k, v in second.ids.items() if k != "snapshot"}
    assert arrays(places[0]) == arrays(places[1])


def test_a_scheduler_without_workers_is_told_at_once(tmp_path: Path) -> None:
    place = make_place(tmp_path)
    observe(place, "road", random_rows(np.random.default_rng(1), hours=2))
    with cluster(0) as address, pytest.raises(StoreError, match="start workers"):
        build(on(place, address), END)


class KillsAtTheFirstRegion:
    """Progress that ends a process for good as soon as one region is made."""

    def __init__(self, victim: subprocess.Popen) -> None:
        self.victim, self.regions, self.killed_at = victim, False, -1.0

    @contextmanager
    def stage(self, name: str, total: float | None, unit: str = "") -> Iterator["KillsAtTheFirstRegion"]:
        self.regions, self.done = name == "regions", 0.0
        yield self

    def advance(self, amount: float = 1, note: str = "") -> None:
        self.done += amount
        if self.regions and self.done and self.victim.poll() is None:
            self.victim.kill()
            self.victim.wait(60)
            self.killed_at = self.done


def test_a_worker_killed_in_the_middle_of_a_build_changes_no_byte_and_the_shrunken_cluster_is_told(tmp_path: Path) -> None:
    places = [make_place(tmp_path / name) for name in ("threads", "tcp")]
    for place in places:
        observe(place, "road", random_rows(np.random.default_rng(1), hours=40))
    first = build(places[0], END)
    started: list[subprocess.Popen] = []
    with cluster(2, started=started, nanny=False) as address:
        progress = KillsAtTheFirstRegion(started[1])
        request = BuildCubeRequest(world=places[1].file, as_of=from_seconds(END))
        second = build_cube.run(request, on(places[1], address).settings, progress)
    assert 0 < progress.killed_at < second.counts["regions"]
    assert second.notes == ("the cluster shrank from 2 to 1 workers",)
    assert {k: v for k, v in first.ids.items() if k != "snapshot"} == {k: v for k, v in second.ids.items() if k != "snapshot"}
    assert arrays(places[0]) == arrays(places[1])


def test_regions_that_are_made_and_arrive_in_any_order_make_the_same_cube(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    each, order, arrived = Crew.each, np.random.default_rng(5), []

    def shuffled(self, function, tasks, take, progress, **more):
        """Tasks begin in one order, and what they give is held back until all have come, then handed over in another."""
        begun, held = order.permutation(len(tasks)), []
        told = each(
            self, function, [tasks[k] for k in begun], lambda number, found: held.append((int(begun[number]), found)), progress, **more
        )
        handed = [held[k] for k in order.permutation(len(held))]
        for number, found in handed:
            take(number, found)
        arrived.append([number for number, _ in handed])
        return told

    places = [make_place(tmp_path / str(k)) for k in range(3)]
    receipts = []
    for number, place in enumerate(places):
        rows = random_rows(np.random.default_rng(1), hours=40)
        if number:
            monkeypatch.setattr(Crew, "each", shuffled)
        for batch in (rows[::2], rows[1::2]):
            observe(place, "road", batch)
            receipts.append(build(place, END))
    monkeypatch.undo()
    assert any(numbers != sorted(numbers) for numbers in arrived)
    digests = [{k: v for k, v in r.ids.items() if k != "snapshot"} for r in receipts[1::2]]
    assert digests[0] == digests[1] == digests[2]
    assert arrays(places[0]) == arrays(places[1]) == arrays(places[2])


def test_credentials_that_a_worker_lacks_are_asked_for_at_that_worker(tmp_path: Path) -> None:
    with s3_store() as root:
        place = make_place(tmp_path)
        place = replace(place, settings=replace(place.settings, store=root))
        observe(place, "road", random_rows(np.random.default_rng(1), hours=2))
        bare = {name: value for name, value in os.environ.items() if name not in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")}
        with cluster(1, env={**bare, "AWS_EC2_METADATA_DISABLED": "true"}) as address, pytest.raises(StoreError) as raised:
            build(on(place, address), END)
    assert re.search(r"on the Dask worker tcp://127\.0\.0\.1:\d+", raised.value.asked)
    assert re.search(r"start tcp://127\.0\.0\.1:\d+ with the AWS_… variables", raised.value.mend)
