"""`cubecast airflow`: Airflow for one's own machine, and what a shared one stands on."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from pipeline import api, clock
from pipeline.command_options import AsOf, WorldName, WorldOrNone, example, read_instant
from pipeline.settings import read_settings

airflow_app = typer.Typer(help="A real Airflow of your own, that ends with the command.", no_args_is_help=True)


@airflow_app.command("forecast", epilog=example("cubecast airflow forecast --world synthetic"))
def airflow_forecast(world: WorldName = "synthetic", as_of: AsOf = None) -> None:
    """Run a world's DAGs from ingest to verify for one issue time, then end Airflow."""
    from pipeline.local_airflow.launch import forecast
    from pipeline.steps.checks import check_world

    loaded = api.load_world(world)
    issue_time = read_instant(as_of, "--as-of", clock.issue_time_of(loaded))
    clock.check_issue_time(loaded, issue_time)
    check_world(loaded)
    code = forecast(loaded, issue_time=issue_time, now=clock.clock_of(loaded), settings=read_settings())
    if code == 0:
        from pipeline.status import everything_of
        from pipeline.status_view import show

        show(everything_of(loaded, read_settings().store, days=0), sys.stdout)
    raise typer.Exit(code)


@airflow_app.command("ui", epilog=example("cubecast airflow ui --world synthetic"))
def airflow_ui(world: WorldOrNone = None) -> None:
    """Leave Airflow running, its address and password shown, until Ctrl-C ends all of it: for one world, else those of CUBECAST_WORLDS."""
    from pipeline.local_airflow.launch import serve

    settings = read_settings()
    names = (world,) if world else settings.worlds or ("synthetic",)
    raise typer.Exit(serve(tuple(api.load_world(name) for name in names), settings=settings))


@airflow_app.command(
    "cli",
    epilog=example("cubecast airflow cli -- backfill create --dag-id us__replay --from-date 2012-06-01 --to-date 2012-06-14"),
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
)
def airflow_cli(context: typer.Context) -> None:
    """Airflow's own command line for the Airflow of this store, which may be running: backfills, pools, pauses, import errors."""
    from pipeline.local_airflow.home import call

    raise typer.Exit(call(read_settings(), context.args))


@airflow_app.command("prepare", epilog=example("cubecast airflow prepare"))
def airflow_prepare() -> None:
    """Bring the database, the pools, the password and the bucket of a shared Airflow up to date; needed once, harmless again."""
    from pipeline.local_airflow.prepare import prepare

    print(json.dumps(prepare(read_settings())))


@airflow_app.command("rehearse", epilog=example("cubecast airflow rehearse --world synthetic --folder rehearsal"))
def airflow_rehearse(
    world: WorldName = "synthetic",
    as_of: AsOf = None,
    folder: Annotated[Path, typer.Option(help="Where logs and everything that was made go; empty or new.", metavar="FOLDER")] = Path(
        "rehearsal"
    ),
) -> None:
    """Make one forecast through all services of docker/compose.yaml, run as processes on loopback: PostgreSQL, Airflow, Dask, S3."""
    from pipeline.local_airflow.rehearse import rehearse
    from pipeline.steps.checks import check_world

    loaded = api.load_world(world)
    issue_time = read_instant(as_of, "--as-of", clock.issue_time_of(loaded))
    clock.check_issue_time(loaded, issue_time)
    check_world(loaded)
    raise typer.Exit(rehearse(loaded, issue_time=issue_time, now=clock.clock_of(loaded), settings=read_settings(), folder=folder.resolve()))
