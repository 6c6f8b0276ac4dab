"""monitor and watch on a made-up town: faults become alerts with their names, once; quiet days none; what is absent is told."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from pipeline.api import MonitorRequest, Receipt, load_world
from pipeline.contracts.cubes import DomainCube
from pipeline.contracts.scores import Promotion, Verdict
from pipeline.contracts.times import from_seconds, to_seconds
from pipeline.contracts.worlds import World
from pipeline.settings import Settings
from pipeline.steps import looking_at_outcomes, monitor, reading, watch
from pipeline.stores.monitoring import MonitoringStore
from pipeline.stores.objects import ObjectStore
from pipeline.stores.receipts import Receipts
from pipeline.stores.registry import Registry
from pipeline.telemetry import QUIET
from tests.unit.monitoring.made import DAY, START, cube_of, town, until
from tests.unit.monitoring.test_cusum import daily, promised

CUT_OFF = START + 45 * DAY
"""Its training time is the first 70 %: 31 days and a bit."""


@dataclass
class Town:
    world: World
    file: str
    settings: Settings
    cubes: dict[str, DomainCube]

    @property
    def store(self) -> MonitoringStore:
        return MonitoringStore(ObjectStore(self.settings.store), "town")

    def look(self, moment: int) -> Receipt:
        return monitor.run(MonitorRequest(world=self.file, as_of=from_seconds(moment)), self.settings, QUIET)

    def standing(self) -> list[str]:
        return [alert.key for alert in self.store.standing()]


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Town:
    world = town(tmp_path)
    cubes = {"road": cube_of(world, "road", 60, 40), "sky": cube_of(world, "sky", 60, 12)}
    settings = Settings(store=str(tmp_path / "store"), data=None, dask=None)

    def open_cubes(world, settings, as_of, *, domains=None, start=None, until=None, absent_is_fine=False, at=None):
        wanted = cubes if domains is None else {name: cubes[name] for name in domains if name in cubes}
        return {name: cut(cube, to_seconds(as_of), (until or {}).get(name), (start or {}).get(name)) for name, cube in wanted.items()}

    monkeypatch.setattr(reading, "open_cubes", open_cubes)
    verdict = Verdict(domain="road", variable="speed", published="joint", reasons=("made up",))
    promotion = Promotion(
        world="town",
        as_of=f"{from_seconds(CUT_OFF):%Y-%m-%dT%H:%M:%SZ}",
        model_id="m1",
        previous=None,
        verdicts=(verdict,),
        reason="made up",
    )
    registry = Registry(ObjectStore(settings.store), "town")
    registry.add_candidate("m1", {"x.json": b"{}"}, {"as_of": promotion.as_of})
    registry.promote(promotion)
    return Town(world=world, file=str(tmp_path / "town.toml"), settings=settings, cubes=cubes)


def cut(cube: DomainCube, as_of: int, last: int | None, first: int | None) -> DomainCube:
    found = until(cube, as_of if last is None else min(as_of, last))
    keep = found.valid_time >= (first or 0)
    return replace(
        found,
        as_of=as_of,
        valid_time=found.valid_time[keep],
        values_TNV=found.values_TNV[keep],
        flags_TNV=found.flags_TNV[keep],
    )


def spoil(cube: DomainCube, first: int, last: int, fault: Callable[[np.ndarray], None]) -> None:
    begin, end = np.searchsorted(cube.valid_time, [first, last], side="right")
    fault(cube.values_TNV[begin:end])


def test_quiet_days_raise_nothing_and_the_report_says_how_things_are(made: Town) -> None:
    for day in range(46, 59):
        assert made.look(START + day * DAY).counts["alerts"] == 0
    report = made.store.report(made.store.report_times()[0])
    assert report is not None
    assert report["champion"] == "m1"
    speed, cube = report["inputs"]["road"]["speed"], until(made.cubes["road"], START + 58 * DAY)
    silent = [node for n, node in enumerate(cube.nodes.ids) if np.isnan(cube.values_TNV[-1, n, 0])]
    assert (speed["age_seconds"], sorted(speed["older_nodes"])) == (0, silent)
    assert all(age >= 1800 for age in speed["older_nodes"].values())
    assert report["alerts"] == []


def test_the_same_request_again_changes_nothing_and_reads_the_profile_that_was_kept(made: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    assert made.look(START + 50 * DAY).outcome == "done"
    before = {e.key: e.written for e in ObjectStore(made.settings.store).entries("")}

    def never(*_: object) -> None:
        raise AssertionError("made anew")

    monkeypatch.setattr("pipeline.steps.looking_at_inputs.profile_of", never)
    assert made.look(START + 50 * DAY).outcome == "unchanged"
    assert {e.key: e.written for e in ObjectStore(made.settings.store).entries("")} == before


def test_the_reference_is_the_training_time_as_of_the_cut_off_whatever_comes_later(made: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    made.look(START + 50 * DAY)
    folder = Path(made.settings.store) / "monitoring/town/profiles"
    kept = {path.name: path.read_bytes() for path in folder.iterdir()}
    for path in folder.iterdir():
        path.unlink()
    for cube in made.cubes.values():
        cube.values_TNV[cube.valid_time > CUT_OFF] = 77.0
    made.look(START + 51 * DAY)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == kept


def test_a_frozen_sensor_a_shifted_unit_and_a_late_source_are_alerts_with_their_names_that_open_once_and_close(made: Town) -> None:
    noon = START + 50 * DAY + DAY // 2
    spoil(made.cubes["road"], noon - 20 * 3600, noon, lambda x: x[:, 7].__setitem__((slice(None), 0), 13.3))
    spoil(made.cubes["sky"], noon - 30 * 3600, noon, lambda x: x[:, 3].__setitem__((slice(None), 0), x[:, 3, 0] * 9 / 5 + 32))
    spoil(made.cubes["road"], noon - 5 * 3600, noon + 3600, lambda x: x[..., 1].__setitem__(slice(None), np.nan))
    first = made.look(noon)
    named = {"frozen_sensor/road/speed/n007", "shifted_unit/sky/temperature/n003", "late_source/road/count/road"}
    assert set(made.standing()) == named
    assert first.counts == {"alerts": 3, "blocking": 0, "opened": 3, "closed": 0}
    assert made.look(noon + 1800).counts["opened"] == 0
    quiet = START + 54 * DAY
    assert made.look(quiet).counts == {"alerts": 3, "blocking": 0, "opened": 0, "closed": 0}
    assert made.look(quiet + 3600).counts["closed"] == 3
    assert made.standing() == []


def test_a_source_of_which_nothing_is_left_in_the_context_blocks(made: Town) -> None:
    noon = START + 50 * DAY + DAY // 2
    spoil(made.cubes["sky"], noon - 14 * 3600, noon, lambda x: x[..., 0].__setitem__(slice(None), np.nan))
    assert made.look(noon).counts["blocking"] == 1
    (row,) = made.store.standing()
    assert (row.key, row.finding.level) == ("late_source/sky/temperature/sky", "block")
    assert row.since == noon - 14 * 3600


def test_a_drifted_regime_is_an_alert_on_its_region(made: Town) -> None:
    evening = START + 58 * DAY
    spoil(made.cubes["road"], START + 50 * DAY, evening, lambda x: x[..., 0].__setitem__(slice(None), 9 + 0.4 * (x[..., 0] - 9)))
    made.look(evening)
    rules = {alert.finding.rule for alert in made.store.standing()}
    assert "drifted_input" in rules
    assert all(alert.finding.variable == "speed" for alert in made.store.standing())


def test_a_world_without_cubes_is_late_and_says_what_it_could_not_judge(made: Town) -> None:
    made.cubes.clear()
    found = made.look(START + 50 * DAY)
    assert found.counts["blocking"] == 4
    assert any("only lateness is judged: no cube" in note for note in found.notes)


def test_residuals_and_skill_are_held_against_the_scorecard(made: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = daily(3, region="", grows=1.8, since=30)
    monkeypatch.setattr(looking_at_outcomes, "daily_of", lambda *_, **__: {("road", "speed", ""): whole})
    monkeypatch.setattr(looking_at_outcomes, "promised_of", lambda *_: {("road", "speed", ""): promised()})
    made.look(START + 50 * DAY)
    assert {"error_grown/road/speed/", "drifted_residuals/road/speed/"} <= set(made.standing())
    report = made.store.report(made.store.report_times()[0])
    assert report is not None
    assert report["outcomes"][0]["promised"]["mae"] == 2.0


NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


def ran(made: Town, step: str, hours_ago: float, source: str | None = None, now: datetime = NOW) -> None:
    moment = now - timedelta(hours=hours_ago)
    receipt = Receipt(step=step, world="town", as_of=moment, outcome="done").model_dump(mode="json")
    receipts = Receipts(ObjectStore(made.settings.store))
    receipts.save(receipt, as_of=moment, source=source, recorded_time=moment, seconds=1)


def scheduled(made: Town) -> World:
    text = Path(made.file).read_text() + '\n[schedule]\ningest = "0 * * * *"\nissue = "0 0 * * 0"\ntrain = "0 0 * * 0"\n'
    Path(made.file).write_text(text)
    return load_world(made.file)


def test_when_nothing_runs_the_watch_says_so_once_and_closes_it_when_something_ran(made: Town) -> None:
    world = scheduled(made)
    for hours in (30, 9):
        ran(made, "land", hours, "road")
    found = watch.look_for_absence(world, made.settings, NOW)
    assert [alert.finding.rule for alert in found] == ["nothing_runs"]
    assert watch.look_for_absence(world, made.settings, NOW + timedelta(minutes=5))[0].raised == found[0].raised
    ran(made, "land", 0.1, "road")
    later = watch.look_for_absence(world, made.settings, NOW + timedelta(minutes=10))
    assert "nothing_runs" not in [alert.finding.rule for alert in later]


def test_a_failed_task_is_an_alert_until_its_own_step_has_ended_well(made: Town) -> None:
    ran(made, "land", 5, "road")
    ran(made, "observe", 5, "road")
    watch.record_failure(made.store, NOW, task="ingest.road.land", text="failed for good")
    watch.record_failure(made.store, NOW + timedelta(hours=1), task="ingest.road.land", text="failed for good")
    records = Receipts(ObjectStore(made.settings.store))
    assert len(watch.heal_failures(made.store, records.newest("town"), NOW)) == 1
    ran(made, "observe", -2, "road")
    assert len(watch.heal_failures(made.store, records.newest("town"), NOW)) == 1
    ran(made, "land", -3, "road")
    assert watch.heal_failures(made.store, records.newest("town"), NOW) == ()


def test_a_store_that_cannot_be_read_is_an_alert_by_itself(made: Town) -> None:
    world = scheduled(made)
    ran(made, "land", 0.1, "road")
    for path in Path(made.settings.store).rglob("land.road.json"):
        path.write_text("{")
    (found,) = watch.look_for_absence(world, made.settings, NOW)
    assert (found.finding.rule, found.finding.level) == ("store_unreadable", "block")


def test_alerts_of_reports_and_logs_stand_together_and_a_look_at_the_past_changes_none(made: Town) -> None:
    noon = START + 50 * DAY + DAY // 2
    spoil(made.cubes["road"], noon - 20 * 3600, noon, lambda x: x[:, 7].__setitem__((slice(None), 0), 13.3))
    made.look(noon)
    watch.record_failure(made.store, NOW, task="cube.build_cube", text="failed for good")
    both = made.standing()
    assert both == ["task_failed///cube.build_cube", "frozen_sensor/road/speed/n007"]
    made.look(START + 48 * DAY)
    assert made.standing() == both
    assert json.loads(json.dumps([alert.to_json() for alert in made.store.standing()]))
