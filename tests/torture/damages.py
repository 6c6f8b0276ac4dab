"""Bits flipped, files cut and files lost in every object of a store: each is named by `store verify`, and no reader gets other data."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from pipeline.contracts.world_files import load_world
from pipeline.contracts.worlds import World
from pipeline.errors import CubecastError
from pipeline.settings import Settings
from pipeline.steps.store_verify import verify_store
from pipeline.stores.cubes import CubeStore
from pipeline.stores.inventory import take_inventory
from pipeline.stores.objects import SEALS, ObjectStore
from pipeline.stores.repository_check import check_repository
from pipeline.stores.store_check import check_objects
from pipeline.telemetry import QUIET
from tests.flow.chain import run_chain, settings_for
from tests.s3 import s3_store
from tests.torture.states import state_of
from tests.world import tiny_world

Kind = Literal["flipped bit", "cut", "lost"]
KINDS: tuple[Kind, ...] = ("flipped bit", "cut", "lost")
_AT_ONCE = 12


@dataclass
class Tally:
    """Damages done.

    Attributes:
        inside: Those of objects in repositories.
        unread: Those of them that a reader of the cube refused; `misread` those after which it got other data without an error.
        elsewhere: Those that were told, but not by the object's name.
        missed: Those that nothing told.
    """

    objects: int = 0
    done: dict[Kind, int] = field(default_factory=lambda: dict.fromkeys(KINDS, 0))
    inside: int = 0
    unread: int = 0
    elsewhere: list[str] = field(default_factory=list)
    missed: list[str] = field(default_factory=list)
    misread: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Damage:
    key: str
    kind: Kind
    good: bytes
    bad: bytes | None


@contextmanager
def nine_steps_on_s3(folder: Path) -> Iterator[tuple[str, World]]:
    """A store on S3 with all that the nine steps keep, and its world."""
    world_file, disk = tiny_world(folder), ObjectStore(str(folder / "store"))
    run_chain(world_file, settings_for(folder / "store"))
    with s3_store() as store:
        for key in disk.list(""):
            if not key.endswith(".lock"):
                ObjectStore(store).overwrite(key, disk.get(key))
        yield store, load_world(str(world_file))


def damage_every_object(store: str, world: World, *, seed: int, kinds_inside: int = 3, most: int | None = None) -> Tally:
    """Damage every object of a store, in each way; it ends as it began.

    Objects outside of repositories are damaged some at a time, and alone where the fault does not name them; the others alone.

    Args:
        kinds_inside: How many of the three kinds of damage each object of a repository gets.
        most: Take no more objects outside of repositories, and no more of each repository.
    """
    rng, objects, tally = random.Random(f"{seed} damages"), ObjectStore(store), Tally()
    assert not verify_store(world, Settings(store=store, data=None, dask=None), QUIET).faults
    repositories = take_inventory(objects, world.name).repositories
    sized = [e.key for e in objects.entries("") if e.bytes and not e.key.endswith(".lock") and not e.key.startswith("fences/")]
    outside = _some(rng, [k for k in sized if not k.startswith(tuple(f"{r}/" for r in repositories))], most)
    tally.objects = len(outside)
    for kind in KINDS:
        for begin in range(0, len(outside), _AT_ONCE):
            _outside(objects, world, [_damage(objects, rng, key, kind) for key in outside[begin : begin + _AT_ONCE]], tally)
    for repository in repositories:
        keys = _some(rng, [k for k in sized if k.startswith(f"{repository}/")], most)
        tally.objects += len(keys)
        clean = state_of(store, world, "cube")
        for key in keys:
            for kind in rng.sample(KINDS, kinds_inside):
                _inside(objects, world, repository, _damage(objects, rng, key, kind), clean, tally)
    assert not verify_store(world, Settings(store=store, data=None, dask=None), QUIET).faults
    return tally


def _some(rng: random.Random, keys: list[str], most: int | None) -> list[str]:
    return rng.sample(keys, len(keys) if most is None else min(most, len(keys)))


def _damage(objects: ObjectStore, rng: random.Random, key: str, kind: Kind) -> _Damage:
    good = objects.get(key)
    bent = bytearray(good)
    bent[rng.randrange(len(bent))] ^= 1 << rng.randrange(8)
    bad = {"flipped bit": bytes(bent), "cut": good[: rng.randrange(len(good))], "lost": None}[kind]
    return _Damage(key=key, kind=kind, good=good, bad=bad)


@contextmanager
def _done(objects: ObjectStore, damages: list[_Damage], tally: Tally) -> Iterator[None]:
    for damage in damages:
        tally.done[damage.kind] += 1
        objects.delete(damage.key) if damage.bad is None else objects.overwrite(damage.key, damage.bad)
    yield
    for damage in damages:
        objects.overwrite(damage.key, damage.good)


def _outside(objects: ObjectStore, world: World, damages: list[_Damage], tally: Tally) -> None:
    with _done(objects, damages, tally):
        faults = check_objects(take_inventory(objects, world.name), QUIET).faults
    unnamed = [d for d in damages if not any(_bare(d.key) in fault for fault in faults)]
    if len(damages) > 1:
        for damage in unnamed:
            tally.done[damage.kind] -= 1
            _outside(objects, world, [damage], tally)
    elif unnamed:
        (tally.elsewhere if faults else tally.missed).append(f"{damages[0].kind}: {damages[0].key}: {faults[:3]}")


def _bare(key: str) -> str:
    return key.removeprefix(f"{SEALS}/").removesuffix(".sha256")


def _inside(objects: ObjectStore, world: World, repository: str, damage: _Damage, clean: str, tally: Tally) -> None:
    cube = CubeStore(objects.root, world.name)
    with _done(objects, [damage], tally):
        if repository == f"cubes/{world.name}":
            faults: list[str] = cube.check(QUIET)[1]
            try:
                if state_of(objects.root, world, "cube") != clean:
                    tally.misread.append(f"{damage.kind}: {damage.key}")
            except CubecastError:
                tally.unread += 1
        else:
            faults = list(check_repository(objects.url(repository), QUIET).faults)
    tally.inside += 1
    if not faults:
        tally.missed.append(f"{damage.kind}: {damage.key}")
