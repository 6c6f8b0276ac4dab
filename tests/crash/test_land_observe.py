"""Killed before or after any write of land and observe, the same commands go on and end in the same bytes."""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock

import pytest

from pipeline.api import LandRequest, ObserveRequest
from pipeline.contracts.world_files import load_world
from pipeline.settings import Settings
from pipeline.steps import land, observe
from pipeline.stores.objects import ObjectStore
from pipeline.stores.observations import ObservationStore
from pipeline.telemetry import QUIET
from tests.world import tiny_world

END = datetime(2025, 10, 25, tzinfo=UTC)
RECEIVED = datetime(2026, 1, 1, tzinfo=UTC)


class Killed(BaseException):
    """What no handler catches."""


def chain(world: Path, store: Path) -> None:
    settings = Settings(store=str(store), data=None, dask=None)
    land.run(LandRequest(world=str(world), as_of=END, received_time=RECEIVED, source="roads"), settings, QUIET)
    observe.run(ObserveRequest(world=str(world), as_of=END, source="roads"), settings, QUIET)


def tree(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def killer(real: Callable[..., bool], at: int, after: bool, calls: list[str]) -> Callable[..., bool]:
    """A write that dies before or after number `at`; who is dead begins no other, in whichever thread."""
    counting = Lock()

    def create(self: ObjectStore, key: str, data: bytes) -> bool:
        with counting:
            calls.append(key)
            number = len(calls)
        if number > at or (number == at and not after):
            raise Killed
        done = real(self, key, data)
        if number == at:
            raise Killed
        return done

    return create


@pytest.mark.parametrize("after", [False, True])
def test_a_kill_at_any_write_loses_nothing_and_shows_nothing_half(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: bool) -> None:
    world = tiny_world(tmp_path, days=3)
    real, writes = ObjectStore._create_local, list[str]()
    monkeypatch.setattr(ObjectStore, "_create_local", killer(real, sys.maxsize, after, writes))
    chain(world, tmp_path / "whole")
    whole = tree(tmp_path / "whole")
    assert len(writes) == len(whole) > 7
    for number in range(1, len(writes) + 1):
        store = tmp_path / str(number)
        monkeypatch.setattr(ObjectStore, "_create_local", killer(real, number, after, []))
        with pytest.raises(Killed):
            chain(world, store)
        observed = ObservationStore(ObjectStore(str(store)), load_world(str(world)), "roads")
        assert observed.read(0, 2**35).num_rows == observed.counts().observations
        assert {key: data for key, data in whole.items() if key in tree(store)} == tree(store)
        monkeypatch.setattr(ObjectStore, "_create_local", real)
        chain(world, store)
        assert tree(store) == whole
