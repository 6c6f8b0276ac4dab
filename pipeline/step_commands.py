"""`cubecast land … verify`: one command per step of the flow, and how a step is performed."""

from __future__ import annotations

import importlib
import json
import sys
import time
from collections.abc import Callable
from typing import Annotated, Any, Protocol

import typer
from pydantic import ValidationError

from pipeline import api, clock
from pipeline.command_options import AsOf, Json, ModelId, Options, Parent, Seed, Source, WorldName, example, read_instant, settings_of
from pipeline.contracts.times import format_instant
from pipeline.delivery import described
from pipeline.errors import AlarmError, ConfigError
from pipeline.process_tree import die_with_parent
from pipeline.settings import Settings, read_settings
from pipeline.stores.fences import Fence, fenced, read_attempt
from pipeline.stores.objects import ObjectStore
from pipeline.stores.receipts import Receipts
from pipeline.telemetry import Progress, progress_on

PANEL = "The nine steps"
steps_app = typer.Typer()

_BY_THE_CLOCK = (
    api.LandRequest,
    api.ObserveRequest,
    api.BuildCubeRequest,
    api.VerifyRequest,
    api.MonitorRequest,
    api.ReplayRequest,
    api.RetainRequest,
    api.BacktestRequest,
)


class Step(Protocol):
    """A step of the flow."""

    def __call__(self, request: api.Request, settings: Settings, progress: Progress) -> api.Receipt:
        """Do the step; the same request again changes nothing."""


def find_step(name: str) -> Step:
    """The step of that name, imported when it is needed."""
    step: Step = importlib.import_module(f"pipeline.steps.{name}").run
    return step


def perform(request: api.Request, *, as_json: bool, parent: int | None = None) -> api.Receipt:
    """Run one step, record its receipt and show it."""
    if parent is not None:
        die_with_parent(parent)
    if not isinstance(request, _BY_THE_CLOCK):
        clock.check_issue_time(api.load_world(request.world), request.as_of)
    settings = read_settings()
    step = find_step(request.step)
    began = time.monotonic()
    if not as_json:
        print(f"{request.step} {request.world} as of {request.as_of:%Y-%m-%dT%H:%M:%SZ}", file=sys.stderr, flush=True)
    with progress_on(sys.stderr, as_json=as_json) as progress, fenced(_fence(request, settings)):
        receipt = step(request, settings, progress)
    seconds = time.monotonic() - began
    objects = ObjectStore(settings.store)
    receipts = Receipts(objects)
    key = receipts.save(
        receipt.model_dump(mode="json"),
        as_of=receipt.as_of,
        source=getattr(request, "source", None),
        recorded_time=clock.now(),
        seconds=seconds,
        attempt=settings.attempt,
    )
    if request.step == api.VerifyRequest.step:
        receipts.close_months(receipt.world, clock.now())
    if settings.otlp:
        _push(request.world, settings)
    if as_json:
        named = receipt.model_copy(update={"paths": receipt.paths | {"receipt": objects.url(key)}})
        print(named.model_dump_json(), flush=True)
    else:
        from pipeline.status import receipt_line

        print(receipt_line(receipt, seconds), flush=True)
    if request.step == api.MonitorRequest.step:
        _alarm(api.load_world(request.world), receipt, settings, as_json=as_json)
    return receipt


def _alarm(world: api.World, receipt: api.Receipt, settings: Settings, *, as_json: bool) -> None:
    """Tell of alerts, and end as an alarm where one blocks."""
    from pipeline.alert_commands import alert_line, store_of, tell
    from pipeline.steps.watch import heal_failures

    store = store_of(world, settings)
    heal_failures(store, Receipts(ObjectStore(settings.store)).newest(world.name), clock.now())
    for alert in store.standing():
        line = json.dumps({"event": "alert", "state": "stands", "world": world.name, **described(alert)}) if as_json else alert_line(alert)
        print(line, file=sys.stderr, flush=True)
    tell(world, settings)
    if receipt.counts["blocking"]:
        named = [row["alert"] for row in receipt.details["alerts"] if row["level"] == "block"]
        raise AlarmError(
            asked=f"monitor {receipt.world} as of {format_instant(receipt.as_of)}",
            found=f"{receipt.counts['blocking']} blocking alert(s): {', '.join(named[:5])}",
            mend=f"cubecast alerts list --world {receipt.world}, and the runbook that each names; nothing was changed but the report",
        )


def _fence(request: api.Request, settings: Settings) -> Fence | None:
    if settings.attempt is None:
        return None
    run, number = read_attempt(settings.attempt)
    work = (api.load_world(request.world).name, request.step, getattr(request, "source", None) or "")
    return Fence(objects=ObjectStore(settings.store), work=work, run=run, number=number)


def _push(world: str, settings: Settings) -> None:
    """Tell the OpenTelemetry collector how the world stands now; one that cannot be reached does not undo the step."""
    from pipeline.metrics import push, samples
    from pipeline.status import state_of

    push(samples(state_of(api.load_world(world), settings.store)), settings.otlp or "")


def ask(kind: Callable[..., api.Request], **fields: Any) -> api.Request:
    """A request from options.

    Raises:
        ConfigError: An option's value is not allowed.
    """
    try:
        return kind(**fields)
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors())
        raise ConfigError(asked="a request for a step", found=faults, mend="correct these options") from error


@steps_app.command("land", rich_help_panel=PANEL, epilog=example("cubecast land --world aarhus --source traffic"))
def land(
    world: WorldName,
    as_of: AsOf = None,
    source: Source = None,
    received_time: Annotated[str | None, typer.Option(help="When the deliveries were received; by default now.", metavar="TIME")] = None,
    as_json: Json = False,
    parent: Parent = None,
) -> None:
    """Fetch what the sources have delivered, and keep it byte for byte."""
    moment = clock.clock_of(api.load_world(world))
    received = read_instant(received_time, "--received-time", moment)
    as_of_time = read_instant(as_of, "--as-of", moment)
    perform(ask(api.LandRequest, world=world, as_of=as_of_time, source=source, received_time=received), as_json=as_json, parent=parent)


@steps_app.command("observe", rich_help_panel=PANEL, epilog=example("cubecast observe --world aarhus"))
def observe(world: WorldName, as_of: AsOf = None, source: Source = None, as_json: Json = False, parent: Parent = None) -> None:
    """Parse what has landed: units, UTC, quality flags; rejected rows are kept with their reason."""
    as_of_time = read_instant(as_of, "--as-of", clock.clock_of(api.load_world(world)))
    perform(ask(api.ObserveRequest, world=world, as_of=as_of_time, source=source), as_json=as_json, parent=parent)


@steps_app.command("build-cube", rich_help_panel=PANEL, epilog=example("cubecast build-cube --world aarhus"))
def build_cube(world: WorldName, as_of: AsOf = None, as_json: Json = False, parent: Parent = None) -> None:
    """Bring every domain's cube up to the observations, in one commit."""
    loaded = api.load_world(world)
    as_of_time = read_instant(as_of, "--as-of", clock.clock_of(loaded))
    clock.check_reached(loaded, as_of_time)
    perform(ask(api.BuildCubeRequest, world=world, as_of=as_of_time), as_json=as_json, parent=parent)


@steps_app.command("train", rich_help_panel=PANEL, epilog=example("cubecast train --world aarhus --as-of 2014-09-30T06:00Z --set epochs=3"))
def train(
    world: WorldName,
    as_of: AsOf = None,
    recipe: Annotated[
        str | None, typer.Option(help="A named configuration of the model: small, base, accurate or tiny; by default the world's.")
    ] = None,
    options: Options = None,
    seed: Seed = 0,
    initial: Annotated[
        str | None, typer.Option(help="A model to go on from: fewer epochs at smaller steps (warm start).", metavar="MODEL")
    ] = None,
    as_json: Json = False,
    parent: Parent = None,
) -> None:
    """Train a candidate model, and the baselines it must beat, on what was known at an instant."""
    as_of_time = read_instant(as_of, "--as-of", clock.issue_time_of(api.load_world(world)))
    request = ask(
        api.TrainRequest, world=world, as_of=as_of_time, recipe=recipe, options=settings_of(options or []), seed=seed, initial=initial
    )
    perform(request, as_json=as_json, parent=parent)


@steps_app.command("evaluate", rich_help_panel=PANEL, epilog=example("cubecast evaluate --world aarhus"))
def evaluate(world: WorldName, as_of: AsOf = None, model_id: ModelId = None, as_json: Json = False, parent: Parent = None) -> None:
    """Score a candidate and the baselines on held-out time."""
    as_of_time = read_instant(as_of, "--as-of", clock.issue_time_of(api.load_world(world)))
    perform(ask(api.EvaluateRequest, world=world, as_of=as_of_time, model_id=model_id), as_json=as_json, parent=parent)


@steps_app.command("promote", rich_help_panel=PANEL, epilog=example("cubecast promote --world aarhus"))
def promote(world: WorldName, as_of: AsOf = None, model_id: ModelId = None, as_json: Json = False, parent: Parent = None) -> None:
    """Decide, per target, what is published: only what beats its baselines."""
    as_of_time = read_instant(as_of, "--as-of", clock.issue_time_of(api.load_world(world)))
    perform(ask(api.PromoteRequest, world=world, as_of=as_of_time, model_id=model_id), as_json=as_json, parent=parent)


@steps_app.command(
    "answer",
    rich_help_panel="Run",
    epilog=example('cubecast answer --world aarhus --model-id 3f2a91c0 --answer approve --reason "seen by the desk"'),
)
def answer(
    world: WorldName,
    model_id: Annotated[str, typer.Option(help="The model that is proposed.", metavar="MODEL")],
    answer: Annotated[str, typer.Option(help="approve or reject.", metavar="WORD")],
    reason: Annotated[str, typer.Option(help="Why; kept in the log of decisions for good.", metavar="TEXT")],
    as_of: AsOf = None,
    as_json: Json = False,
    parent: Parent = None,
) -> None:
    """Enter a person's answer to a proposal, as cubecast models approve and reject do, with a receipt; once is enough."""
    as_of_time = read_instant(as_of, "--as-of", clock.issue_time_of(api.load_world(world)))
    request = ask(api.AnswerRequest, world=world, as_of=as_of_time, model_id=model_id, answer=answer, reason=reason)
    perform(request, as_json=as_json, parent=parent)


@steps_app.command("predict", rich_help_panel=PANEL, epilog=example("cubecast predict --world aarhus --as-of 2014-09-30T06:00Z"))
def predict(world: WorldName, as_of: AsOf = None, as_json: Json = False, parent: Parent = None) -> None:
    """Forecast from what was known at the issue time."""
    as_of_time = read_instant(as_of, "--as-of", clock.issue_time_of(api.load_world(world)))
    perform(ask(api.PredictRequest, world=world, as_of=as_of_time), as_json=as_json, parent=parent)


@steps_app.command("publish", rich_help_panel=PANEL, epilog=example("cubecast publish --world aarhus --as-of 2014-09-30T06:00Z"))
def publish(world: WorldName, as_of: AsOf = None, as_json: Json = False, parent: Parent = None) -> None:
    """Publish a forecast: Zarr, Parquet and a page."""
    as_of_time = read_instant(as_of, "--as-of", clock.issue_time_of(api.load_world(world)))
    perform(ask(api.PublishRequest, world=world, as_of=as_of_time), as_json=as_json, parent=parent)


@steps_app.command("verify", rich_help_panel=PANEL, epilog=example("cubecast verify --world aarhus --issue-time 2014-09-30T06:00Z"))
def verify(
    world: WorldName,
    as_of: AsOf = None,
    issue_time: Annotated[str | None, typer.Option(help="One forecast instead of all that are due.", metavar="TIME")] = None,
    as_json: Json = False,
    parent: Parent = None,
) -> None:
    """Compare published forecasts with what happened since."""
    moment = clock.clock_of(api.load_world(world))
    issued = read_instant(issue_time, "--issue-time", moment) if issue_time else None
    perform(
        ask(api.VerifyRequest, world=world, as_of=read_instant(as_of, "--as-of", moment), issue_time=issued), as_json=as_json, parent=parent
    )


@steps_app.command("inputs", rich_help_panel="Look", epilog=example("cubecast inputs --world london"))
def inputs(world: WorldName, as_of: AsOf = None, as_json: Json = False, parent: Parent = None) -> None:
    """Whether what a forecast needs is there; exit code 75 names the sources that are late."""
    as_of_time = read_instant(as_of, "--as-of", clock.issue_time_of(api.load_world(world)))
    perform(ask(api.InputsRequest, world=world, as_of=as_of_time), as_json=as_json, parent=parent)


@steps_app.command("monitor", rich_help_panel="Run", epilog=example("cubecast monitor --world aarhus"))
def monitor(world: WorldName, as_of: AsOf = None, as_json: Json = False, parent: Parent = None) -> None:
    """Freshness, drift, residuals, skill and cost against contracts and the champion's evidence; exit code 80 where an alert blocks."""
    as_of_time = read_instant(as_of, "--as-of", clock.clock_of(api.load_world(world)))
    perform(ask(api.MonitorRequest, world=world, as_of=as_of_time), as_json=as_json, parent=parent)


@steps_app.command("retain", rich_help_panel="Run", epilog=example("cubecast retain --world aarhus --dry-run"))
def retain(
    world: WorldName,
    as_of: AsOf = None,
    now: Annotated[
        str | None, typer.Option(help="The time from which ages are counted; by default that on the wall.", metavar="TIME")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would go, and leave it.")] = False,
    as_json: Json = False,
    parent: Parent = None,
) -> None:
    """Let go snapshots that were superseded long ago and objects that nothing refers to."""
    as_of_time = read_instant(as_of, "--as-of", clock.clock_of(api.load_world(world)))
    wall = read_instant(now, "--now", clock.now())
    perform(ask(api.RetainRequest, world=world, as_of=as_of_time, now=wall, dry_run=dry_run), as_json=as_json, parent=parent)
