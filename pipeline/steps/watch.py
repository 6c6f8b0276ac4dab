"""What is due and absent, and tasks of a scheduler that failed: looked at from outside of it, so that it is seen when nothing runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from pipeline.contracts.alerts import Alert, Finding
from pipeline.contracts.times import format_instant, from_seconds, parse_instant, to_seconds
from pipeline.contracts.worlds import World
from pipeline.errors import ConflictError, StoreError
from pipeline.monitoring.running import Traces, absent
from pipeline.monitoring.standing import Change, renewed
from pipeline.settings import Settings
from pipeline.stores.monitoring import MonitoringStore
from pipeline.stores.objects import ObjectStore
from pipeline.stores.published import PublishedStore
from pipeline.stores.receipts import Receipts

_TRIES = 3
Records = Mapping[tuple[str, str | None], Mapping[str, Any]]


def look_for_absence(world: World, settings: Settings, now: datetime) -> tuple[Alert, ...]:
    """Everything that stands of what is due and absent as of `now`, the time on the wall; what has come since is closed.

    A store that cannot be read is an alert as well, though no store may keep it.
    """
    objects = ObjectStore(settings.store)
    store = MonitoringStore(objects, world.name)
    try:
        records = Receipts(objects).newest(world.name)
        issued = PublishedStore(objects, world.name).newest()
        traces = Traces(ended=_ended(records), issued=from_seconds(issued[-1]) if issued else None)
        found = [finding for finding in absent(world, traces, now) if not world.monitoring.mutes(finding.key)]
        change = _log(store, "absence", found, now)
        failures = heal_failures(store, records, now)
    except StoreError as error:
        finding = Finding(rule="store_unreadable", level="block", number=1, limit=0, text=f"{error.asked}: {error.found}")
        return (Alert(finding=finding, since=to_seconds(now), raised=to_seconds(now)),)
    return (*change.standing, *failures)


def record_failure(store: MonitoringStore, now: datetime, *, task: str, text: str) -> None:
    """A task of a scheduler has failed for good; it stands until its step has ended well."""
    finding = Finding(rule="task_failed", level="block", subject=task, number=1, limit=0, text=text, since=to_seconds(now))
    _log(store, "failures", [*(alert.finding for alert in store.logged("failures")), finding], now)


def heal_failures(store: MonitoringStore, records: Records, now: datetime) -> tuple[Alert, ...]:
    """The failed tasks that still stand: those whose step has not ended well since, or of a task that is no step any step."""
    standing = store.logged("failures")
    if not standing:
        return ()
    ended = _ended(records, by_source=True)
    found = [alert.finding for alert in standing if not _made_good(alert, ended)]
    return _log(store, "failures", found, now).standing


def _made_good(alert: Alert, ended: Mapping[str, datetime]) -> bool:
    _, _, task = alert.finding.subject.partition(".")
    moments = (
        [ended[task]] if task in ended else [] if task.rpartition(".")[2] in {name.rpartition(".")[2] for name in ended} else ended.values()
    )
    return any(to_seconds(moment) > alert.raised for moment in moments)


def _log(store: MonitoringStore, log: str, found: Iterable[Finding], now: datetime) -> Change:
    """Renew the alerts of a log; another writer that comes first is looked at again."""
    wanted = list(found)
    for attempt in range(_TRIES):
        change = renewed(store.logged(log), wanted, now=to_seconds(now), heal_after=1)
        try:
            store.log(log, change.standing, moment=format_instant(now))
        except ConflictError:
            if attempt == _TRIES - 1:
                raise
            continue
        break
    return change


def _ended(records: Records, *, by_source: bool = False) -> dict[str, datetime]:
    """When each step last ended well, on the clock on the wall; `by_source` named as the scheduler's tasks are."""
    found: dict[str, datetime] = {}
    for (step, source), record in records.items():
        name = f"{source}.{step}" if by_source and source else step
        moment = parse_instant(record["confirmed_time"] or record["recorded_time"])
        found[name] = max(moment, found.get(name, moment))
    return found
