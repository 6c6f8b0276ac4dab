"""Where the trials play: a tiny world of eight days, what its states are undisturbed, and the processes that act in it."""

from __future__ import annotations

import contextlib
import logging
import os
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.contracts.world_files import load_world
from pipeline.contracts.worlds import World
from tests.s3 import s3_store
from tests.torture.proxy import Plan, Proxy, proxy_to
from tests.torture.reader import Reader
from tests.torture.states import STEPS, units_of
from tests.torture.zygote import Ended, Zygote
from tests.world import tiny_world

PATIENCE = 2.0
"""Seconds that the trials' steps let S3 be silent; a stall is longer."""


@dataclass(frozen=True, kw_only=True)
class Scene:
    """The world, the processes, and `states`: by day (0: before the first) and unit, what readers find undisturbed.

    `writes` and `seconds` are those of an undisturbed step, by store kind and step, as they were last.
    """

    folder: Path
    world_file: str
    world: World
    days: int
    zygote: Zygote
    reader: Reader
    proxy: Proxy
    bucket: str
    states: list[dict[str, str]] = field(default_factory=list)
    writes: dict[tuple[str, str], int] = field(default_factory=dict)
    seconds: dict[tuple[str, str], float] = field(default_factory=dict)

    def store(self, where: str, name: str) -> str:
        """A new store, on `disk` or `S3`."""
        return f"{self.bucket}/{name}" if where == "S3" else str(self.folder / name)

    def step(
        self,
        where: str,
        store: str,
        step: str,
        day: int,
        *,
        plan: Plan | None = None,
        kill_after: float | None = None,
        kill_at: int | None = None,
        most_bytes: int | None = None,
    ) -> Ended:
        """Run a step in a child, through the proxy where its store is on S3."""
        self.proxy.plan = plan or Plan()

        def started(pid: int) -> None:
            self.proxy.plan.pid = pid

        ended = self.zygote.run(
            "tests.torture.work:step",
            on_start=started,
            kill_after=kill_after,
            kill_at=kill_at,
            most_bytes=most_bytes,
            env={"AWS_ENDPOINT_URL": self.proxy.url} if where == "S3" else {},
            step=step,
            world_file=self.world_file,
            day=day,
            store=store,
        )
        if ended.answer is not None and plan is None and most_bytes is None and ended.answer["outcome"] == "done":
            self.writes[where, step] = self.proxy.plan.writes if where == "S3" else ended.writes
            self.seconds[where, step] = ended.seconds
        return ended

    def complete(self, where: str, store: str, step: str, day: int) -> None:
        """Run a step undisturbed.

        Raises:
            AssertionError: It fails.
        """
        ended = self.step(where, store, step, day)
        assert ended.answer is not None, ended

    def look(self, store: str, step: str) -> dict[str, str]:
        """What readers find now of the units of a step."""
        return self.reader.look(store, self.world_file, units_of(self.world, step))

    def expected(self, day: int, step: str) -> dict[str, str]:
        """The units of a step as they are after that day, undisturbed."""
        return {unit: self.states[day][unit] for unit in units_of(self.world, step)}


@contextlib.contextmanager
def scene(folder: Path, *, days: int) -> Iterator[Scene]:
    """The scene, with the undisturbed states of so many days."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    world_file = str(tiny_world(folder, days=days + 1))
    with s3_store() as bucket, proxy_to(os.environ["AWS_ENDPOINT_URL"]) as proxy, Zygote(patience=PATIENCE) as zygote, Reader({}) as reader:
        made = Scene(
            folder=folder,
            world_file=world_file,
            world=load_world(world_file),
            days=days,
            zygote=zygote,
            reader=reader,
            proxy=proxy,
            bucket=bucket,
        )
        store = made.store("disk", "undisturbed")
        units = [unit for step in STEPS for unit in units_of(made.world, step)]
        made.states.append(reader.look(store, world_file, units))
        for day in range(1, days + 1):
            for step in STEPS:
                made.complete("disk", store, step, day)
            made.states.append(reader.look(store, world_file, units))
        torn = [state for states in made.states for state in states.values() if state.startswith("torn")]
        assert not torn, torn
        yield made


def random_of(seed: int, name: str) -> random.Random:
    """Random numbers of their own for each kind of trial."""
    return random.Random(f"{seed} {name}")


def differences(found: Mapping[str, str], expected: Mapping[str, str]) -> list[str]:
    """Units that are not as expected."""
    return [f"{unit}: {found.get(unit)} instead of {state}" for unit, state in expected.items() if found.get(unit) != state]
