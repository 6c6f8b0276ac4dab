from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pipeline.contracts.cubes import DomainCube, Revisions
from pipeline.contracts.times import to_seconds
from pipeline.contracts.world_files import parse_world
from pipeline.contracts.worlds import World
from pipeline.windows.reader import build_windows
from tests.unit.steps.evidence_world import CUTOFF, WORLD, as_known, made_cube

AS_OF = to_seconds(CUTOFF)


@pytest.fixture
def town() -> tuple[World, DomainCube]:
    """A cube four cells of which were revised, two of them at one node and step."""
    world = parse_world(WORLD, "tiny.toml")
    cube = as_known(made_cube(world), AS_OF, None)
    step, node, variable = (np.array(a) for a in ([200, 120, 120, 150], [4, 3, 1, 0], [0, 1, 0, 1]))
    known = cube.valid_time[step] + 60
    records = Revisions(
        step=step.astype(np.int32),
        node=node.astype(np.int32),
        variable=variable.astype(np.int16),
        value=np.array([9, 8, 7, 6], np.float32),
        flag=np.zeros(4, np.uint16),
        available_time=known,
        superseded_time=known + 240,
    )
    return world, replace(cube, revisions=records)


@pytest.mark.parametrize("at_once", [1, 2, 3, 5, 64])
def test_windows_made_of_a_few_nodes_at_a_time_are_those_made_of_all(town: tuple[World, DomainCube], at_once: int) -> None:
    world, cube = town
    whole = build_windows(world, {"road": cube}, as_of=AS_OF, scalers=None, live=False)
    made: list[str] = []

    def keep(name: str, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
        made.append(name)
        return np.full(shape, 7, dtype)

    parts = build_windows(world, {"road": cube}, as_of=AS_OF, scalers=None, live=False, keep=keep, at_once=at_once)
    assert len(whole.domains["road"].patch_step) == 4
    assert "road.values_TNV" in made
    assert parts.digest == whole.digest
    assert build_windows(world, {"road": cube}, as_of=AS_OF, scalers=None, live=False, at_once=at_once).digest == whole.digest
