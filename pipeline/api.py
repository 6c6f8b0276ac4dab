"""The door: one Request per step in the order of the flow, one Receipt for all. Light: stdlib and pydantic only."""

from __future__ import annotations

import json
import sys
from datetime import datetime, timedelta
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from pipeline.contracts.times import format_duration, format_instant
from pipeline.contracts.world_files import load_world, world_names
from pipeline.contracts.world_types import Duration
from pipeline.contracts.worlds import Instant, World
from pipeline.machine import machine_bytes, tree_bytes
from pipeline.process_tree import die_with_parent
from pipeline.settings import Launch, child_environment, read_launch, read_settings

__all__ = [
    "STEPS",
    "AnswerRequest",
    "BacktestRequest",
    "BuildCubeRequest",
    "EvaluateRequest",
    "InputsRequest",
    "LandRequest",
    "Launch",
    "MonitorRequest",
    "ObserveRequest",
    "PredictRequest",
    "PromoteRequest",
    "PublishRequest",
    "Receipt",
    "ReplayRequest",
    "Request",
    "RetainRequest",
    "TrainRequest",
    "VerifyRequest",
    "World",
    "child_environment",
    "command",
    "die_with_parent",
    "flow",
    "load_world",
    "machine_bytes",
    "read_launch",
    "read_settings",
    "scheduled_worlds",
    "tree_bytes",
    "world_names",
]


def _whole_second(moment: datetime) -> datetime:
    return moment.replace(microsecond=0)


Second = Annotated[Instant, AfterValidator(_whole_second)]
"""An instant in whole seconds, rounded down: a question's cut-off never moves later."""


class Request(BaseModel):
    """What every step is asked: a world, and the instant as of which it is asked."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    step: ClassVar[str]

    world: str
    as_of: Second


class LandRequest(Request):
    """Fetch what the sources have delivered by `as_of`; all sources, or one."""

    step: ClassVar[str] = "land"

    source: str | None = None
    received_time: Second


class ObserveRequest(Request):
    """Parse what has landed and was not yet observed; all sources, or one."""

    step: ClassVar[str] = "observe"

    source: str | None = None


class BuildCubeRequest(Request):
    """Bring every domain's cube up to the observations and the axis up to `as_of`."""

    step: ClassVar[str] = "build_cube"


class TrainRequest(Request):
    """Train a candidate on what was known at `as_of`, the training cut-off."""

    step: ClassVar[str] = "train"

    recipe: str | None = None
    options: dict[str, Any] = {}
    seed: int = 0
    initial: str | None = None
    """A model whose weights the training starts from, with the recipe's settings for that."""


class EvaluateRequest(Request):
    """Score a candidate (default: the newest as of `as_of`) and the baselines on the held-out fold."""

    step: ClassVar[str] = "evaluate"

    model_id: str | None = None


class PromoteRequest(Request):
    """Decide, per target, what is published from `as_of` on."""

    step: ClassVar[str] = "promote"

    model_id: str | None = None


class AnswerRequest(Request):
    """Enter a person's answer to the proposal of a model, as of the instant from which it holds."""

    step: ClassVar[str] = "answer"

    model_id: str
    answer: Literal["approve", "reject"]
    reason: str


class PredictRequest(Request):
    """Forecast from what was known at `as_of`, the issue time, with the champion as of that instant."""

    step: ClassVar[str] = "predict"


class PublishRequest(Request):
    """Publish the forecast issued at `as_of`: Zarr, Parquet and the page."""

    step: ClassVar[str] = "publish"


class VerifyRequest(Request):
    """Score published forecasts with what is known at `as_of`; all that are due, or one issue time."""

    step: ClassVar[str] = "verify"

    issue_time: Second | None = None


class InputsRequest(Request):
    """Whether what a forecast at `as_of` needs is there; changes nothing, and exits with 75 where a source is late."""

    step: ClassVar[str] = "inputs"


class MonitorRequest(Request):
    """Hold inputs, forecasts and steps as of `as_of` against their contracts and the champion's evidence; exits with 80 where an alert blocks."""

    step: ClassVar[str] = "monitor"


class ReplayRequest(Request):
    """Issue the forecasts of the past, from `first` to before `last`, as they would have been issued; `as_of` is now.

    They go to a lane of their own, beside the live forecasts. Slices of one lane may be asked for side by side.
    `reforecast` applies the champion as of now to the past instead.
    """

    step: ClassVar[str] = "replay"

    first: Second
    last: Second
    every: Duration = timedelta(hours=1)
    mode: Literal["replay", "reforecast"] = "replay"
    retrain: Literal["daily", "weekly", "none"] = "none"
    since: Second | None = None
    """When the first training is in force, the same for all slices of one lane; by default `first`."""
    options: dict[str, Any] = {}
    seed: int = 0
    workers: int | None = Field(default=None, ge=1)
    dry_run: bool = False


class BacktestRequest(Request):
    """Score models on rolling origins: blocks from `first` to before `last`, each forecast by a model trained before it.

    `embargo` lies between what a model learned from and its block; windows whose targets reach into it are purged.
    """

    step: ClassVar[str] = "backtest"

    first: Second
    last: Second
    origins: int = Field(default=4, ge=1)
    embargo: Duration = timedelta(days=1)
    recipe: str | None = None
    options: dict[str, Any] = {}
    seed: int = 0
    workers: int | None = Field(default=None, ge=1)
    dry_run: bool = False


class RetainRequest(Request):
    """Let go what was superseded long ago and what nothing refers to, as the world's `retention` says; `now` is the time on the wall."""

    step: ClassVar[str] = "retain"

    now: Second
    dry_run: bool = False


STEPS: tuple[type[Request], ...] = (
    LandRequest,
    ObserveRequest,
    BuildCubeRequest,
    TrainRequest,
    EvaluateRequest,
    PromoteRequest,
    PredictRequest,
    PublishRequest,
    VerifyRequest,
)


class Receipt(BaseModel):
    """What a step did: JSON for programs, the source of `cubecast status` for people.

    `outcome` is `unchanged` where everything asked for was there already. `details` holds step-specific figures.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    step: str
    world: str
    as_of: Instant
    outcome: Literal["done", "unchanged"]
    ids: dict[str, str] = {}
    counts: dict[str, int] = {}
    paths: dict[str, str] = {}
    notes: tuple[str, ...] = ()
    details: dict[str, Any] = {}


def command(request: Request) -> list[str]:
    """The command line that runs a request in a process of its own and prints its receipt as one JSON line."""
    words = [
        sys.executable,
        "-m",
        "pipeline",
        request.step.replace("_", "-"),
        "--world",
        request.world,
        "--as-of",
        format_instant(request.as_of),
        "--json",
    ]
    for name in type(request).model_fields:
        value = getattr(request, name)
        if name in ("world", "as_of") or value is None or value is False or value == {}:
            continue
        if name == "options":
            words += [w for key, v in value.items() for w in ("--set", f"{key}={json.dumps(v)}")]
        else:
            words += [f"--{name.replace('_', '-')}", *([] if value is True else [_text(value)])]
    return words


def _text(value: Any) -> str:
    if isinstance(value, datetime):
        return format_instant(value)
    return format_duration(value).replace(" ", "") if isinstance(value, timedelta) else str(value)


def flow(world: str, *, issue_time: datetime, now: datetime) -> tuple[Request, ...]:
    """The nine requests that make and verify the forecast of `issue_time`.

    What arrives and what is checked is asked as of `now`; what is learned and foretold as of `issue_time`.
    """
    return (
        LandRequest(world=world, as_of=now, received_time=now),
        ObserveRequest(world=world, as_of=now),
        BuildCubeRequest(world=world, as_of=now),
        TrainRequest(world=world, as_of=issue_time),
        EvaluateRequest(world=world, as_of=issue_time),
        PromoteRequest(world=world, as_of=issue_time),
        PredictRequest(world=world, as_of=issue_time),
        PublishRequest(world=world, as_of=issue_time),
        VerifyRequest(world=world, as_of=now),
    )


def scheduled_worlds() -> tuple[str, ...]:
    """The worlds that Airflow schedules: those named by CUBECAST_WORLDS, or all."""
    return read_settings().worlds or world_names()
