"""Regimes come from what a window could know at its issue time, in the version known then."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from pipeline.contracts.cubes import Revisions
from pipeline.contracts.judging import Regime
from pipeline.contracts.times import to_seconds
from pipeline.contracts.windows import WindowSet
from pipeline.contracts.world_files import parse_world
from pipeline.contracts.worlds import World
from pipeline.windows.reader import build_windows
from pipeline.windows.regimes import known_at, regimes_at
from tests.unit.steps.evidence_world import CUTOFF, WORLD, as_known, made_cube


def _world(**regimes: Regime) -> World:
    world = parse_world(WORLD, "tiny.toml")
    return world.model_copy(update={"domains": {"road": world.domains["road"].model_copy(update={"regimes": regimes})}})


def _windows(world: World, cube) -> WindowSet:
    known = as_known(cube, to_seconds(CUTOFF), None)
    return build_windows(world, {"road": known}, as_of=to_seconds(CUTOFF), scalers=None, live=False)


def test_the_newest_value_and_the_share_are_those_that_a_reader_at_the_issue_time_saw() -> None:
    world, cube = _world(), made_cube(_world())
    view = _windows(world, cube).domains["road"]
    index_W = np.array([0, 57, 200])
    found = known_at(view, index_W)
    for at, w in enumerate(index_W):
        issue_time, end = int(view.issue_time_W[w]), int(view.end_W[w])
        then = as_known(cube, issue_time, None).values_TNV[end - view.context + 1 : end + 1]
        for n in range(5):
            for v in range(2):
                good = then[:, n, v][np.isfinite(then[:, n, v])]
                assert np.allclose(found.newest_WNV[at, n, v], good[-1] if len(good) else np.nan, equal_nan=True, atol=1e-4)
        assert np.allclose(found.share_WN[at], np.isfinite(then).mean(axis=(0, 2)))


def test_availability_tells_present_gappy_and_absent_nodes_apart() -> None:
    world, cube = _world(), made_cube(_world())
    cube.values_TNV[:, 1:3], cube.flags_TNV[:, 1:3] = np.nan, 1
    cube.values_TNV[::4, 2], cube.flags_TNV[::4, 2] = 5.0, 0
    cube.latency_TNV[:, 1:3] = np.where(cube.flags_TNV[:, 1:3] == 0, 300, np.iinfo(np.int32).max)
    codes = regimes_at(world, _windows(world, cube), "road", np.array([100]))["availability"][0]
    assert codes[1:3].tolist() == [2, 1]
    assert 0 in codes[[0, 3, 4]]


def test_a_declared_regime_follows_each_node_of_its_own_domain_and_the_mean_of_another() -> None:
    world = _world(busy=Regime(variable="flow", above=20.0), calm=Regime(domain="road", variable="speed", below=20.0))
    cube = made_cube(world)
    cube.values_TNV[..., 0] = np.float32([10, 30, 10, 30, 10])
    cube.values_TNV[..., 1] = np.float32([10, 50, 10, 50, 10])
    windows = _windows(world, cube)
    found = regimes_at(world, windows, "road", np.array([100]))
    assert found["busy"].tolist() == [[0, 1, 0, 1, 0]]
    other = WindowSet(**{**vars(windows), "domains": {"road": windows.domains["road"], "sky": windows.domains["road"]}})
    mean = _world(calm=Regime(domain="sky", variable="speed", below=20.0), wet=Regime(domain="sea", variable="x", above=0.0))
    found = regimes_at(mean, other, "road", np.array([100]))
    assert found["calm"].tolist() == [[0] * 5]
    assert found["wet"].tolist() == [[2] * 5]


def test_a_later_revision_changes_no_regime() -> None:
    world = _world(busy=Regime(variable="flow", above=20.0))
    cube = made_cube(world)
    step, last = 300, int(cube.valid_time[300])
    before = float(cube.values_TNV[step, 0, 0])
    old = Revisions(
        step=np.int32([step]),
        node=np.int32([0]),
        variable=np.int16([0]),
        value=np.float32([before]),
        flag=np.uint16([0]),
        available_time=np.int64([last + 300]),
        superseded_time=np.int64([last + 7200]),
    )
    plain = regimes_at(world, _windows(world, cube), "road", np.arange(280, 300))
    cube.values_TNV[step, 0, 0] = 100 - before
    cube.latency_TNV[step, 0, 0] = 7200
    revised = regimes_at(world, _windows(world, replace(cube, revisions=old)), "road", np.arange(280, 300))
    assert all((plain[name] == revised[name]).all() for name in plain)
