"""Monitoring at rest: reports by instant, the alerts that stand, and what was told to whom. Light: no arrays."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pipeline.contracts.alerts import Alert
from pipeline.contracts.provenance import canonical_json
from pipeline.errors import StoreError
from pipeline.stores.issues import IssueLogs
from pipeline.stores.objects import ObjectStore
from pipeline.stores.sealed import SealedLog

LOGS = ("absence", "failures")
"""Where alerts come from besides the reports: what is due and absent, and tasks of a scheduler that failed."""


class MonitoringStore:
    """Everything under `monitoring/<world>/`: `reports/` and the logs are records in two copies, the rest are views."""

    def __init__(self, objects: ObjectStore, world_name: str) -> None:
        self._objects, self._base = objects, f"monitoring/{world_name}"
        self._reports = IssueLogs(objects, f"{self._base}/reports")

    @property
    def url(self) -> str:
        """Where it all lies."""
        return self._objects.url(self._base)

    def add_report(self, as_of: int, report: dict[str, Any]) -> bool:
        """Keep what was found as of an instant; False where the newest report of it says the same."""
        return self._reports.log(as_of).extend(report)[1]

    def report(self, as_of: int) -> dict[str, Any] | None:
        """The newest report as of an instant, None where there is none."""
        return self._reports.log(as_of).newest()

    def report_times(self, newest: int = 1) -> list[int]:
        """The newest instants with a report, ascending."""
        return self._reports.newest(newest)

    def before(self, as_of: int) -> dict[str, Any] | None:
        """The newest report as of an earlier instant."""
        for count in (2, 64):
            earlier = [t for t in self._reports.newest(count) if t < as_of]
            if earlier:
                return self.report(earlier[-1])
        earlier = [t for t in self._reports.times() if t < as_of]
        return self.report(earlier[-1]) if earlier else None

    def logged(self, log: str) -> tuple[Alert, ...]:
        """The alerts of one of `LOGS` that stand."""
        record = SealedLog(self._objects, f"{self._base}/{log}").newest()
        return _alerts(record)

    def log(self, log: str, alerts: tuple[Alert, ...], *, moment: str) -> bool:
        """Let these alerts of one of `LOGS` stand, as of a moment; False where they are those that stood."""
        sealed = SealedLog(self._objects, f"{self._base}/{log}")
        newest = sealed.newest()
        content = [alert.to_json() for alert in alerts]
        if (newest is None and not content) or (newest is not None and canonical_json(newest["alerts"]) == canonical_json(content)):
            return False
        sealed.extend({"as_of": moment, "alerts": content})
        return True

    def standing(self) -> tuple[Alert, ...]:
        """All alerts that are open, whatever raised them, those that block first."""
        times = self._reports.newest()
        found = [*(_alerts(self.report(times[0])) if times else ()), *(alert for log in LOGS for alert in self.logged(log))]
        return tuple(sorted(found, key=lambda alert: (alert.finding.level != "block", alert.key)))

    def told(self, channel: str) -> dict[str, dict[str, Any]]:
        """The alerts that a channel was told of and that it was not yet told are over, by key."""
        content = self._view("told").get(channel) or {}
        return dict(content)

    def tell(self, channel: str, alerts: Mapping[str, dict[str, Any]]) -> None:
        """Keep what a channel knows now."""
        told = self._view("told")
        if told.get(channel) != dict(alerts):
            self._objects.replace(f"{self._base}/told.json", canonical_json({**told, channel: dict(alerts)}))

    def _view(self, name: str) -> dict[str, Any]:
        key = f"{self._base}/{name}.json"
        try:
            content = json.loads(self._objects.get(key)) if self._objects.exists(key) else {}
        except ValueError as error:
            raise StoreError(
                asked=f"read {self._objects.url(key)}", found=str(error), mend="delete that file: alerts are told again"
            ) from error
        return dict(content)


def _alerts(record: Mapping[str, Any] | None) -> tuple[Alert, ...]:
    return () if record is None else tuple(Alert.from_json(content) for content in record["alerts"])
