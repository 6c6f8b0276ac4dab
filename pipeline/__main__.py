"""The command line: Request in, Receipt out, error to exit code; the only place that asks what time it is."""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Any, Protocol

import typer
from pydantic import ValidationError
from typer.exceptions import TyperException

from pipeline import api
from pipeline.command_options import AsOf, Instants, Json, JsonObject, ModelId, Parent, Source, WorldName, example, read_instant
from pipeline.contracts.times import format_instant
from pipeline.cube_commands import cube_app
from pipeline.endings import INTERRUPTED, TERMINATED, Terminated, report, report_end, report_unplanned, terminate
from pipeline.errors import ConfigError, CubecastError, StoreError
from pipeline.forecast_commands import forecasts_app
from pipeline.model_commands import models_app
from pipeline.process_tree import die_with_parent
from pipeline.settings import Settings, read_settings, share_processors
from pipeline.stores.objects import ObjectStore
from pipeline.stores.receipts import Receipts
from pipeline.telemetry import Progress, progress_on

app = typer.Typer(
    name="cubecast",
    help="Raw weather, traffic and market feeds to published, verified forecasts.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
worlds_app = typer.Typer(help="The configured systems: one TOML file each.", no_args_is_help=True)
sources_app = typer.Typer(help="The feeds of a world.", no_args_is_help=True)
airflow_app = typer.Typer(help="A real Airflow of your own, that ends with the command.", no_args_is_help=True)
app.add_typer(worlds_app, name="worlds", rich_help_panel="Look")
app.add_typer(sources_app, name="sources", rich_help_panel="Look")
app.add_typer(models_app, name="models", rich_help_panel="Look")
app.add_typer(cube_app, name="cube", rich_help_panel="Look")
app.add_typer(forecasts_app, name="forecasts", rich_help_panel="Look")
app.add_typer(airflow_app, name="airflow", rich_help_panel="Run")


_BY_THE_CLOCK = (api.LandRequest, api.ObserveRequest, api.BuildCubeRequest, api.VerifyRequest)


class Step(Protocol):
    """A step of the flow."""

    def __call__(self, request: api.Request, settings: Settings, progress: Progress) -> api.Receipt:
        """Do the step; the same request again changes nothing."""


def now() -> datetime:
    """What time it is, in whole seconds."""
    return datetime.now(UTC).replace(microsecond=0)


def clock_of(world: api.World) -> datetime:
    """What time it is in a world: a recorded world's clock stops where its feeds ended."""
    return min(now(), world.recorded.end) if world.recorded else now()


def issue_time_of(world: api.World) -> datetime:
    """The issue time that is meant where none is given."""
    return world.recorded.as_of if world.recorded else now()


def check_issue_time(world: api.World, moment: datetime) -> None:
    """Refuse an instant of learning and forecasting outside the world's time.

    Raises:
        ConfigError: Naming the time there is.
    """
    first, last = world.start, clock_of(world)
    if not first < moment <= last:
        raise ConfigError(
            asked=f"world {world.name} as of {format_instant(moment)}",
            found=f"{'later than it reaches' if moment > last else 'before it begins'}: {format_instant(first)} .. {format_instant(last)}",
            mend=f"give an --as-of in between, such as {format_instant(issue_time_of(world))}",
        )


def _settings_of(pairs: list[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not equals or not key:
            raise ConfigError(asked=f"--set {pair}", found="no key=value", mend="write for example --set epochs=3")
        try:
            found[key] = json.loads(text)
        except ValueError:
            found[key] = text
    return found


def find_step(name: str) -> Step:
    """The step of that name, imported when it is needed."""
    step: Step = importlib.import_module(f"pipeline.steps.{name}").run
    return step


def perform(request: api.Request, *, as_json: bool, parent: int | None = None) -> api.Receipt:
    """Run one step, record its receipt and show it."""
    if parent is not None:
        die_with_parent(parent)
    if not isinstance(request, _BY_THE_CLOCK):
        check_issue_time(api.load_world(request.world), request.as_of)
    settings = read_settings()
    step = find_step(request.step)
    began = time.monotonic()
    if not as_json:
        print(f"{request.step} {request.world} as of {request.as_of:%Y-%m-%dT%H:%M:%SZ}", file=sys.stderr, flush=True)
    with progress_on(sys.stderr, as_json=as_json) as progress:
        receipt = step(request, settings, progress)
    seconds = time.monotonic() - began
    Receipts(ObjectStore(settings.store)).save(
        receipt.model_dump(mode="json"),
        as_of=receipt.as_of,
        source=getattr(request, "source", None),
        recorded_time=now(),
        seconds=seconds,
    )
    if as_json:
        print(receipt.model_dump_json(), flush=True)
    else:
        from pipeline.status import receipt_line

        print(receipt_line(receipt, seconds), flush=True)
    return receipt


def _ask(kind: Callable[..., api.Request], **fields: Any) -> api.Request:
    try:
        return kind(**fields)
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors())
        raise ConfigError(asked="a request for a step", found=faults, mend="correct these options") from error


@app.command("land", rich_help_panel="The nine steps", epilog=example("cubecast land --world aarhus --source traffic"))
def land(
    world: WorldName,
    as_of: AsOf = None,
    source: Source = None,
    received_time: Annotated[str | None, typer.Option(help="When the deliveries were received; by default now.", metavar="TIME")] = None,
    as_json: Json = False,
    parent: Parent = None,
) -> None:
    """Fetch what the sources have delivered, and keep it byte for byte."""
    clock = clock_of(api.load_world(world))
    received = read_instant(received_time, "--received-time", clock)
    as_of_time = read_instant(as_of, "--as-of", clock)
    perform(_ask(api.LandRequest, world=world, as_of=as_of_time, source=source, received_time=received), as_json=as_json, parent=parent)


@app.command("observe", rich_help_panel="The nine steps", epilog=example("cubecast observe --world aarhus"))
def observe(world: WorldName, as_of: AsOf = None, source: Source = None, as_json: Json = False, parent: Parent = None) -> None:
    """Parse what has landed: units, UTC, quality flags; rejected rows are kept with their reason."""
    as_of_time = read_instant(as_of, "--as-of", clock_of(api.load_world(world)))
    perform(_ask(api.ObserveRequest, world=world, as_of=as_of_time, source=source), as_json=as_json, parent=parent)


@app.command("build-cube", rich_help_panel="The nine steps", epilog=example("cubecast build-cube --world aarhus"))
def build_cube(world: WorldName, as_of: AsOf = None, as_json: Json = False, parent: Parent = None) -> None:
    """Bring every domain's cube up to the observations, in one commit."""
    as_of_time = read_instant(as_of, "--as-of", clock_of(api.load_world(world)))
    perform(_ask(api.BuildCubeRequest, world=world, as_of=as_of_time), as_json=as_json, parent=parent)


@app.command(
    "train", rich_help_panel="The nine steps", epilog=example("cubecast train --world aarhus --as-of 2014-09-30T06:00Z --set epochs=3")
)
def train(
    world: WorldName,
    as_of: AsOf = None,
    recipe: Annotated[str | None, typer.Option(help="A named configuration of the model (small, tiny); by default the world's.")] = None,
    options: Annotated[
        list[str] | None, typer.Option("--set", help="One value of the recipe, such as epochs=3.", metavar="KEY=VALUE")
    ] = None,
    seed: Annotated[int, typer.Option(help="The seed of everything drawn at random.")] = 0,
    as_json: Json = False,
    parent: Parent = None,
) -> None:
    """Train a candidate model, and the baselines it must beat, on what was known at an instant."""
    as_of_time = read_instant(as_of, "--as-of", issue_time_of(api.load_world(world)))
    request = _ask(api.TrainRequest, world=world, as_of=as_of_time, recipe=recipe, options=_settings_of(options or []), seed=seed)
    perform(request, as_json=as_json, parent=parent)


@app.command("evaluate", rich_help_panel="The nine steps", epilog=example("cubecast evaluate --world aarhus"))
def evaluate(world: WorldName, as_of: AsOf = None, model_id: ModelId = None, as_json: Json = False, parent: Parent = None) -> None:
    """Score a candidate and the baselines on held-out time."""
    as_of_time = read_instant(as_of, "--as-of", issue_time_of(api.load_world(world)))
    perform(_ask(api.EvaluateRequest, world=world, as_of=as_of_time, model_id=model_id), as_json=as_json, parent=parent)


@app.command("promote", rich_help_panel="The nine steps", epilog=example("cubecast promote --world aarhus"))
def promote(world: WorldName, as_of: AsOf = None, model_id: ModelId = None, as_json: Json = False, parent: Parent = None) -> None:
    """Decide, per target, what is published: only what beats its baselines."""
    as_of_time = read_instant(as_of, "--as-of", issue_time_of(api.load_world(world)))
    perform(_ask(api.PromoteRequest, world=world, as_of=as_of_time, model_id=model_id), as_json=as_json, parent=parent)


@app.command("predict", rich_help_panel="The nine steps", epilog=example("cubecast predict --world aarhus --as-of 2014-09-30T06:00Z"))
def predict(world: WorldName, as_of: AsOf = None, as_json: Json = False, parent: Parent = None) -> None:
    """Forecast from what was known at the issue time."""
    as_of_time = read_instant(as_of, "--as-of", issue_time_of(api.load_world(world)))
    perform(_ask(api.PredictRequest, world=world, as_of=as_of_time), as_json=as_json, parent=parent)


@app.command("publish", rich_help_panel="The nine steps", epilog=example("cubecast publish --world aarhus --as-of 2014-09-30T06:00Z"))
def publish(world: WorldName, as_of: AsOf = None, as_json: Json = False, parent: Parent = None) -> None:
    """Publish a forecast: Zarr, Parquet and a page."""
    as_of_time = read_instant(as_of, "--as-of", issue_time_of(api.load_world(world)))
    perform(_ask(api.PublishRequest, world=world, as_of=as_of_time), as_json=as_json, parent=parent)


@app.command("verify", rich_help_panel="The nine steps", epilog=example("cubecast verify --world aarhus --issue-time 2014-09-30T06:00Z"))
def verify(
    world: WorldName,
    as_of: AsOf = None,
    issue_time: Annotated[str | None, typer.Option(help="One forecast instead of all that are due.", metavar="TIME")] = None,
    as_json: Json = False,
    parent: Parent = None,
) -> None:
    """Compare published forecasts with what happened since."""
    clock = clock_of(api.load_world(world))
    issued = read_instant(issue_time, "--issue-time", clock) if issue_time else None
    perform(
        _ask(api.VerifyRequest, world=world, as_of=read_instant(as_of, "--as-of", clock), issue_time=issued), as_json=as_json, parent=parent
    )


@app.command("run", rich_help_panel="Run", epilog=example("cubecast run --world synthetic"))
def run(world: WorldName, as_of: AsOf = None, as_json: Json = False, parent: Parent = None) -> None:
    """All nine steps, from raw feeds to a verified forecast, in this process."""
    from pipeline.steps.checks import check_world

    loaded = api.load_world(world)
    issue_time = read_instant(as_of, "--as-of", issue_time_of(loaded))
    check_issue_time(loaded, issue_time)
    check_world(loaded)
    for request in api.flow(world, issue_time=issue_time, now=clock_of(loaded)):
        perform(request, as_json=as_json, parent=parent)
    if not as_json:
        status(world, as_json=False)


@app.command("status", rich_help_panel="Look", epilog=example("cubecast status --world aarhus --json"))
def status(world: WorldName, as_json: JsonObject = False) -> None:
    """The latest issue time, what each step did, and where the forecast lies."""
    from pipeline.status import collect, show

    loaded = api.load_world(world)
    store = read_settings().store
    state = collect(loaded, store, Receipts(ObjectStore(store)).newest(loaded.name))
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


@sources_app.command("probe", epilog=example("cubecast sources probe electricity --world london"))
def sources_probe(
    name: Annotated[str, typer.Argument(help="The source's name in the world file.", metavar="NAME")], world: WorldName, as_of: AsOf = None
) -> None:
    """Ask the real provider for its newest delivery and say what came; nothing is kept."""
    from pipeline.sources.probe import probe, probe_lines

    loaded = api.load_world(world)
    print("\n".join(probe_lines(probe(loaded, name, read_settings(), read_instant(as_of, "--as-of", clock_of(loaded))))))


@airflow_app.command("forecast", epilog=example("cubecast airflow forecast --world synthetic"))
def airflow_forecast(world: WorldName = "synthetic", as_of: AsOf = None) -> None:
    """Run a world's DAGs from ingest to verify for one issue time, then end Airflow."""
    from pipeline.local_airflow.launch import forecast
    from pipeline.steps.checks import check_world

    loaded = api.load_world(world)
    issue_time = read_instant(as_of, "--as-of", issue_time_of(loaded))
    check_issue_time(loaded, issue_time)
    check_world(loaded)
    code = forecast(loaded, issue_time=issue_time, now=clock_of(loaded), settings=read_settings())
    if code == 0:
        status(world, as_json=False)
    raise typer.Exit(code)


@airflow_app.command("ui", epilog=example("cubecast airflow ui --world synthetic"))
def airflow_ui(world: WorldName = "synthetic") -> None:
    """Leave Airflow running, its address and password shown, until Ctrl-C ends all of it."""
    from pipeline.local_airflow.launch import serve

    raise typer.Exit(serve(api.load_world(world), settings=read_settings()))


def _guarded(arguments: list[str]) -> int:
    """The command's exit code; raises what no one planned for."""
    try:
        instants = Instants(clock=clock_of, issue_time=issue_time_of)
        code = app(arguments or ["--help"], standalone_mode=False, prog_name="cubecast", obj=instants)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except OSError as error:
        mend = "free space or mend access, then run the same command again; nothing was half-written"
        raise StoreError(asked=f"use {error.filename or 'a file'}", found=str(error.strerror or error), mend=mend) from error
    except TyperException as error:
        raise ConfigError(asked=f"cubecast {' '.join(arguments)}", found=error.format_message().rstrip("."), mend="see --help") from error
    return code if isinstance(code, int) else 0


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    given = sys.argv[1:] if arguments is None else arguments
    as_json = "--json" in given
    share_processors()
    signal.signal(signal.SIGTERM, terminate)
    try:
        code = _guarded(given)
    except KeyboardInterrupt:
        code = INTERRUPTED
    except Terminated:
        code = TERMINATED
    except CubecastError as error:
        return report(error, as_json=as_json)
    except Exception as error:
        return report_unplanned(error, as_json=as_json)
    if code in (INTERRUPTED, TERMINATED):
        report_end(code, as_json=as_json)
    return code


if __name__ == "__main__":
    sys.exit(main())
