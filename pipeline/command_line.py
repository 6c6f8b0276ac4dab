"""The command line: all commands, and error to exit code."""

from __future__ import annotations

import json
import os
import signal
import sys
from typing import Annotated

import typer
from typer.exceptions import TyperException

from pipeline import api, clock
from pipeline.airflow_commands import airflow_app
from pipeline.alert_commands import alerts_app, watch_app
from pipeline.backtest_commands import backtest_app, backtests_app
from pipeline.command_options import AsOf, Json, JsonObject, Parent, WorldName, example, read_instant
from pipeline.cube_commands import cube_app
from pipeline.endings import INTERRUPTED, TERMINATED, Terminated, report, report_end, report_unplanned, terminate, was_interrupted
from pipeline.errors import ConfigError, CubecastError, NotYetAvailable, StoreError
from pipeline.forecast_commands import forecasts_app
from pipeline.metric_commands import metrics_app
from pipeline.model_commands import models_app
from pipeline.plot_commands import plot_app
from pipeline.receipt_commands import receipts_app
from pipeline.replay_commands import lanes_app, replay_app
from pipeline.score_commands import scores_app
from pipeline.serve_commands import serve_app
from pipeline.settings import read_settings, share_processors
from pipeline.source_commands import sources_app
from pipeline.step_commands import perform, steps_app
from pipeline.store_commands import store_app

app = typer.Typer(
    name="cubecast",
    help="Raw weather, traffic and market feeds to published, verified forecasts.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
worlds_app = typer.Typer(help="The configured systems: one TOML file each.", no_args_is_help=True)
app.add_typer(steps_app)
app.add_typer(serve_app)
app.add_typer(worlds_app, name="worlds", rich_help_panel="Look")
app.add_typer(sources_app, name="sources", rich_help_panel="Look")
app.add_typer(models_app, name="models", rich_help_panel="Look")
app.add_typer(models_app, name="model", hidden=True)
app.add_typer(replay_app)
app.add_typer(watch_app)
app.add_typer(alerts_app, name="alerts", rich_help_panel="Look")
app.add_typer(receipts_app, name="receipts", rich_help_panel="Look")
app.add_typer(lanes_app, name="lanes", rich_help_panel="Look")
app.add_typer(backtest_app)
app.add_typer(backtests_app, name="backtests", rich_help_panel="Look")
app.add_typer(scores_app, name="scores", rich_help_panel="Look")
app.add_typer(cube_app, name="cube", rich_help_panel="Look")
app.add_typer(store_app, name="store", rich_help_panel="Look")
app.add_typer(forecasts_app, name="forecasts", rich_help_panel="Look")
app.add_typer(plot_app, name="plot", rich_help_panel="Look")
app.add_typer(metrics_app, name="metrics", rich_help_panel="Look")
app.add_typer(airflow_app, name="airflow", rich_help_panel="Run")


@app.command("run", rich_help_panel="Run", epilog=example("cubecast run --world synthetic"))
def run(world: WorldName, as_of: AsOf = None, as_json: Json = False, parent: Parent = None) -> None:
    """All nine steps, from raw feeds to a verified forecast, in this process."""
    from pipeline.steps.checks import check_world

    loaded = api.load_world(world)
    issue_time = read_instant(as_of, "--as-of", clock.issue_time_of(loaded))
    clock.check_issue_time(loaded, issue_time)
    check_world(loaded)
    for request in api.flow(world, issue_time=issue_time, now=clock.clock_of(loaded)):
        perform(request, as_json=as_json, parent=parent)
    if not as_json:
        status(world, as_json=False)


@app.command("status", rich_help_panel="Look", epilog=example("cubecast status --world aarhus --json"))
def status(
    world: WorldName,
    days: Annotated[int, typer.Option(help="Days of the grid of every step over time; 0 leaves it out.", min=0, metavar="N")] = 30,
    until: Annotated[str | None, typer.Option(help="Where the grid ends; by default with the newest.", metavar="TIME")] = None,
    as_json: JsonObject = False,
) -> None:
    """What the cockpit shows: every step over time, alerts, inputs, models and verdicts, training, skill, cost, where the forecast lies."""
    from pipeline.local_airflow.cockpit import unfinished_of
    from pipeline.status import everything_of
    from pipeline.status_view import show

    end, loaded, settings = read_instant(until, "--until", clock.now()) if until else None, api.load_world(world), read_settings()
    unfinished = None
    try:
        unfinished = unfinished_of(settings, loaded.name) if days else None
    except NotYetAvailable as error:
        print(error, file=sys.stderr)
    state = everything_of(loaded, settings.store, days=days, until=end, unfinished=unfinished or ())
    if as_json:
        print(json.dumps(state, ensure_ascii=False))
    else:
        show(state, sys.stdout)


@worlds_app.command("list", epilog=example("cubecast worlds list"))
def worlds_list() -> None:
    """The worlds at hand."""
    for name in api.world_names():
        print(f"{name:20} {api.load_world(name).title}")


@worlds_app.command("check", epilog=example("cubecast worlds check worlds/my_city.toml"))
def worlds_check(file: Annotated[str, typer.Argument(help="A world file, or a world's name.", metavar="FILE")]) -> None:
    """Whether a world file is right; every fault is named with its key."""
    from pipeline.steps.checks import check_world

    world = api.load_world(file)
    check_world(world)
    print(
        f"{world.name} is right: {world.title}: {len(world.sources)} source(s), {len(world.domains)} domain(s), digest {world.digest[:12]}"
    )


def _guarded(arguments: list[str]) -> int:
    """The command's exit code; raises what no one planned for."""
    try:
        code = app(arguments or ["--help"], standalone_mode=False, prog_name="cubecast")
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except OSError as error:
        mend = "free space or mend access, then run the same command again; nothing was half-written"
        raise StoreError(asked=f"use {error.filename or 'a file'}", found=str(error.strerror or error), mend=mend) from error
    except TyperException as error:
        raise ConfigError(asked=f"cubecast {' '.join(arguments)}", found=error.format_message().rstrip("."), mend="see --help") from error
    return code if isinstance(code, int) else 0


def _answered(arguments: list[str], *, as_json: bool) -> int:
    """The command's exit code, what went wrong said."""
    try:
        return _guarded(arguments)
    except CubecastError as error:
        return report(error, as_json=as_json)
    except Exception as error:
        if was_interrupted(error):
            raise KeyboardInterrupt from error
        return report_unplanned(error, as_json=as_json)


def execute(arguments: list[str]) -> int:
    """Run one command, and let SIGINT in, which the door held back; returns the exit code."""
    as_json = "--json" in arguments
    share_processors()
    signal.signal(signal.SIGTERM, terminate)
    try:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        code = _answered(arguments, as_json=as_json)
    except KeyboardInterrupt:
        code = INTERRUPTED
    except Terminated:
        code = TERMINATED
    if code in (INTERRUPTED, TERMINATED):
        report_end(code, as_json=as_json)
    return code
