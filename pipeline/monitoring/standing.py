"""Alerts that stand: a finding opens one, once; it closes when enough looks in a row have found nothing."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from pipeline.contracts.alerts import Alert, Finding

_RANK = {"warn": 0, "block": 1}


@dataclass(frozen=True, kw_only=True)
class Change:
    """What a look has changed.

    Attributes:
        standing: All alerts that are open now, the most urgent first.
        opened: Those of them that were not open before, or only warned.
        closed: Those that were open and are healed.
    """

    standing: tuple[Alert, ...]
    opened: tuple[Alert, ...]
    closed: tuple[Alert, ...]


def renewed(standing: Iterable[Alert], found: Iterable[Finding], *, now: int, heal_after: int) -> Change:
    """The alerts after a look at `now` (seconds UTC)."""
    before = {alert.key: alert for alert in standing}
    newest: dict[str, Finding] = {}
    for finding in found:
        if finding.key not in newest or _RANK[finding.level] > _RANK[newest[finding.key].level]:
            newest[finding.key] = finding
    after = [_again(before.get(key), finding, now) for key, finding in newest.items()]
    opened = [alert for alert in after if alert.raised == now and (alert.key not in before or _grew(before[alert.key], alert))]
    closed: list[Alert] = []
    for key, alert in before.items():
        if key not in newest:
            waiting = replace(alert, clean=alert.clean + 1)
            (closed if waiting.clean >= heal_after else after).append(waiting)
    order = sorted(after, key=lambda alert: (-_RANK[alert.finding.level], alert.key))
    return Change(standing=tuple(order), opened=tuple(opened), closed=tuple(sorted(closed, key=lambda alert: alert.key)))


def _again(known: Alert | None, finding: Finding, now: int) -> Alert:
    began = now if finding.since is None else finding.since
    if known is None:
        return Alert(finding=finding, since=began, raised=now)
    raised = now if _RANK[finding.level] > _RANK[known.finding.level] else known.raised
    return Alert(finding=finding, since=min(known.since, began), raised=raised)


def _grew(before: Alert, after: Alert) -> bool:
    return _RANK[after.finding.level] > _RANK[before.finding.level]
