"""How the steps ran: how long each took, what a day cost, and what is due and absent."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from statistics import median

from pipeline.contracts.alerts import Finding, MonitoringRules
from pipeline.contracts.cron import last_tick, longest_gap, ticks_before
from pipeline.contracts.schedules import Schedule
from pipeline.contracts.times import format_duration, format_instant, to_seconds
from pipeline.contracts.worlds import World

_ENOUGH = 5
_DAY = 86400
GRACE = timedelta(hours=2)
"""How long after its time what is due may be absent, where the world does not say."""


@dataclass(frozen=True, kw_only=True)
class Ran:
    """One run of a step that did something: as of when (seconds UTC), and how long it took."""

    step: str
    source: str | None
    as_of: int
    seconds: float


def latencies(ran: Iterable[Ran]) -> dict[str, dict[str, float]]:
    """Per step, and source where it has one, the seconds of its newest run, the usual ones and the most before."""
    found: dict[str, dict[str, float]] = {}
    for name, rows in _by_step(ran).items():
        before = [row.seconds for row in rows[:-1]]
        found[name] = {"seconds": rows[-1].seconds, "usual": median(before or [rows[-1].seconds]), "most": max(before, default=0.0)}
        found[name]["runs"] = float(len(rows))
    return found


def slow_steps(ran: Iterable[Ran], rules: MonitoringRules) -> Iterator[Finding]:
    """Steps whose newest run took far longer than usual."""
    for name, row in latencies(ran).items():
        limit = max(rules.least_seconds, rules.slow * row["usual"])
        if row["runs"] > _ENOUGH and row["seconds"] > limit:
            text = f"{row['seconds']:.0f} s, usually {row['usual']:.0f} s"
            yield Finding(rule="slow_step", level="warn", subject=name, number=row["seconds"], limit=limit, unit="s", text=text)


def seconds_by_day(ran: Iterable[Ran]) -> dict[int, float]:
    """Per day (UTC days since 1970) the seconds of all steps, by their as_of."""
    found: dict[int, float] = {}
    for row in ran:
        found[row.as_of // _DAY] = round(found.get(row.as_of // _DAY, 0.0) + row.seconds, 1)
    return dict(sorted(found.items()))


def costly(days: Mapping[int, float], stored_bytes: int, rules: MonitoringRules) -> Iterator[Finding]:
    """Budgets that are used up: of seconds on the newest day, of bytes at rest."""
    spent = list(days.values())[-1] if days else 0.0
    if rules.seconds_a_day is not None and spent > rules.seconds_a_day:
        text = f"{spent:.0f} s of computing on the newest day"
        yield Finding(rule="costly", level="warn", subject="seconds_a_day", number=spent, limit=rules.seconds_a_day, unit="s", text=text)
    if rules.stored_bytes is not None and stored_bytes > rules.stored_bytes:
        text = f"{stored_bytes:,} bytes at rest"
        yield Finding(
            rule="costly", level="warn", subject="stored_bytes", number=stored_bytes, limit=rules.stored_bytes, unit="bytes", text=text
        )


def _by_step(ran: Iterable[Ran]) -> dict[str, list[Ran]]:
    found: dict[str, list[Ran]] = {}
    for row in sorted(ran, key=lambda row: row.as_of):
        found.setdefault(f"{row.step}.{row.source}" if row.source else row.step, []).append(row)
    return found


@dataclass(frozen=True, kw_only=True)
class Traces:
    """What a world has left behind: when each step last ended well, on the clock on the wall, and its newest published issue time."""

    ended: Mapping[str, datetime]
    issued: datetime | None


def due_within(schedule: Schedule, rules: MonitoringRules) -> dict[str, timedelta]:
    """Per cadence the longest that nothing may come of it: its longest gap, what it may wait and take, and the grace."""
    grace = rules.absent_after or GRACE
    waits = {"ingest": timedelta(0), "issue": schedule.patience, "train": schedule.limit}
    return {name: longest_gap(getattr(schedule, name)) + wait + grace for name, wait in waits.items()}


CADENCES = {
    "land": "ingest",
    "observe": "ingest",
    "build_cube": "ingest",
    "train": "train",
    "evaluate": "train",
    "promote": "train",
    "predict": "issue",
    "publish": "issue",
}
"""By which cadence of a schedule a step is due."""


def late_after(schedule: Schedule, rules: MonitoringRules) -> dict[str, timedelta]:
    """Per step how long after its instant it may end before it is late."""
    grace = rules.absent_after or GRACE
    waits = {"ingest": schedule.hold, "issue": schedule.patience, "train": schedule.limit}
    return {step: waits[cadence] + grace for step, cadence in CADENCES.items()}


def absent(world: World, traces: Traces, now: datetime) -> list[Finding]:
    """What is due by the world's schedule, and is not there: nothing of it asks whether anything runs at all.

    A world without a schedule is asked for nothing, unless it says with `absent_after` how long it may do nothing.
    """
    if world.schedule is None:
        return _idle(world, traces, now)
    schedule, grace = world.schedule, world.monitoring.absent_after or GRACE
    newest = max(traces.ended.values(), default=None)
    found: list[Finding] = []
    ingest = _unmet(schedule.ingest, now - grace, _first(traces, "land", "observe", "build_cube"))
    if ingest and _unmet(schedule.ingest, now - grace, newest):
        return [_due("nothing_runs", ingest, newest, now, "no step has ended well", grace)]
    if ingest:
        found.append(_due("ingest_absent", ingest, _first(traces, "land", "observe", "build_cube"), now, "nothing was fetched", grace))
    issue = _unmet(schedule.issue, now - grace - schedule.patience, traces.issued)
    if issue:
        found.append(_due("forecast_absent", issue, traces.issued, now, "no forecast was published", grace + schedule.patience))
    trained = _first(traces, "train", "evaluate", "promote")
    train = _unmet(schedule.train, now - grace - schedule.limit, trained)
    if train:
        found.append(_due("training_absent", train, trained, now, "no candidate was trained", grace + schedule.limit))
    watched = traces.ended.get("monitor")
    if not ingest and watched is not None and _unmet(schedule.ingest, now - 2 * grace, watched):
        found.append(_due("monitoring_absent", watched, watched, now, "the monitoring has not looked", 2 * grace))
    return found


def _idle(world: World, traces: Traces, now: datetime) -> list[Finding]:
    limit, newest = world.monitoring.absent_after, max(traces.ended.values(), default=None)
    if limit is None or world.recorded is not None or (newest is not None and now - newest <= limit):
        return []
    return [_due("nothing_runs", newest or now - limit, newest, now, "no step has ended well", limit)]


def _first(traces: Traces, *steps: str) -> datetime | None:
    """The newest end of any of some steps."""
    return max((traces.ended[step] for step in steps if step in traces.ended), default=None)


def _unmet(line: str, moment: datetime, newest: datetime | None) -> datetime | None:
    """The first tick by a moment of which nothing has come, or None; of a world that never began the newest tick."""
    tick = last_tick(line, moment)
    if tick is None or (newest is not None and newest >= tick):
        return None
    if newest is None:
        return tick
    first = tick
    for count, earlier in enumerate(ticks_before(line, moment)):
        if earlier <= newest or count > 1000:
            break
        first = earlier
    return first


def _due(rule: str, tick: datetime, newest: datetime | None, now: datetime, what: str, grace: timedelta) -> Finding:
    seen = f"the newest is of {format_instant(newest)}" if newest else "there never was one"
    return Finding(
        rule=rule,
        level="block",
        number=(now - tick).total_seconds(),
        limit=grace.total_seconds(),
        unit="s",
        text=f"{what} since what was due at {format_instant(tick)}, {format_duration(grace)} being allowed; {seen}",
        since=to_seconds(tick),
    )
