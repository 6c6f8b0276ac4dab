"""The door: one Request per step in the order of the flow, one Receipt for all. Light: stdlib and pydantic only."""

from __future__ import annotations

import sys
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict

from pipeline.contracts.times import format_instant
from pipeline.contracts.worlds import Instant, World, load_world, world_names

__all__ = [
    "STEPS",
    "BuildCubeRequest",
    "EvaluateRequest",
    "LandRequest",
    "ObserveRequest",
    "PredictRequest",
    "PromoteRequest",
    "PublishRequest",
    "Receipt",
    "Request",
    "TrainRequest",
    "VerifyRequest",
    "World",
    "command",
    "load_world",
    "world_names",
]


class Request(BaseModel):
    """What every step is asked: a world, and the instant as of which it is asked."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    step: ClassVar[str]

    world: str
    as_of: Instant


class LandRequest(Request):
    """Fetch what the sources have delivered by `as_of`; all sources, or one."""

    step: ClassVar[str] = "land"

    source: str | None = None
    received_time: Instant


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


class EvaluateRequest(Request):
    """Score a candidate (default: the newest as of `as_of`) and the baselines on the held-out fold."""

    step: ClassVar[str] = "evaluate"

    model_id: str | None = None


class PromoteRequest(Request):
    """Decide, per target, what is published from `as_of` on."""

    step: ClassVar[str] = "promote"

    model_id: str | None = None


class PredictRequest(Request):
    """Forecast from what was known at `as_of`, the issue time, with the champion as of that instant."""

    step: ClassVar[str] = "predict"


class PublishRequest(Request):
    """Publish the forecast issued at `as_of`: Zarr, Parquet and the page."""

    step: ClassVar[str] = "publish"


class VerifyRequest(Request):
    """Score published forecasts with what is known at `as_of`; all that are due, or one issue time."""

    step: ClassVar[str] = "verify"

    issue_time: Instant | None = None


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
        if name in ("world", "as_of") or value is None or value == {}:
            continue
        if name == "options":
            words += [w for key, v in value.items() for w in ("--set", f"{key}={v}")]
        else:
            words += [f"--{name.replace('_', '-')}", format_instant(value) if hasattr(value, "tzinfo") else str(value)]
    return words
