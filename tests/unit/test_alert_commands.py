"""The command line of monitoring: exit codes, what is shown, and that people are told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pipeline import __main__ as cli
from pipeline import api, clock, step_commands
from pipeline.contracts.alerts import Alert, Finding
from pipeline.contracts.times import parse_instant
from pipeline.settings import Settings
from pipeline.stores.monitoring import MonitoringStore
from pipeline.stores.objects import ObjectStore
from tests.unit.monitoring.made import TOWN

SCHEDULE = '[schedule]\ningest = "0 * * * *"\nissue = "0 */6 * * *"\ntrain = "0 2 * * *"\n'
LATE = Finding(rule="late_source", level="block", domain="road", variable="speed", subject="road", number=9, limit=6, text="too old")


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A world with a schedule, of which nothing has ever run; alerts go to a log."""
    file = tmp_path / "town.toml"
    file.write_text(TOWN + SCHEDULE)
    monkeypatch.setenv("CUBECAST_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("CUBECAST_ALERT_LOG", str(tmp_path / "alerts.jsonl"))
    for name in ("CUBECAST_ALERT_URL", "CUBECAST_ALERT_HEADER", "CUBECAST_ATTEMPT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(clock, "now", lambda: parse_instant("2026-11-23T12:00Z"))
    return str(file)


def told(folder: Path) -> list[tuple[str, str]]:
    return [(line["state"], line["alert"]) for line in map(json.loads, (folder / "alerts.jsonl").read_text().splitlines())]


def fake_monitor(monkeypatch: pytest.MonkeyPatch, folder: Path, *found: Finding) -> None:
    """A monitoring that finds these, and keeps them as it does."""

    def run(request: api.Request, settings: Settings, progress: Any) -> api.Receipt:
        alerts = tuple(Alert(finding=finding, since=0, raised=0) for finding in found)
        MonitoringStore(ObjectStore(settings.store), "town").add_report(1, {"alerts": [alert.to_json() for alert in alerts]})
        blocking = [alert for alert in alerts if alert.finding.level == "block"]
        rows = [{"alert": alert.key, "level": alert.finding.level} for alert in alerts]
        counts = {"alerts": len(alerts), "blocking": len(blocking)}
        return api.Receipt(step="monitor", world="town", as_of=request.as_of, outcome="done", counts=counts, details={"alerts": rows})

    monkeypatch.setattr(step_commands, "find_step", lambda name: run)


def test_an_alert_that_blocks_ends_the_monitoring_with_80_after_its_receipt_and_people_are_told(
    world: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fake_monitor(monkeypatch, tmp_path, LATE)
    assert cli.main(["monitor", "--world", world, "--as-of", "2024-01-01T00:00Z", "--json"]) == 80
    out, err = capsys.readouterr()
    assert json.loads(out)["counts"]["blocking"] == 1
    events = [json.loads(line) for line in err.splitlines()]
    assert [e["alert"] for e in events if e["event"] == "alert"] == ["late_source/road/speed/road"]
    assert [(e["error"], e["exit_code"]) for e in events if e["event"] == "error"] == [("AlarmError", 80)]
    assert told(tmp_path) == [("opened", "late_source/road/speed/road")]


def test_an_alert_that_only_warns_ends_it_well(
    world: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from dataclasses import replace

    fake_monitor(monkeypatch, tmp_path, replace(LATE, level="warn"))
    assert cli.main(["monitor", "--world", world, "--as-of", "2024-01-01T00:00Z"]) == 0
    assert "warn  late_source road speed road, since" in capsys.readouterr().err
    assert cli.main(["alerts", "list", "--world", world]) == 0
    assert "see docs/runbooks/late-source.md" in capsys.readouterr().out
    assert cli.main(["status", "--world", world]) == 0
    assert "too old" in capsys.readouterr().out


def test_the_watch_ends_with_80_where_nothing_runs_tells_it_once_and_says_what_was_due(
    world: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in range(2):
        assert cli.main(["watch", "--world", world]) == 80
    out = capsys.readouterr().out
    assert "BLOCK nothing_runs" in out
    assert "there never was one" in out
    assert told(tmp_path) == [("opened", "nothing_runs///")]


def test_the_watch_of_a_world_that_runs_when_it_is_asked_is_quiet(world: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path(world).write_text(TOWN)
    assert cli.main(["watch", "--world", world]) == 0
    assert "all that is due has come" in capsys.readouterr().out
    assert cli.main(["watch", "--world", world, "--every", "soon"]) == 78


def test_a_test_alert_reaches_every_channel_and_keeps_nothing(
    world: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["alerts", "test", "--world", world]) == 0
    assert told(tmp_path) == [("opened", "test///")]
    assert not (tmp_path / "store").exists()
    monkeypatch.delenv("CUBECAST_ALERT_LOG")
    assert cli.main(["alerts", "test", "--world", world]) == 78
