from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from pipeline.contracts.cubes import DomainCube
from pipeline.contracts.times import to_seconds
from pipeline.contracts.world_files import load_world
from pipeline.monitoring.feeds import late_runs, late_texts
from tests.unit.monitoring.made import cube_of, town
from tests.world import tiny_world

HOUR = 3600


def runs_at(folder: Path, starts: list[int]) -> DomainCube:
    cube = cube_of(town(folder), "sky", 2, 3)
    values = np.ones((len(starts), 3, 2), np.float32)
    return replace(cube, valid_time=np.array(starts, np.int64), values_TNV=values, flags_TNV=np.zeros(values.shape, np.uint16))


def test_a_run_is_late_when_more_than_one_cycle_is_missed_and_blocks_when_none_reaches_the_present(tmp_path: Path) -> None:
    world = load_world(str(tiny_world(tmp_path)))  # a run every six hours, out after three, reaching eighteen
    noon = to_seconds(world.start) + 12 * HOUR + 3 * HOUR
    for age, levels in ((0, []), (6, []), (12, ["warn"]), (24, ["block"])):
        found = list(late_runs(world, {"traffic": runs_at(tmp_path, [noon - 3 * HOUR - age * HOUR])}, as_of=noon))
        assert [f.level for f in found] == levels, age
    (never,) = late_runs(world, {}, as_of=noon)
    assert (never.key, never.level) == ("late_source/traffic/future/outlook", "block")


def test_documents_are_late_only_where_their_source_says_how_often_they_come(tmp_path: Path) -> None:
    file = tiny_world(tmp_path)
    world, now = load_world(str(file)), 1_000_000
    assert list(late_texts(world, {}, as_of=now)) == []
    file.write_text(file.read_text().replace('text = { column = "text" }', 'cadence = "1h"\ntext = { column = "text" }'))
    world = load_world(str(file))
    assert list(late_texts(world, {"notices": np.array([now - 2 * HOUR])}, as_of=now)) == []
    (found,) = late_texts(world, {"notices": np.array([now - 3 * HOUR])}, as_of=now)
    assert (found.key, found.since) == ("late_source/texts/notices/notices", now - 3 * HOUR)
