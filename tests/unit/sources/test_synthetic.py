"""The made-up world is the same every time, knows its truth, and every planted fault can be found."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from pipeline.contracts.world_files import load_world
from pipeline.contracts.worlds import World
from pipeline.errors import ConfigError, ContractError
from pipeline.settings import Settings
from pipeline.sources.synthetic import SyntheticAdapter, SyntheticOptions, made, truth
from tests.world import MEASURED, tiny_world

ADAPTER = SyntheticAdapter()
NOWHERE = Settings(store="", data=None, dask=None)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return load_world(str(tiny_world(tmp_path_factory.mktemp("world"))))


def options(world: World, feed: str) -> SyntheticOptions:
    return SyntheticOptions.model_validate(world.sources[feed].options)


def delivered(world: World, feed: str, as_of: datetime) -> dict[str, bytes]:
    found = ADAPTER.deliveries(world.sources[feed], NOWHERE, as_of)
    return {d.name: d.parts[0].read() for d in found}


def test_the_same_options_give_the_same_bytes_and_another_seed_others(world: World, tmp_path: Path) -> None:
    end = datetime(2025, 10, 31, tzinfo=UTC)
    other = load_world(str(tiny_world(tmp_path, seed=8)))
    for feed in world.sources:
        assert delivered(world, feed, end) == delivered(world, feed, end)
        assert delivered(world, feed, end) != delivered(other, feed, end)


def test_a_delivery_comes_only_when_its_interval_is_over_and_never_changes(world: World) -> None:
    early = delivered(world, "roads", datetime(2025, 10, 25, 23, 59, tzinfo=UTC))
    late = delivered(world, "roads", datetime(2025, 10, 31, tzinfo=UTC))
    assert len(early) == 1 + 3
    assert len(late) == 1 + 9
    assert early == {name: late[name] for name in early}


def test_nothing_in_a_delivery_was_published_after_it(world: World) -> None:
    for feed in world.sources:
        for delivery in ADAPTER.deliveries(world.sources[feed], NOWHERE, datetime(2025, 10, 31, tzinfo=UTC)):
            if delivery.role == "readings":
                found = ADAPTER.parse(world.sources[feed], {p.name: p.read() for p in delivery.parts})
                assert found.published_time is not None
                assert delivery.published_time is not None
                assert found.published_time.max() <= delivery.published_time


def test_parsed_readings_are_the_reports_row_for_row(world: World) -> None:
    for feed in MEASURED:
        latency = int(world.sources[feed].latency.total_seconds())
        reports = made(options(world, feed), latency).reports
        found = [
            ADAPTER.parse(world.sources[feed], {p.name: p.read() for p in d.parts})
            for d in ADAPTER.deliveries(world.sources[feed], NOWHERE, datetime(2026, 1, 1, tzinfo=UTC))
            if d.role == "readings"
        ]
        cells = 16 if feed == "weather" else 1
        assert sum(len(f) for f in found) == len(reports.valid) * cells
        assert np.concatenate([f.valid_time for f in found])[::cells].tolist() == reports.valid.tolist()
        for name, values in reports.values.items():
            read = np.concatenate([f.values[name] for f in found])
            assert np.allclose(read, values.ravel(), atol=0.051)


def test_the_weather_drifts_with_the_planted_wind(world: World) -> None:
    wide = options(world, "weather").model_copy(update={"rows": 30, "columns": 30})
    found = truth(wide)
    rain = found.rain_TC.reshape(-1, 30, 30)
    north, east = found.coefficients.velocity
    hours = 20
    up, right = round(north * hours), round(east * hours)
    assert abs(up - north * hours) < 1e-9
    assert abs(right - east * hours) < 1e-9
    assert np.allclose(rain[hours:, up:, right:], rain[:-hours, : 30 - up, : 30 - right])


def test_roads_slow_down_after_the_planted_lag_by_the_planted_share(world: World) -> None:
    found = truth(options(world, "roads"))
    c = found.coefficients
    dry = found.speed_TN / np.exp(-c.rain_slows * found.rain_felt_TN)
    free = dry / (1 - c.demand_slows * np.minimum(found.demand_TN, 1.5))
    assert np.allclose(free, free[0])
    assert found.rain_felt_TN.max() > 1
    assert (found.rain_felt_TN == 0).mean() > 0.3


def test_rush_hours_keep_local_time_when_the_clocks_go_back(world: World) -> None:
    found = truth(options(world, "roads"))
    friday, monday = (int(datetime(2025, 10, day, tzinfo=UTC).timestamp()) for day in (24, 27))

    def peak(midnight: int) -> int:
        inside = (found.road_T >= midnight) & (found.road_T < midnight + 12 * 3600)
        return (int(found.road_T[inside][found.demand_TN[inside, 0].argmax()]) - midnight) // 60

    assert peak(friday) == 6 * 60
    assert peak(monday) == 7 * 60


def test_prices_follow_the_planted_signal_plus_a_walk(world: World) -> None:
    found = truth(options(world, "prices"))
    walk = np.diff(np.log(found.price_TI) - found.price_signal_TI, axis=0)
    assert abs(walk.std() / found.coefficients.walk - 1) < 0.15
    assert np.abs(found.price_signal_TI).max() > 10 * found.coefficients.walk


def test_every_kind_of_fault_is_planted_and_listed(world: World) -> None:
    kinds = {f.kind for feed in MEASURED for f in made(options(world, feed), 60).faults}
    assert kinds == {"outage", "late", "revision", "spike", "stuck", "fill_code", "duplicate", "malformed", "unit"}


def test_without_faults_every_instant_is_reported_once_and_on_time(world: World) -> None:
    clean = made(options(world, "roads").model_copy(update={"faults": False}), 300)
    assert clean.faults == ()
    assert (clean.reports.published == clean.reports.valid + 300).all()
    assert len(clean.reports.valid) == 6 * (9 * 96 + 1)


def test_any_size_runs(world: World) -> None:
    big = options(world, "roads").model_copy(update={"sensors": 300, "sensor_step": timedelta(minutes=5), "days": 2})
    assert len(made(big, 60).reports.valid) > 300 * 500


def test_places_and_shape_come_with_the_grid(world: World) -> None:
    [nodes] = [d for d in ADAPTER.deliveries(world.sources["weather"], NOWHERE, datetime(2025, 10, 31, tzinfo=UTC)) if d.role == "nodes"]
    found = ADAPTER.parse_places(world.sources["weather"], {p.name: p.read() for p in nodes.parts})
    assert found.shape == (4, 4)
    assert found.ids[:5] == ("y000x000", "y000x001", "y000x002", "y000x003", "y001x000")
    assert found.latitude[4] > found.latitude[0]


@pytest.mark.parametrize("cut", [0, 3, 100, -1])
def test_a_truncated_grid_file_is_refused_by_name(world: World, cut: int) -> None:
    files = delivered(world, "weather", datetime(2025, 10, 31, tzinfo=UTC))
    name = [n for n in files if n.endswith(".nc")][2]
    with pytest.raises(ContractError, match=name):
        ADAPTER.parse(world.sources["weather"], {name: files[name][:cut]})


def test_wrong_options_and_variables_are_refused(world: World) -> None:
    source = world.sources["roads"]
    with pytest.raises(ConfigError, match="did you mean 'sensors'"):
        ADAPTER.check(source.model_copy(update={"options": {**source.options, "senors": 3}}))
    with pytest.raises(ConfigError, match="did you mean 'speed'"):
        ADAPTER.check(source.model_copy(update={"variables": {"sped": source.variables["speed"]}}))
