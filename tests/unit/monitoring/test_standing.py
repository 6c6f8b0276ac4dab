"""Alerts open once and close when healed; what is due and absent; steps that are slow, days that cost."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pipeline.contracts.alerts import RUNBOOKS, Alert, Finding, MonitoringRules
from pipeline.contracts.schedules import Schedule
from pipeline.contracts.worlds import World
from pipeline.monitoring.running import Ran, Traces, absent, costly, due_within, seconds_by_day, slow_steps
from pipeline.monitoring.standing import renewed
from tests.unit.monitoring.made import town

FROZEN = Finding(rule="frozen_sensor", level="warn", domain="road", variable="speed", subject="n1", number=9, limit=6, text="t", since=50)
LATE = Finding(rule="late_source", level="block", domain="road", variable="speed", subject="road", number=9, limit=6, text="t")


def test_an_alert_opens_once_stays_and_closes_after_enough_clean_looks() -> None:
    first = renewed((), [FROZEN], now=100, heal_after=2)
    assert [(a.key, a.since, a.raised) for a in first.opened] == [("frozen_sensor/road/speed/n1", 50, 100)]
    again = renewed(first.standing, [replace(FROZEN, number=12, since=None)], now=200, heal_after=2)
    assert (again.opened, again.closed) == ((), ())
    assert (again.standing[0].since, again.standing[0].finding.number) == (50, 12)
    waiting = renewed(again.standing, [], now=300, heal_after=2)
    assert (waiting.closed, [a.clean for a in waiting.standing]) == ((), [1])
    back = renewed(waiting.standing, [FROZEN], now=400, heal_after=2)
    assert (back.opened, back.standing[0].clean) == ((), 0)
    healed = renewed(waiting.standing, [], now=400, heal_after=2)
    assert ([a.key for a in healed.closed], healed.standing) == (["frozen_sensor/road/speed/n1"], ())


def test_an_alert_that_grows_from_warning_to_blocking_opens_again_and_blocking_ones_come_first() -> None:
    before = renewed((), [replace(LATE, level="warn"), FROZEN], now=100, heal_after=1).standing
    after = renewed(before, [LATE, FROZEN], now=200, heal_after=1)
    assert [a.key for a in after.opened] == [LATE.key]
    assert [a.finding.level for a in after.standing] == ["block", "warn"]


def test_an_alert_comes_back_from_its_json() -> None:
    alert = Alert(finding=FROZEN, since=50, raised=100, clean=1)
    again = Alert.from_json(alert.to_json())
    assert again.to_json() == alert.to_json()


def test_every_rule_has_a_runbook_that_is_there() -> None:
    folder = Path(__file__).resolve().parents[3] / "docs/runbooks"
    assert {name for name in RUNBOOKS.values() if not (folder / f"{name}.md").is_file()} == set()
    assert all((folder / f"{name}.md").read_text().count(f"`{rule}`") for rule, name in RUNBOOKS.items())


NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
SCHEDULE = Schedule(ingest="0 * * * *", issue="0 */6 * * *", train="0 2 * * *")


@pytest.fixture
def live(tmp_path: Path) -> World:
    return town(tmp_path).model_copy(update={"schedule": SCHEDULE})


def traces(hours_ago: float = 0.5, issued: float | None = 6, **more: float) -> Traces:
    names = ("land", "observe", "build_cube", "train", "evaluate", "promote", "verify", "monitor")
    ended = {name: NOW - timedelta(hours=more.get(name, hours_ago)) for name in names}
    return Traces(ended=ended, issued=None if issued is None else NOW - timedelta(hours=issued))


def rules_of(world: World, found: Traces) -> list[str]:
    return [f.rule for f in absent(world, found, NOW)]


def test_nothing_is_absent_while_everything_comes(live: World) -> None:
    assert rules_of(live, traces()) == []


def test_when_nothing_runs_at_all_one_alert_says_so_with_the_tick_that_was_missed(live: World) -> None:
    (found,) = absent(live, traces(hours_ago=9, issued=12), NOW)
    assert (found.rule, found.level) == ("nothing_runs", "block")
    assert found.since == int((NOW - timedelta(hours=8)).timestamp())
    assert "2026-11-23T04:00:00Z" in found.text


def test_each_cadence_is_watched_by_itself(live: World) -> None:
    assert rules_of(live, traces(land=9, observe=9, build_cube=9)) == ["ingest_absent"]
    assert rules_of(live, traces(issued=13)) == ["forecast_absent"]
    assert rules_of(live, traces(issued=None)) == ["forecast_absent"]
    assert rules_of(live, traces(train=40, evaluate=40, promote=40)) == ["training_absent"]
    assert rules_of(live, traces(monitor=20)) == ["monitoring_absent"]


def test_a_forecast_that_waits_for_late_inputs_is_not_absent_yet(live: World) -> None:
    patient = live.model_copy(update={"schedule": SCHEDULE.model_copy(update={"patience": timedelta(hours=5)})})
    assert rules_of(live, traces(issued=12)) == ["forecast_absent"]
    assert rules_of(patient, traces(issued=12)) == []
    assert rules_of(patient, traces(issued=13)) == ["forecast_absent"]


def test_a_world_that_runs_when_it_is_asked_is_asked_for_nothing_unless_it_says_so(tmp_path: Path) -> None:
    world = town(tmp_path)
    assert absent(world, traces(hours_ago=900), NOW) == []
    strict = world.model_copy(update={"monitoring": MonitoringRules(absent_after=timedelta(days=2))})
    assert [f.rule for f in absent(strict, traces(hours_ago=49), NOW)] == ["nothing_runs"]
    assert absent(strict, traces(hours_ago=47), NOW) == []


def test_the_longest_silence_of_each_cadence_follows_from_the_schedule() -> None:
    found = due_within(SCHEDULE, MonitoringRules())
    assert found == {"ingest": timedelta(hours=3), "issue": timedelta(hours=9), "train": timedelta(hours=32)}


def test_a_step_that_takes_far_longer_than_usual_is_slow_and_a_short_one_never() -> None:
    usual = [Ran(step="train", source=None, as_of=day * 86400, seconds=100 + day) for day in range(8)]
    assert list(slow_steps(usual, MonitoringRules())) == []
    late = [*usual, Ran(step="train", source=None, as_of=9 * 86400, seconds=900)]
    (found,) = slow_steps(late, MonitoringRules())
    assert (found.key, found.number) == ("slow_step///train", 900)
    short = [Ran(step="land", source="a", as_of=day, seconds=0.1 if day < 8 else 20) for day in range(9)]
    assert list(slow_steps(short, MonitoringRules())) == []


def test_budgets_of_time_and_storage_are_kept_where_there_are_any() -> None:
    days = seconds_by_day([Ran(step="train", source=None, as_of=90_000, seconds=50), Ran(step="land", source="a", as_of=86_400, seconds=1)])
    assert days == {1: 51}
    assert list(costly(days, 10**12, MonitoringRules())) == []
    tight = MonitoringRules(seconds_a_day=50, stored_bytes=10**9)
    assert [f.key for f in costly(days, 10**12, tight)] == ["costly///seconds_a_day", "costly///stored_bytes"]


def test_what_is_known_is_muted_by_pattern_and_a_pattern_of_no_rule_is_refused() -> None:
    rules = MonitoringRules(mute=("silent_node/weather/*/rome",))
    assert rules.mutes("silent_node/weather/rain/rome")
    assert not rules.mutes("silent_node/weather/rain/oslo")
    with pytest.raises(ValueError, match="no rule/domain/variable/subject"):
        MonitoringRules(mute=("silent/weather/*/rome",))
    with pytest.raises(ValueError, match="what blocks must not be more"):
        MonitoringRules(present=(0.1, 0.5))
