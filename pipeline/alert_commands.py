"""`cubecast alerts …` and `cubecast watch`: what stands, who is told, and what is due and absent."""

from __future__ import annotations

import json
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

import typer

from pipeline import api, clock
from pipeline.command_options import JsonObject, WorldName, example, say
from pipeline.contracts.alerts import Alert
from pipeline.contracts.times import format_instant, from_seconds, parse_duration
from pipeline.delivery import Message, channels, deliver, described, send_all
from pipeline.errors import AlarmError, ConfigError
from pipeline.settings import Settings, read_settings
from pipeline.stores.monitoring import MonitoringStore
from pipeline.stores.objects import ObjectStore

alerts_app = typer.Typer(help="Alerts that stand, and who is told of them.", no_args_is_help=True)
watch_app = typer.Typer()

_TOLD_ALREADY = AlarmError.exit_code


def store_of(world: api.World, settings: Settings) -> MonitoringStore:
    """Where a world's monitoring is kept."""
    return MonitoringStore(ObjectStore(settings.store), world.name)


def alert_line(alert: Alert) -> str:
    """An alert in one line: `BLOCK late_source traffic speed roads, since …: text (see …)`."""
    finding = alert.finding
    about = " ".join(part for part in (finding.domain, finding.variable, finding.subject) if part)
    level = "BLOCK" if finding.level == "block" else "warn "
    return f"{level} {finding.rule} {about}, since {format_instant(from_seconds(alert.since))}: {finding.text} (see {alert.mend})"


@alerts_app.command("list", epilog=example("cubecast alerts list --world aarhus"))
def alerts_list(world: WorldName, as_json: JsonObject = False) -> None:
    """What stands: those that block first, each with its number, its limit, since when, and the runbook to follow."""
    loaded = api.load_world(world)
    standing = store_of(loaded, read_settings()).standing()
    content = {"world": loaded.name, "alerts": [described(alert) for alert in standing]}
    say(content, [*map(alert_line, standing)] or [f"{loaded.name}: no alert stands"], as_json=as_json)


@alerts_app.command("report", epilog=example("cubecast alerts report --world aarhus"))
def alerts_report(world: WorldName) -> None:
    """The newest report of the monitoring, all of it, as JSON: freshness of each node, outcomes by day, times and cost of the steps."""
    loaded = api.load_world(world)
    store = store_of(loaded, read_settings())
    times = store.report_times()
    print(json.dumps(store.report(times[0]) if times else {}, ensure_ascii=False))


@alerts_app.command("test", epilog=example("cubecast alerts test --world synthetic"))
def alerts_test(world: WorldName, as_json: JsonObject = False) -> None:
    """Send a made-up alert to every channel that the environment names, to see that it arrives; nothing is kept."""
    loaded, settings = api.load_world(world), read_settings()
    names = list(channels(settings))
    if not names:
        raise ConfigError(asked="send an alert", found="no channel", mend="set CUBECAST_ALERT_LOG or CUBECAST_ALERT_URL")
    row = {"alert": "test///", "level": "warn", "text": "a test: somebody ran cubecast alerts test", "mend": "docs/runbooks/README.md"}
    undelivered = send_all(Message(world=loaded.name, moment=format_instant(clock.now()), opened=(row,), closed=()), settings)
    if undelivered:
        raise AlarmError(asked="send an alert", found="; ".join(undelivered), mend="mend the channel, then try again")
    say({"world": loaded.name, "told": names}, [f"told: {', '.join(names)}"], as_json=as_json)


@alerts_app.command("failed", hidden=True)
def alerts_failed(
    world: WorldName,
    task: Annotated[str, typer.Option(help="The DAG's name and the task's id.")],
    run: Annotated[str, typer.Option(help="The run.")] = "",
    exit_code: Annotated[int | None, typer.Option(help="How its step ended, where it did.")] = None,
) -> None:
    """A task of a scheduler has failed for good: raise an alert, and tell."""
    from pipeline.steps.watch import record_failure

    if exit_code == _TOLD_ALREADY:
        return
    loaded, settings = api.load_world(world), read_settings()
    store, code = store_of(loaded, settings), "" if exit_code is None else f", its step ended with {exit_code}"
    record_failure(store, clock.now(), task=task, text=f"failed for good in run {run}{code}")
    tell(loaded, settings)


def tell(world: api.World, settings: Settings) -> None:
    """Tell every channel what changed; those that could not be reached are named on stderr, and told the next time."""
    for line in deliver(world.name, store_of(world, settings), settings, now=clock.now()):
        said = {"event": "undelivered", "world": world.name, "found": line}
        print(json.dumps(said, ensure_ascii=False), file=sys.stderr, flush=True)


@watch_app.command("watch", rich_help_panel="Run", epilog=example("cubecast watch --world london --every 5min"))
def watch(
    world: Annotated[
        list[str] | None, typer.Option("--world", "-w", help="A world; by default those that CUBECAST_WORLDS names, or all.")
    ] = None,
    every: Annotated[str | None, typer.Option(help="Look again and again, until Ctrl-C; by default once.", metavar="DURATION")] = None,
    seen: Annotated[Path | None, typer.Option(help="A file that is touched after each look, for health checks.", metavar="FILE")] = None,
    as_json: JsonObject = False,
) -> None:
    """Whether what the schedule says has come; for cron or systemd, as nothing else may be running. Exit code 80: something is absent."""
    try:
        pause = None if every is None else parse_duration(every)
    except ValueError as error:
        raise ConfigError(asked=f"--every {every}", found=str(error), mend="write for example 5min") from error
    if pause is not None and pause < timedelta(seconds=1):
        raise ConfigError(asked=f"--every {every}", found="under a second", mend="write for example 5min")
    names = tuple(world) if world else api.scheduled_worlds()
    while True:
        found = {name: _look(name) for name in names}
        _show(found, as_json=as_json)
        if seen is not None:
            seen.touch()
        if pause is None:
            break
        time.sleep(pause.total_seconds())
    blocking = [f"{name}: {alert.finding.rule}" for name, alerts in found.items() for alert in alerts if alert.finding.level == "block"]
    if blocking:
        raise AlarmError(asked=f"watch {', '.join(names)}", found="; ".join(blocking), mend="docs/runbooks/nothing-runs.md")


def _look(name: str) -> tuple[Alert, ...]:
    from pipeline.steps.watch import look_for_absence

    loaded, settings = api.load_world(name), read_settings()
    standing = look_for_absence(loaded, settings, clock.now())
    if any(alert.finding.rule == "store_unreadable" for alert in standing):
        message = Message(world=loaded.name, moment=format_instant(clock.now()), opened=tuple(map(described, standing)), closed=())
        for line in send_all(message, settings):
            print(json.dumps({"event": "undelivered", "world": loaded.name, "found": line}), file=sys.stderr, flush=True)
    else:
        tell(loaded, settings)
    return standing


def _show(found: dict[str, tuple[Alert, ...]], *, as_json: bool) -> None:
    content: dict[str, Any] = {name: [described(alert) for alert in alerts] for name, alerts in found.items()}
    moment = format_instant(clock.now())
    lines = [f"{name}: {alert_line(alert)}" for name, alerts in found.items() for alert in alerts]
    say({"time": moment, "worlds": content}, lines or [f"{moment} all that is due has come: {', '.join(found)}"], as_json=as_json)
