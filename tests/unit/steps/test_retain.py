"""What goes and what stays: snapshots, garbage, pins; a dry run tells it to the byte; a kill in between is mended by the next run."""

import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from pipeline import __main__ as cli
from pipeline.api import Receipt, RetainRequest
from pipeline.contracts.times import from_seconds
from pipeline.errors import StoreError
from pipeline.steps import retain
from pipeline.steps.store_verify import verify_store
from pipeline.stores import repositories, retention
from pipeline.stores.cubes import CubeStore
from pipeline.stores.objects import ObjectStore
from pipeline.stores.registry import Registry
from pipeline.telemetry import QUIET
from tests.feeds import START, WORLD, Place, Row, build, make_place, observe, random_rows
from tests.s3 import s3_store
from tests.unit.stores.test_registry import _promotion

END = START + 6 * 3600
LATER = datetime.now(UTC) + timedelta(days=400)


def ask(place: Place, *, now: datetime = LATER, dry_run: bool = False) -> Receipt:
    return retain.run(RetainRequest(world=place.file, as_of=from_seconds(END), now=now, dry_run=dry_run), place.settings, QUIET)


def fill(place: Place, count: int = 5) -> list[str]:
    """States of the cube; the second is a champion's."""
    observe(place, "road", random_rows(np.random.default_rng(1), hours=6))
    snapshots = []
    for k in range(count):
        observe(place, "road", [Row("n0", START + k * 1800, END + k, {"speed": (float(k), 0), "count": (1.0, 0)})])
        if k == count - 1:
            time.sleep(1 - time.time() % 1)  # a request's instants are whole seconds
        build(place, END + k * 3600)
        snapshots.append(CubeStore(place.settings.store, "little").snapshot)
    registry = Registry(ObjectStore(place.settings.store), "little")
    for name, snapshot in (("m1", snapshots[1]), ("m2", snapshots[0])):
        registry.add_candidate(name, {"w": name.encode()}, {"as_of": "2024-03-04T00:00:00Z", "snapshot": snapshot})
    registry.promote(_promotion("2024-03-08T00:00:00Z", "m1"))
    return snapshots


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> tuple[Place, list[str]]:
    place = make_place(tmp_path_factory.mktemp("filled"))
    return place, fill(place)


@pytest.fixture
def kept(filled: tuple[Place, list[str]], tmp_path: Path) -> tuple[Place, list[str]]:
    shutil.copytree(filled[0].settings.store, tmp_path / "store")
    return make_place(tmp_path), filled[1]


@pytest.fixture
def on_s3(tmp_path: Path) -> Iterator[tuple[Place, list[str]]]:
    with s3_store() as root:
        place = make_place(tmp_path)
        remote = replace(place, settings=replace(place.settings, store=root))
        yield remote, fill(remote, 3)


def files(place: Place) -> dict[str, int]:
    return {entry.key: entry.bytes for entry in ObjectStore(place.settings.store).entries("") if not entry.key.endswith(".lock")}


def values(place: Place, at: str | None = None) -> bytes:
    return CubeStore(place.settings.store, "little", at=at).open(from_seconds(10**10), "traffic").values_TNV.tobytes()


@pytest.fixture
def neighbours(tmp_path: Path) -> tuple[Place, list[str]]:
    """The pinned one is the parent of the newest."""
    place = make_place(tmp_path)
    return place, fill(place, 3)


@pytest.mark.parametrize("where", ["kept", "neighbours", "on_s3"])
def test_superseded_snapshots_go_pinned_ones_stay_and_a_dry_run_tells_it_to_the_byte(where: str, request: pytest.FixtureRequest) -> None:
    place, snapshots = request.getfixturevalue(where)
    before, newest, pinned = files(place), values(place), values(place, snapshots[1])
    said = ask(place, dry_run=True)
    assert (said.outcome, files(place)) == ("unchanged", before)
    done = ask(place)
    gone = {key: size for key, size in before.items() if key not in files(place)}
    assert said.counts == done.counts
    assert (len(gone), sum(gone.values())) == (done.counts["objects"], done.counts["bytes"])
    assert {"/".join(key.split("/")[:: 2 if key[0] == "c" else 4][:2]) for key in gone} <= {"observations/index", "observations/nodes"} | {
        f"cubes/{kind}" for kind in ("chunks", "manifests", "snapshots", "transactions", "seals")
    }
    assert set(done.details["snapshots"]["cubes/little"]) == set(snapshots) - {snapshots[1], snapshots[-1]}
    assert (values(place), values(place, snapshots[1])) == (newest, pinned)
    assert verify_store(place.world, place.settings, QUIET).faults == ()
    if where != "kept":
        return
    assert ask(place).outcome == "unchanged"
    build(place, END + 10 * 3600)
    assert verify_store(place.world, place.settings, QUIET).faults == ()


def test_a_snapshot_stays_until_long_after_it_was_superseded_not_written(kept: tuple[Place, list[str]]) -> None:
    place, snapshots = kept
    month = timedelta(days=30)
    written = [s["written_time"] for s in CubeStore(place.settings.store, "little").history()][::-1]
    just_before = ask(place, now=written[1] + month - timedelta(milliseconds=1) - timedelta(seconds=1), dry_run=True)
    assert just_before.counts["snapshots"] == 0
    assert ask(place, now=written[2] + month + timedelta(seconds=1), dry_run=True).counts["snapshots"] >= 1
    assert len(snapshots) == 5


@pytest.mark.parametrize("at", ["keep_tag", "replace_seal", "expire_snapshots", "garbage_collect", "delete"])
@pytest.mark.parametrize("after", [False, True])
def test_killed_anywhere_the_store_is_whole_and_the_same_request_goes_on(
    kept: tuple[Place, list[str]], monkeypatch: pytest.MonkeyPatch, at: str, after: bool
) -> None:
    import icechunk

    class Killed(BaseException):
        pass

    place, snapshots = kept
    owner = {"keep_tag": retention, "replace_seal": retention, "delete": ObjectStore}.get(at, icechunk.Repository)
    real = getattr(owner, at)

    def dies(*arguments: object, **more: object) -> None:
        if after:
            real(*arguments, **more)
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(owner, at, dies)
        with pytest.raises(Killed):
            ask(place)
    assert verify_store(place.world, place.settings, QUIET).faults == ()
    ask(place)
    assert verify_store(place.world, place.settings, QUIET).faults == ()
    assert list(repositories.seals(f"{place.settings.store}/cubes/little")) == sorted([snapshots[1], snapshots[4]])
    assert values(place, snapshots[1])


def test_a_reader_of_an_old_snapshot_reads_on_through_retentions_in_its_time_and_is_told_after_it(
    kept: tuple[Place, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    place, snapshots = kept
    monkeypatch.setenv("CUBECAST_STORE", place.settings.store)
    wanted, young = values(place, snapshots[3]), CubeStore(place.settings.store, "little", at=snapshots[3])
    written = [s["written_time"] for s in CubeStore(place.settings.store, "little").history()][::-1]
    fresh = CubeStore(place.settings.store, "little", at=snapshots[3])  # has read nothing yet when the others go
    assert cli.main(["retain", "--world", place.file]) == 0
    assert young.open(from_seconds(10**10), "traffic").values_TNV.tobytes() == wanted
    gone = ask(place, now=written[4] + timedelta(days=30) - timedelta(milliseconds=1)).details["snapshots"]["cubes/little"]
    assert set(gone) == {snapshots[0], snapshots[2]}
    assert fresh.open(from_seconds(10**10), "traffic").values_TNV.tobytes() == wanted
    assert cli.main(["retain", "--world", place.file, "--now", "2035-01-01T00:00Z"]) == 0
    with pytest.raises(StoreError, match="cubes/little"):
        young.open(from_seconds(10**10), "traffic")


def test_garbage_goes_when_it_is_old_and_nothing_refers_to_it(kept: tuple[Place, list[str]]) -> None:
    place, _ = kept
    objects, now = ObjectStore(place.settings.store), datetime.now(UTC)
    old, young, again = (objects.put_addressed("landing/little/road/files/00", data, ".csv") for data in (b"old", b"young", b"again"))
    staged = Path(objects.url("landing/little/road/files")) / "00" / ".staged-x"
    staged.write_bytes(b"half")
    for path in (objects.url(old), objects.url(again), staged):
        os.utime(path, ((now - timedelta(days=8)).timestamp(),) * 2)
    objects.put_addressed("landing/little/road/files/00", b"again", ".csv")  # a writer takes it up
    receipt = ask(place, now=now)
    assert (receipt.counts["objects"], receipt.counts["bytes"]) == (2, 7)
    assert [objects.exists(key) for key in (old, young, again)] == [False, True, True]
    assert not staged.exists()


def test_nothing_is_taken_from_a_store_that_is_not_whole(kept: tuple[Place, list[str]]) -> None:
    place, _ = kept
    objects = ObjectStore(place.settings.store)
    lost = next(key for key in objects.list("observations") if key.endswith(".parquet"))
    objects.delete(lost)
    before = files(place)
    with pytest.raises(StoreError, match="mend that first, nothing was deleted"):
        ask(place)
    assert files(place) == before


def test_forecasts_of_long_ago_hold_no_snapshot_where_the_world_says_so(kept: tuple[Place, list[str]]) -> None:
    place, _ = kept
    short = make_place(Path(place.file).parent, WORLD + '\n[retention]\nsnapshots = "1d"\nforecasts = "7d"\n')
    assert short.world.retention.forecasts == timedelta(days=7)
    assert short.world.digest == place.world.digest
