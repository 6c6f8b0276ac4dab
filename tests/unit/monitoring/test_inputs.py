"""Injected faults are found with their name, and a quiet month of many sensors raises nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from pipeline.alignment.time_grid import step_seconds
from pipeline.contracts.alerts import Finding
from pipeline.contracts.cubes import DomainCube
from pipeline.contracts.flags import Flag
from pipeline.contracts.worlds import World
from pipeline.monitoring.nodes import gathered, node_findings
from pipeline.monitoring.profile import Profile, from_parts, profile_of
from pipeline.monitoring.recent import recent_of
from pipeline.monitoring.variables import drifted, incomplete
from tests.unit.monitoring.made import DAY, START, cube_of, town, until

TRAINED, DAYS, NODES = 40, 71, 120


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return town(tmp_path_factory.mktemp("town"))


@pytest.fixture(scope="module")
def made(world: World) -> dict[str, tuple[DomainCube, Profile]]:
    """Per domain all of its time, and the profile of its first forty days."""
    cubes = {"road": cube_of(world, "road", DAYS, NODES), "sky": cube_of(world, "sky", DAYS, 30)}
    return {name: (cube, profile_of(world.domains[name], until(cube, START + TRAINED * DAY))) for name, cube in cubes.items()}


def look(world: World, cube: DomainCube, profile: Profile, standing: frozenset[str] = frozenset()) -> list[Finding]:
    """What is found in a domain as of its cube's end."""
    domain, found = world.domains[cube.domain], []
    for recent in recent_of(world, domain, cube, profile, as_of=cube.as_of):
        single = node_findings(recent, profile, world.monitoring, step=step_seconds(domain.clock), as_of=cube.as_of)
        found += gathered(single, len(profile.nodes), world.monitoring, standing)
        found += [*incomplete(recent, profile, world.monitoring), *drifted(recent, profile, world.monitoring)]
    return found


def with_fault(
    world: World, made: dict[str, tuple[DomainCube, Profile]], name: str, fault: Callable[[DomainCube], None], *, hours: int = 20
) -> list[Finding]:
    """What is found at an ordinary noon, after a fault of some hours."""
    cube, profile = made[name]
    then = until(cube, START + (TRAINED + 12) * DAY + DAY // 2)
    steps = hours * 3600 // step_seconds(world.domains[name].clock)
    fault(replace(then, values_TNV=then.values_TNV[-steps:], flags_TNV=then.flags_TNV[-steps:], valid_time=then.valid_time[-steps:]))
    return look(world, then, profile)


def keys(found: list[Finding]) -> list[str]:
    return [finding.key for finding in found]


def test_a_quiet_month_of_many_sensors_raises_nothing(world: World, made: dict[str, tuple[DomainCube, Profile]]) -> None:
    raised = []
    for day in range(TRAINED + 1, DAYS):
        for cube, profile in made.values():
            raised += [(day, f.key, f.text) for f in look(world, until(cube, START + day * DAY + DAY // 3), profile)]
    assert raised == []


def test_a_frozen_sensor_is_found_with_its_name_and_since_when(world: World, made: dict[str, tuple[DomainCube, Profile]]) -> None:
    begins = []

    def freeze(cube: DomainCube) -> None:
        cube.values_TNV[:, 17, 0] = cube.values_TNV[np.isfinite(cube.values_TNV[:, 17, 0]), 17, 0][0]
        begins.append(int(cube.valid_time[0]))

    (found,) = with_fault(world, made, "road", freeze)
    assert (found.key, found.level) == ("frozen_sensor/road/speed/n017", "warn")
    assert found.since is not None
    assert abs(found.since - begins[0]) <= 3600
    assert found.number > found.limit


def test_a_sensor_that_the_quality_rules_flag_as_stuck_is_found_as_frozen(
    world: World, made: dict[str, tuple[DomainCube, Profile]]
) -> None:
    def flag(cube: DomainCube) -> None:
        cube.values_TNV[:, 5, 0], cube.flags_TNV[:, 5, 0] = np.nan, int(Flag.STUCK)

    assert keys(with_fault(world, made, "road", flag)) == ["frozen_sensor/road/speed/n005"]


def test_rain_that_stays_away_everywhere_is_no_frozen_gauge_and_one_dry_gauge_in_the_rain_is(
    world: World, made: dict[str, tuple[DomainCube, Profile]]
) -> None:
    def dry(cube: DomainCube) -> None:
        cube.values_TNV[:, :, 1] = 0.0

    def wet_elsewhere(cube: DomainCube) -> None:
        cube.values_TNV[:, :, 1] = np.random.default_rng(5).gamma(2, 1, cube.values_TNV.shape[:2]).round(1)
        cube.values_TNV[:, 4, 1] = 0.0

    assert not [f for f in with_fault(world, made, "sky", dry, hours=160) if f.rule == "frozen_sensor"]
    found = with_fault(world, made, "sky", wet_elsewhere, hours=160)
    assert "frozen_sensor/sky/rain/n004" in keys(found)


@pytest.mark.parametrize(
    ("domain", "variable", "turned", "unit"),
    [("road", 0, lambda x: x / 3.6, "m s-1"), ("sky", 0, lambda x: x + 273.15, "K"), ("road", 0, lambda x: x * 10, "1/10")],
)
def test_a_shifted_unit_is_found_at_its_sensor_and_named(
    world: World, made: dict[str, tuple[DomainCube, Profile]], domain: str, variable: int, turned: Callable[..., np.ndarray], unit: str
) -> None:
    def shift(cube: DomainCube) -> None:
        cube.values_TNV[:, 8, variable] = turned(cube.values_TNV[:, 8, variable])

    (found,) = with_fault(world, made, domain, shift, hours=30)
    assert found.key == f"shifted_unit/{domain}/{made[domain][0].variables[variable]}/n008"
    assert f"as if in {unit}" in found.text


def _few_cars(cube: DomainCube) -> None:
    cube.values_TNV[:, 8, 0] = np.repeat(cube.values_TNV[:1, 8, 0] * [0.2, 0.25, 0.2], -(-len(cube.values_TNV) // 3))[
        : len(cube.values_TNV)
    ]


def _half_a_day(cube: DomainCube) -> None:
    known = np.argsort(cube.values_TNV[:, 8, 0])[len(cube.values_TNV) // 2 :]
    cube.values_TNV[known, 8, 0] = np.nan


@pytest.mark.parametrize("fault", [_few_cars, _half_a_day])
def test_a_day_that_hardly_changes_or_of_which_half_is_missing_has_no_level(
    world: World, made: dict[str, tuple[DomainCube, Profile]], fault: Callable[[DomainCube], None]
) -> None:
    found = with_fault(world, made, "road", fault, hours=24)
    assert [key for key in keys(found) if key.startswith("shifted")] == []


def test_road_works_that_slow_some_cars_down_more_than_others_are_another_level_and_no_unit(
    world: World, made: dict[str, tuple[DomainCube, Profile]]
) -> None:
    def slow(cube: DomainCube) -> None:
        slowed = cube.values_TNV[:, 8, 0] / 3.6
        cube.values_TNV[:, 8, 0] = slowed + np.resize([-6.0, -3.0, 0.0, 3.0, 6.0], len(slowed)) * np.nanstd(slowed)

    assert keys(with_fault(world, made, "road", slow, hours=30)) == ["shifted_level/road/speed/n008"]


def test_a_unit_that_shifts_at_all_sensors_together_blocks_as_one_alert(world: World, made: dict[str, tuple[DomainCube, Profile]]) -> None:
    def shift(cube: DomainCube) -> None:
        cube.values_TNV[:, :, 0] = cube.values_TNV[:, :, 0] * 9 / 5 + 32

    found = [f for f in with_fault(world, made, "sky", shift, hours=30) if f.rule != "drifted_input"]
    assert [(f.key, f.level) for f in found] == [("shifted_unit/sky/temperature/", "block")]
    assert "degF" in found[0].text


def test_a_silent_sensor_is_found_and_an_outage_of_all_is_one_alert_that_blocks(
    world: World, made: dict[str, tuple[DomainCube, Profile]]
) -> None:
    def silence(cube: DomainCube) -> None:
        cube.values_TNV[:, 60] = np.nan

    def outage(cube: DomainCube) -> None:
        cube.values_TNV[:, :, 1] = np.nan

    found = with_fault(world, made, "road", silence, hours=26)
    assert keys(found) == ["silent_node/road/speed/n060", "silent_node/road/count/n060"]
    (whole,) = with_fault(world, made, "road", outage, hours=26)
    assert (whole.key, whole.level) == ("incomplete/road/count/", "block")


def test_a_fault_of_many_sensors_is_one_alert_that_names_some_and_those_that_stood_stay(
    world: World, made: dict[str, tuple[DomainCube, Profile]]
) -> None:
    def freeze(cube: DomainCube) -> None:
        cube.values_TNV[:, :40, 0] = 13.3

    (found,) = [f for f in with_fault(world, made, "road", freeze) if f.rule == "frozen_sensor"]
    assert (found.subject, found.level) == ("", "warn")
    assert "40 of 120 nodes: n000, n001" in found.text
    cube, profile = made["road"]
    then = until(cube, START + (TRAINED + 12) * DAY)
    then.values_TNV[-40:, :40, 0] = 13.3
    standing = frozenset({"frozen_sensor/road/speed/n003"})
    rows = [f.subject for f in look(world, then, profile, standing) if f.rule == "frozen_sensor"]
    assert rows == ["n003", ""]


def test_a_drifted_regime_is_found_in_its_region_and_nowhere_else(world: World, made: dict[str, tuple[DomainCube, Profile]]) -> None:
    _, profile = made["road"]
    region = profile.regions[1]
    inside = np.flatnonzero(profile.region_N == 1)

    def drift(cube: DomainCube) -> None:
        cube.values_TNV[:, inside, 0] = 9 + 0.4 * (cube.values_TNV[:, inside, 0] - 9)

    found = with_fault(world, made, "road", drift, hours=7 * 24)
    assert [f.key for f in found if f.rule == "drifted_input"] == [f"drifted_input/road/speed/{region}"]


def test_a_profile_comes_back_from_its_parts(made: dict[str, tuple[DomainCube, Profile]]) -> None:
    _, profile = made["sky"]
    again = from_parts(profile.arrays(), {key: list(v) if isinstance(v, tuple) else v for key, v in profile.words().items()})
    assert again.words() == profile.words()
    assert all(np.array_equal(again.arrays()[key], array, equal_nan=True) for key, array in profile.arrays().items())
