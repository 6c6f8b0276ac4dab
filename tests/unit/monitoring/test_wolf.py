"""What is no fault raises nothing: seasons, growth, what is new. And what is one is found though the unit of the feed is another."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipeline.alignment.time_grid import step_seconds
from pipeline.contracts.alerts import Finding
from pipeline.contracts.cubes import DomainCube, Revisions
from pipeline.contracts.nodes import NodeSet
from pipeline.contracts.units import confusions
from pipeline.contracts.world_files import load_world
from pipeline.contracts.worlds import World
from pipeline.monitoring.nodes import gathered, node_findings
from pipeline.monitoring.profile import Profile, profile_of
from pipeline.monitoring.recent import recent_of
from pipeline.monitoring.variables import drifted
from tests.unit.monitoring.made import DAY

BEGIN = 1_704_067_200
"""A first of January, midnight in UTC."""

COUNTRY = """
name = "country"
title = "A country of seasons"
start = "2024-01-01T00:00Z"
[sources.sky]
adapter = "csv"
[sources.sky.variables]
temperature = { unit = "K", to = "degC" }
sold = { unit = "count" }
[domains.sky]
title = "Sky"
clock = { step = "1h" }
context = 12
horizon = 4
[domains.sky.variables]
temperature = { source = "sky", scale = "node" }
sold = { source = "sky", scale = "node", lower = 0.0 }
"""

NODES = 8


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return load_world(str(written(tmp_path_factory.mktemp("country"))))


def written(folder: Path) -> Path:
    file = folder / "country.toml"
    file.write_text(COUNTRY)
    return file


@pytest.fixture(scope="module")
def years() -> DomainCube:
    """Twenty months of temperatures with a season and weather, in degrees Celsius, and of a trade that grows ninefold a year."""
    random = np.random.default_rng(7)
    days = 600
    steps = days * 24
    day = np.arange(steps) / 24
    season, weather, own = -12 * np.cos(2 * np.pi * day / 365.2425), random.normal(0, 2.5, days), random.normal(0, 1.5, (days, NODES))
    common = season + np.repeat(weather, 24) + 3 * np.sin(2 * np.pi * day)
    first = 8 + random.normal(0, 3, NODES) + common[:, None] + np.repeat(own, 24, axis=0) + random.normal(0, 0.5, (steps, NODES))
    second = np.exp(5 + np.log(9) * day[:, None] / 365 + random.normal(0, 0.4, (steps, NODES)))
    values = np.stack([first, second], axis=-1).astype(np.float32)
    return DomainCube(
        domain="sky",
        as_of=BEGIN + days * DAY,
        snapshot="S",
        valid_time=BEGIN + 3600 * np.arange(1, steps + 1, dtype=np.int64),
        nodes=NodeSet(ids=tuple(f"n{n}" for n in range(NODES)), latitude=np.linspace(40, 50, NODES), longitude=np.zeros(NODES)),
        variables=("temperature", "sold"),
        units=("degC", "1"),
        values_TNV=values,
        flags_TNV=np.zeros(values.shape, np.uint16),
        latency_TNV=np.zeros(values.shape, np.int32),
        revisions=Revisions.empty(),
    )


def days_of(cube: DomainCube, first: int, last: int) -> DomainCube:
    keep = slice(first * 24, last * 24)
    parts = {name: getattr(cube, name)[keep].copy() for name in ("valid_time", "values_TNV", "flags_TNV", "latency_TNV")}
    return replace(cube, as_of=BEGIN + last * DAY, **parts)


def look(world: World, cube: DomainCube, profile: Profile) -> list[Finding]:
    domain, found = world.domains["sky"], []
    for recent in recent_of(world, domain, cube, profile, as_of=cube.as_of):
        single = node_findings(recent, profile, world.monitoring, step=step_seconds(domain.clock), as_of=cube.as_of)
        found += gathered(single, len(profile.nodes), world.monitoring, frozenset())
        found += drifted(recent, profile, world.monitoring)
    return found


def test_spring_and_a_growing_trade_raise_nothing_after_a_training_of_two_months_of_winter(world: World, years: DomainCube) -> None:
    profile = profile_of(world.domains["sky"], days_of(years, 0, 60))
    for day in range(70, 240, 8):
        assert look(world, days_of(years, day - 40, day), profile) == []


def test_after_a_training_of_a_year_a_week_is_held_against_the_same_season_and_drift_never_blocks(world: World, years: DomainCube) -> None:
    profile = profile_of(world.domains["sky"], days_of(years, 0, 380))
    for day in range(400, 600, 25):
        assert look(world, days_of(years, day - 40, day), profile) == []
    july = days_of(years, 530, 570)
    july.values_TNV[-7 * 24 :, :, 0] -= 22.0  # as in any January, which the training knows
    found = [f for f in look(world, july, profile) if f.rule == "drifted_input"]
    assert found
    assert {(f.variable, f.level) for f in found} == {("temperature", "warn")}


@pytest.mark.parametrize(("unit", "turned"), [("K", lambda x: x + 273.15), ("degF", lambda x: x * 1.8 + 32)])
@pytest.mark.parametrize("lasting", [1, 3, 10])
def test_a_station_in_another_unit_is_found_within_a_day_and_as_long_as_it_lasts(
    world: World, years: DomainCube, unit: str, turned: Callable[[np.ndarray], np.ndarray], lasting: int
) -> None:
    profile = profile_of(world.domains["sky"], days_of(years, 0, 150))
    cube = days_of(years, 140, 210)
    cube.values_TNV[-lasting * 24 :, 3, 0] = turned(cube.values_TNV[-lasting * 24 :, 3, 0])
    (found,) = look(world, cube, profile)
    assert found.key == "shifted_unit/sky/temperature/n3"
    assert f"as if in {unit}:" in found.text


def test_a_count_that_is_tenfold_from_a_day_on_is_another_level_and_no_unit(world: World, years: DomainCube) -> None:
    profile = profile_of(world.domains["sky"], days_of(years, 0, 150))
    cube = days_of(years, 140, 200)
    cube.values_TNV[-24:, 5, 1] *= 10
    (found,) = look(world, cube, profile)
    assert (found.key, found.level) == ("shifted_level/sky/sold/n5", "warn")


@pytest.mark.parametrize("before", [np.nan, 0.0])
def test_a_node_without_a_week_of_history_has_no_level_to_be_held_against(world: World, years: DomainCube, before: float) -> None:
    trained = days_of(years, 0, 150)
    trained.values_TNV[: -5 * 24, 2, 1] = before
    profile = profile_of(world.domains["sky"], trained)
    cube = days_of(years, 140, 200)
    cube.values_TNV[-24:, 2, 1] *= 100
    assert look(world, cube, profile) == []


def test_units_are_confused_within_their_kind_and_where_a_conversion_is_left_out_and_counts_and_prices_never() -> None:
    meant = {m.unit: 300.0 * m.factor + m.offset for m in confusions("K", "degC")}
    assert meant["K"] == pytest.approx(300 - 273.15)
    assert meant["degC"] == pytest.approx(300 + 273.15)
    assert [(m.unit, m.factor) for m in confusions("percent", None)] == [("1", 100.0)]
    assert [(m.unit, m.factor) for m in confusions("1", None)] == [("percent", 0.01)]
    assert confusions("count", None) == confusions("USD", None) == ()
