"""Writers at once: on the same day, on days and sources of their own, and four of them with 25 commits each."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import zarr

from pipeline.stores.cubes import CubeStore
from pipeline.stores.objects import ObjectStore
from pipeline.stores.sealed import SealedLog
from tests.torture.scene import Scene, differences
from tests.torture.states import STEPS


@dataclass
class Tally:
    """Races: how many, how often both landed, how often one was told that the other came first, and what went wrong."""

    races: int = 0
    landed: int = 0
    told: int = 0
    wrong: list[str] = field(default_factory=list)


def race_same_day(scene: Scene, where: str, *, rounds: int, days: int | None = None) -> Tally:
    """Two processes do the same step of the same day at once: the state is that of one, and the other says who came first."""
    tally = Tally()
    for number in range(rounds):
        store = scene.store(where, f"same-{where}-{number}")
        for day in range(1, (days or scene.days) + 1):
            for step in STEPS:
                said = _race(scene, where, [_step(scene, store, step, day)] * 2)
                _count(tally, said, f"{where} {step} day {day}")
                tally.wrong += [
                    f"{where} {step} day {day}: {line}" for line in differences(scene.look(store, step), scene.expected(day, step))
                ]
    return tally


def race_apart(scene: Scene, where: str, *, rounds: int) -> Tally:
    """Two processes at once, one on one day or source, one on another: both land, and the cube has both."""
    tally = Tally()
    sources = list(scene.world.sources)
    for number in range(rounds):
        store = scene.store(where, f"apart-{where}-{number}")
        for day in range(1, scene.days, 2):
            for step in ("land", "observe"):
                jobs = [_step(scene, store, step, day, source=source) for source in sources]
                for pair in zip(jobs[::2], jobs[1::2], strict=False):
                    _count(tally, _race(scene, where, list(pair)), f"{where} {step} day {day}", apart=True)
                scene.complete(where, store, step, day)
                tally.wrong += [
                    f"{where} {step} day {day}: {line}" for line in differences(scene.look(store, step), scene.expected(day, step))
                ]
            for step in ("land", "observe"):
                scene.complete(where, store, step, day + 1)
            both = [_step(scene, store, "build_cube", day), _step(scene, store, "build_cube", day + 1)]
            _count(tally, _race(scene, where, both), f"{where} build_cube days {day}, {day + 1}", apart=True)
            found = scene.look(store, "build_cube")
            tally.wrong += [f"{where} build_cube day {day}: {line}" for line in differences(found, scene.expected(day + 1, "build_cube"))]
    return tally


def four_writers(scene: Scene, where: str, *, commits: int) -> dict[str, tuple[int, int]]:
    """Four processes with so many commits each to one cube and to one log: how many are there, and how often one had to try again."""
    found = {}
    for call in ("commits", "records"):
        store = scene.store(where, f"four-{where}-{call}")
        said = _race(scene, where, [{"call": call, "store": store, "writer": w, "count": commits} for w in range(4)])
        marks = _marks(store) if call == "commits" else _logged(store)
        assert all("answer" in s for s in said), said
        found[call] = (len(set(marks)) if len(set(marks)) == len(marks) else -1, sum(s["answer"] for s in said))
    return found


def _marks(store: str) -> list[tuple[int, int]]:
    """The commits that are in the history and in the array."""
    cube = CubeStore(store, "contested")
    array: Any = zarr.open_array(cube._session.store, path="marks", mode="r")
    values = array[:]
    marks = [tuple(entry["provenance"]["mark"]) for entry in cube.history()]
    return [(w, n) for w, n in marks if values[w, n] == 1]


def _logged(store: str) -> list[tuple[int, int]]:
    return [tuple(record["mark"]) for record in SealedLog(ObjectStore(store), "scores/contested/log").read()]


def _step(scene: Scene, store: str, step: str, day: int, source: str | None = None) -> dict[str, Any]:
    return {"call": "step", "step": step, "world_file": scene.world_file, "day": day, "store": store, "source": source}


def _race(scene: Scene, where: str, jobs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    ended = scene.zygote.run("tests.torture.work:race", of=jobs)
    assert ended.answer is not None, ended
    found: list[dict[str, Any]] = ended.answer
    return found


def _count(tally: Tally, said: list[dict[str, Any]], place: str, *, apart: bool = False) -> None:
    tally.races += 1
    notes = [note for s in said if "answer" in s for note in s["answer"].get("notes", ()) if "another writer came first" in note]
    told = notes + [s["conflict"] for s in said if "conflict" in s]
    tally.told += bool(told)
    tally.landed += all("answer" in s for s in said)
    tally.wrong += [f"{place}: {s['error']}" for s in said if "error" in s]
    if apart:
        tally.wrong += [f"{place}: {s['conflict']}" for s in said if "conflict" in s]
