"""A world: one configured system, as its TOML file says (`world_files` reads it). Light: stdlib and pydantic only."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import timedelta
from functools import cached_property
from typing import Annotated, Any, Literal, Self
from zoneinfo import ZoneInfo

from pydantic import Field, field_validator, model_validator

from pipeline.contracts.alerts import MonitoringRules
from pipeline.contracts.judging import AVAILABILITY, Event, PromotionRules, Regime
from pipeline.contracts.modalities import FutureInputs, TargetGrid, TextColumn, TextStream
from pipeline.contracts.provenance import digest_json
from pipeline.contracts.schedules import Retention, Schedule
from pipeline.contracts.times import format_duration, format_instant
from pipeline.contracts.world_types import Duration as Duration
from pipeline.contracts.world_types import Host, Name, Table, hint
from pipeline.contracts.world_types import Instant as Instant
from pipeline.contracts.world_types import Zone as Zone


class RawVariable(Table):
    """One variable as a source delivers it, and the unit and rules under which it is kept.

    `latency` is that of a variable which comes later than the others of its source.

    Bounds, `spike` and `missing` differ in unit: `missing` is in the delivered unit, the others in `to`. `usual` is where the median
    of a node's readings lies: outside it, and inside it as another unit, they are suspect.
    """

    column: str | None = None
    unit: str
    to: str | None = None
    missing: tuple[float, ...] = ()
    valid_min: float | None = None
    valid_max: float | None = None
    spike: float | None = None
    stuck_after: int | None = None
    usual: Annotated[tuple[float, float] | None, Field(exclude_if=lambda span: span is None)] = None
    latency: Annotated[Duration | None, Field(exclude_if=lambda delay: delay is None)] = None


class NodeTable(Table):
    """Where the places of a source's nodes are listed: a CSV file, or the rows themselves. Without `id` a node is named by its place.

    `matrix` is a CSV file of how much the nodes tell about each other: a row per node in the order of the table, in it a weight for
    each node as its source; or with their identities as header and first column. `area` (south, west, north, east) is where they all lie.
    """

    location: str | None = None
    separator: str = ","
    decimal: Annotated[Literal[".", ","], Field(exclude_if=lambda mark: mark == ".")] = "."
    encoding: Annotated[str, Field(exclude_if=lambda name: name == "utf-8")] = "utf-8"
    id: str = "id"
    latitude: str = "latitude"
    longitude: str = "longitude"
    latitude_end: str | None = None
    longitude_end: str | None = None
    rows: tuple[tuple[str, float, float], ...] = ()
    matrix: Annotated[str | None, Field(exclude_if=lambda location: location is None)] = None
    area: Annotated[tuple[float, float, float, float] | None, Field(exclude_if=lambda area: area is None)] = None

    @field_validator("encoding")
    @classmethod
    def _known(cls, name: str) -> str:
        try:
            "".encode(name)
        except LookupError as error:
            raise ValueError("no such encoding; for example utf-8, latin-1, cp1252, utf-16") from error
        return name


class Source(Table):
    """One provider's feed: where it lies, how it is read, when its values can be known.

    `timezone` is the zone of stamps that carry none; `latency` is how long after its `valid_time` a value can be known
    where the feed does not say so itself. `allowed_hosts` are all that is ever asked over http(s), each with its port where
    that is not the scheme's own. `ahead` is how far into the future readings may speak: the reach of a feed of forecasts.
    `cadence` is how long after each other a node's readings come; one that comes in less than half of that is flagged.
    `most_rejected` is the share of a delivery's rows that may break a rule; a delivery with more is refused as a whole.
    `late_after` is how much later than its latency says a value may come before a forecast waits for it; one step of the domain's
    clock by default.

    `retry_holes` is for how long what should have come and did not is asked for again, from when that was first seen.

    A source with `slabs` delivers grids that stay whole: they are read from landing when the cube is built, never a row per cell.
    A source of forecasts says with `runs` how long after each other its runs start: each of its readings says of which it is,
    and `latency` counts from the start of its run. A source with `text` delivers documents, and no numbers.
    """

    adapter: Name
    locations: tuple[str, ...] = ()
    allowed_hosts: Annotated[tuple[Host, ...], Field(exclude_if=lambda hosts: not hosts)] = ()
    timezone: Zone = "UTC"
    latency: Duration = timedelta(0)
    ahead: Annotated[Duration, Field(exclude_if=lambda reach: not reach)] = timedelta(0)
    cadence: Annotated[Duration | None, Field(exclude_if=lambda step: step is None)] = None
    most_rejected: Annotated[float, Field(ge=0, le=1, exclude_if=lambda share: share == 1)] = 1.0
    late_after: Annotated[Duration | None, Field(exclude=True)] = None
    retry_holes: Annotated[Duration, Field(exclude=True)] = timedelta(days=14)
    runs: Annotated[Duration | None, Field(exclude_if=lambda cycle: cycle is None)] = None
    text: Annotated[TextColumn | None, Field(exclude_if=lambda column: column is None)] = None
    slabs: Annotated[bool, Field(exclude_if=lambda whole: not whole)] = False
    licence: str = ""
    options: dict[str, Any] = Field(default_factory=dict)
    nodes: NodeTable | None = None
    variables: dict[Name, RawVariable] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if bool(self.variables) == (self.text is not None):
            raise ValueError("a source delivers either variables or text")
        if self.slabs and (self.runs is not None or self.text is not None):
            raise ValueError("slabs = true is for grids of what was, not for runs or texts")
        early = [name for name, v in self.variables.items() if v.latency is not None and v.latency < self.latency]
        if early:
            mine = format_duration(self.latency)
            raise ValueError(f"variables.{early[0]}.latency is under the source's, {mine}: that is of what comes first")
        if self.slabs and any(v.spike or v.stuck_after for v in self.variables.values()):
            raise ValueError("spike and stuck_after need rows of readings: leave them out, or drop slabs = true")
        if self.runs is None:
            return self
        if self.text is not None or not self.ahead:
            raise ValueError("a source with runs has variables, and ahead = '…' says how far a run reaches")
        if self.runs.total_seconds() < 60 or 86400 % self.runs.total_seconds():
            raise ValueError(f"runs = '{format_duration(self.runs)}' does not divide a day, or is under a minute")
        return self

    def latency_of(self, variable: str) -> timedelta:
        """How long after its `valid_time` a variable's value can be known."""
        own = self.variables[variable].latency
        return self.latency if own is None else own


class Clock(Table):
    """A domain's own axis: a fixed step, or the sessions of an exchange (each named by its close)."""

    step: Duration | None = None
    calendar: str | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.step is None) == (self.calendar is None):
            raise ValueError("a clock is either step = '5min' or calendar = 'XNYS'")
        if self.step is not None and (self.step.total_seconds() < 1 or 86400 % self.step.total_seconds()):
            raise ValueError(f"step {format_duration(self.step)} does not divide a day")
        return self


class Graph(Table):
    """Which nodes are neighbours: by distance, because their segments share an end, or by the matrix of a source's nodes.

    Each node has at most this many `neighbours`: the nearest, or those of the greatest weight.
    """

    kind: Literal["none", "distance", "shared_ends", "matrix"] = "distance"
    neighbours: int = 8


class Coarse(Table):
    """A long past at low resolution: `count` means of `steps` steps each, ending at the window's last step."""

    steps: int
    count: int


class DomainVariable(Table):
    """One variable of a domain: how readings meet the clock, and how it is forecast.

    `anchor` is what an untrained model forecasts: the last value, or the value one longest season before the target.
    `scale` is one spread per variable, one per node, or relative to the window's last value (prices).
    `max_age` makes `aggregate = "last"` an as-of join: a step takes the newest reading that is younger than that at its end.
    """

    source: Name
    aggregate: Literal["mean", "sum", "last", "max", "min"] = "mean"
    max_age: Duration | None = None
    long_name: str = ""
    standard_name: str | None = None
    target: bool = True
    anchor: Literal["last", "season"] = "last"
    scale: Literal["variable", "node", "relative"] = "variable"
    lower: float | None = None
    upper: float | None = None
    weight: float = 1.0

    @model_validator(mode="after")
    def _joined(self) -> Self:
        if self.max_age is not None and self.aggregate != "last":
            raise ValueError(
                f"max_age is for aggregate = 'last', which serves later steps too; a {self.aggregate} takes its own step's readings"
            )
        return self


class Folds(Table):
    """Shares of the time from the world's start (or a domain's, where the domain has its own) to the training cut-off."""

    train: float = 0.7
    validation: float = 0.1
    test: float = 0.2

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if min(self.train, self.validation, self.test) <= 0 or abs(self.train + self.validation + self.test - 1) > 1e-9:
            raise ValueError(f"train {self.train} + validation {self.validation} + test {self.test} must be 1, each above 0")
        return self


class Domain(Table):
    """One kind of thing in the world on its own clock and its own nodes.

    `groups` are named sets of nodes, by id or pattern (`"N*"`), in which scores are told apart; the first that fits counts.
    """

    title: str
    kind: Literal["node", "grid"] = "node"
    clock: Clock
    start: Instant | None = None
    context: int
    horizon: int
    seasons: tuple[Duration, ...] = ()
    coarse: Coarse | None = None
    graph: Graph = Graph()
    chunk_steps: int | None = None
    folds: Folds | None = None
    grid: Annotated[TargetGrid | None, Field(exclude_if=lambda target: target is None)] = None
    future: Annotated[FutureInputs | None, Field(exclude_if=lambda inputs: inputs is None)] = None
    variables: dict[Name, DomainVariable]
    events: dict[Name, Event] = Field(exclude=True, default_factory=dict)
    groups: dict[Name, tuple[str, ...]] = Field(exclude=True, default_factory=dict)
    regimes: dict[Name, Regime] = Field(exclude=True, default_factory=dict)

    @model_validator(mode="after")
    def _positive(self) -> Self:
        if self.context < 1 or self.horizon < 1:
            raise ValueError(f"context ({self.context}) and horizon ({self.horizon}) count steps: at least 1 each")
        return self


class Recorded(Table):
    """A world whose feeds ended: its clock stops at `end`, and `as_of` is the issue time asked for by default."""

    end: Instant
    as_of: Instant

    @model_validator(mode="after")
    def _ended(self) -> Self:
        if self.as_of > self.end:
            raise ValueError(f"as_of {format_instant(self.as_of)} is after end {format_instant(self.end)}, where the feeds ended")
        return self


class World(Table):
    """One configured system: its sources, its domains, its clocks."""

    name: Name
    title: str
    description: str = ""
    timezone: Zone = "UTC"
    holidays: Annotated[str | None, Field(pattern=r"^[A-Z]{2}(-[A-Z0-9]{1,3})?$", exclude_if=lambda region: region is None)] = None
    start: Instant
    recorded: Recorded | None = None
    schedule: Annotated[Schedule | None, Field(exclude=True)] = None
    retention: Annotated[Retention, Field(exclude=True)] = Retention()
    monitoring: Annotated[MonitoringRules, Field(exclude=True)] = MonitoringRules()
    folds: Folds = Folds()
    recipe: str = "small"
    recipe_options: dict[str, Any] = Field(default_factory=dict)
    extra_baselines: Annotated[tuple[Literal["boosted_trees"], ...], Field(exclude_if=lambda names: not names)] = ()
    promotion: Annotated[PromotionRules, Field(exclude=True)] = PromotionRules()
    sources: dict[Name, Source]
    texts: Annotated[dict[Name, TextStream], Field(exclude_if=lambda streams: not streams, default_factory=dict)]
    domains: dict[Name, Domain]

    @model_validator(mode="after")
    def _closed(self) -> Self:
        faults = [fault for name, domain in self.domains.items() for fault in self._faults_of(name, domain)]
        for name, stream in self.texts.items():
            where = f"texts.{name}"
            source = self.sources.get(stream.source)
            if source is None or source.text is None:
                found = "no such source" if source is None else "it delivers no text"
                faults.append(f"{where}.source = '{stream.source}': {found}{hint(stream.source, self._sources_with('text'))}")
            faults += [f"{where}.links.{d}: no such domain{hint(d, self.domains)}" for d in stream.links if d not in self.domains]
        targets = [f"{d}.{v}" for d, domain in self.domains.items() for v, variable in domain.variables.items() if variable.target]
        faults += [f"promotion.stands.'{t}': no such target{hint(t, targets)}" for t in self.promotion.stands if t not in targets]
        if self.recorded is not None and self.recorded.as_of <= self.start:
            faults.append(f"recorded.as_of = {format_instant(self.recorded.as_of)}: not after start, {format_instant(self.start)}")
        if self.recorded is not None and self.schedule is not None:
            faults.append("schedule: the feeds of a recorded world have ended; leave the schedule out")
        if self.schedule is not None:
            faults += self.schedule.faults(self.sources)
        if faults:
            raise ValueError(BETWEEN.join(faults))
        return self

    def _unknown_states(self, domain_name: str, domain: Domain) -> Iterable[str]:
        targets = [name for name, variable in domain.variables.items() if variable.target]
        for name, event in domain.events.items():
            if event.variable not in targets:
                yield f"domains.{domain_name}.events.{name}.variable = '{event.variable}': no such target{hint(event.variable, targets)}"
        for name, regime in domain.regimes.items():
            where, other = f"domains.{domain_name}.regimes.{name}", regime.domain or domain_name
            if name == AVAILABILITY:
                yield f"{where}: this regime is there without being declared; give it another name"
            elif other not in self.domains:
                yield f"{where}.domain = '{other}': no such domain{hint(other, self.domains)}"
            elif regime.variable not in self.domains[other].variables:
                yield f"{where}.variable = '{regime.variable}': no such variable{hint(regime.variable, self.domains[other].variables)}"

    def _faults_of(self, domain_name: str, domain: Domain) -> Iterator[str]:
        for name, variable in domain.variables.items():
            where = f"domains.{domain_name}.variables.{name}"
            yield from self._unknown(variable.source, [name], where)
            if variable.source in self.sources and self.sources[variable.source].runs is not None:
                yield f"{where}.source = '{variable.source}': it delivers forecasts; name it in domains.{domain_name}.future"
        if domain.future is not None:
            where = f"domains.{domain_name}.future"
            yield from self._unknown(domain.future.source, domain.future.variables, where)
            if domain.future.source in self.sources and self.sources[domain.future.source].runs is None:
                yield f"{where}.source = '{domain.future.source}': its readings are of no run{hint('', self._sources_with('runs'))}"
        used = [self.sources[v.source].nodes for v in domain.variables.values() if v.source in self.sources]
        if domain.graph.kind == "matrix" and not any(nodes is not None and nodes.matrix for nodes in used):
            yield f"domains.{domain_name}.graph.kind = 'matrix': none of its sources has one; nodes = {{ location = …, matrix = … }}"
        whole = [v.source for v in domain.variables.values() if v.source in self.sources and self.sources[v.source].slabs]
        if domain.kind == "grid" and whole and len(whole) < len(domain.variables):
            yield f"domains.{domain_name}: whole grids (source {whole[0]}) and readings of cells cannot share a domain"
        if domain.kind == "node" and len(whole) == len(domain.variables):
            yield f"domains.{domain_name}: no source with nodes, at which the grids of {whole[0]} could be sampled; or kind = 'grid'"
        for name, variable in domain.variables.items():
            if variable.max_age is not None and variable.source in whole:
                yield f"domains.{domain_name}.variables.{name}.max_age: whole grids serve their own step only"
        if domain.grid is not None and (domain.kind != "grid" or not whole):
            yield f"domains.{domain_name}.grid: for kind = 'grid' and a source with slabs = true"
        yield from self._unknown_states(domain_name, domain)

    def _unknown(self, source_name: str, variables: Iterable[str], where: str) -> Iterator[str]:
        source = self.sources.get(source_name)
        if source is None:
            yield f"{where}.source = '{source_name}': no such source{hint(source_name, self.sources)}"
            return
        for name in variables:
            if name not in source.variables:
                yield f"{where}: source '{source_name}' has no such variable{hint(name, source.variables)}"

    def _sources_with(self, key: str) -> list[str]:
        return [name for name, source in self.sources.items() if getattr(source, key) is not None]

    @cached_property
    def digest(self) -> str:
        """sha256 over every setting that what is learned depends on: all but the schedule and how forecasts are judged."""
        return digest_json(self.model_dump(mode="json"))

    @property
    def zone(self) -> ZoneInfo:
        """The zone of calendar features and of what people read."""
        return ZoneInfo(self.timezone)

    def domain_start(self, domain: str) -> Instant:
        """The first instant of a domain's axis."""
        return self.domains[domain].start or self.start


BETWEEN = "\n  - "
"""Between two faults of a world file."""
