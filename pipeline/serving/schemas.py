"""What answers look like, for the OpenAPI page and for those who generate clients from it."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from pipeline.publishing.tables import QUANTILE_COLUMNS
from pipeline.serving.answers import MEDIA_TYPES


class Answer(BaseModel):
    """An answer; keys may be added to it, none is taken away."""

    model_config = ConfigDict(extra="allow")


class Fault(Answer):
    """Why there is no answer: what was asked, what was found, and what can be done about it."""

    error: str
    asked: str
    found: str
    mend: str
    nearest: list[str] = Field(default=[], description="The nearest names or issue times that there are.")


class WorldEntry(Answer):
    """A world that is served."""

    world: str
    title: str
    timezone: str
    latest_issue_time: str | None


class Worlds(Answer):
    """The worlds that are served."""

    worlds: list[WorldEntry]


class WorldAnswer(WorldEntry):
    """A world: its domains with their variables, units, nodes and leads, and its newest forecast."""

    description: str
    domains: dict[str, dict[str, Any]]


class IssueTimes(Answer):
    """Published issue times, newest first."""

    world: str
    count: int
    issue_times: list[str]


class NodeEntry(Answer):
    """A node and its place, where it is known."""

    node: str
    latitude: float | None
    longitude: float | None


class Nodes(Answer):
    """Nodes of a domain in their order."""

    world: str
    domain: str
    count: int
    nodes: list[NodeEntry]


class ForecastEntry(Answer):
    """A forecast: where it comes from, which inputs were present and how old, what a re-issue changed."""

    world: str
    issue_time: str
    revision: int
    forecast: str
    published: dict[str, dict[str, str]]
    changes: dict[str, Any]
    provenance: dict[str, Any]


class ForecastRow(Answer):
    """Quantiles of one node, variable and lead."""

    unique_id: str
    node: str
    variable: str
    ds: str = Field(description="The valid time.")
    cutoff: str = Field(description="The issue time.")
    lead_s: int
    units: str
    model: str
    q50: float


class Rows(Answer):
    """A forecast's rows."""

    world: str
    domain: str
    issue_time: str
    revision: int
    rows: list[ForecastRow]


class WarningRow(Answer):
    """How probable an event is at one node and valid time."""

    unique_id: str
    domain: str
    node: str
    event: str
    variable: str
    condition: str = Field(description="above or below the threshold")
    threshold: float
    units: str
    ds: str = Field(description="The valid time.")
    lead_s: int
    probability: float
    warned: bool = Field(description="Whether the probability reaches the level at which people are warned.")


class Warnings(Answer):
    """Where and when declared events are probable."""

    world: str
    issue_time: str
    revision: int
    rows: list[WarningRow]


class ObservationRow(Answer):
    """One observed value, as it was known at `as_of`; null where there is none."""

    node: str
    variable: str
    valid_time: str
    value: float | None
    flag: int
    units: str


class Observations(Answer):
    """Observed values of a node."""

    world: str
    domain: str
    as_of: str
    rows: list[ObservationRow]


class Scores(Answer):
    """Scores: of published forecasts against what came, or of the model on held-out time."""

    world: str
    rows: list[dict[str, Any]]


class Health(Answer):
    """Whether the service can answer, and how new what it holds is."""

    status: str
    worlds: dict[str, dict[str, Any]]


FAULTS: dict[int | str, dict[str, Any]] = {
    401: {"model": Fault, "description": "The token is absent or another one"},
    404: {"model": Fault, "description": "There is no such world, domain, node or issue time"},
    413: {"model": Fault, "description": "More than one answer may hold, or a request with a body"},
    414: {"model": Fault, "description": "The address is too long"},
    421: {"model": Fault, "description": "Addressed to a name that is not served"},
    422: {"model": Fault, "description": "A parameter is not allowed"},
    503: {"model": Fault, "description": "The store cannot be read now"},
}
UNCHANGED: dict[int | str, dict[str, Any]] = {304: {"description": "As the ETag that was sent says"}}


def table_of(model: type[BaseModel]) -> dict[int | str, dict[str, Any]]:
    """The answer of a table in each of its formats."""
    media = [found.partition(";")[0] for name, found in MEDIA_TYPES.items() if name != "json"]
    others = {name: {"schema": {"type": "string", "format": "binary"}} for name in media}
    described = f"Rows with {QUANTILE_COLUMNS[0]} … {QUANTILE_COLUMNS[-1]}" if model is Rows else "Rows"
    return {200: {"model": model, "content": others, "description": described}}
