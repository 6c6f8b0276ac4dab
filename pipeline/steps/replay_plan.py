"""What a replay will take, said before it starts: issue times, trainings, seconds, bytes; and how it is cut into pieces."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from pipeline.alignment.time_grid import step_seconds, steps_ahead
from pipeline.api import ReplayRequest
from pipeline.contracts.forecasts import BASELINES, QUANTILES
from pipeline.contracts.times import format_duration, to_seconds
from pipeline.contracts.worlds import World
from pipeline.errors import NotYetAvailable
from pipeline.parallel import worker_count
from pipeline.settings import Settings
from pipeline.steps import reading
from pipeline.steps.calibrating import taught_from
from pipeline.steps.walk import Training
from pipeline.stores.cubes import CubeStore, DomainState
from pipeline.windows.maturity import label_maturity

if TYPE_CHECKING:
    from models.api import ModelConfig

SPAN_BYTES = 2**30
"""Bytes of cubes that one process may hold open."""

_MOST_PER_CHUNK = 24
_BYTES_PER_CELL = 10
_START_SECONDS, _SUMMED_PER_ISSUE = 6.0, 0.03
"""What no number of workers shortens: processes begin, and the scores are added up."""
_SECONDS_PER_ISSUE, _SECONDS_PER_VALUE = 0.1, 2.2e-5
"""Of an issue time and of each value that it forecasts: forecast, calibrated, published and scored."""
_SECONDS_PER_ROW, _SECONDS_PER_CELL, _JUDGED_PER_CELL = 3.2e-5, 1.2e-6, 4e-6
"""Of training: a node-window of a step; windows and baselines, and the judgement, of a cell of the cube. All measured on `aarhus`."""


@dataclass(frozen=True, kw_only=True)
class Span:
    """Issue times for which cubes are opened once, and in which pieces they are worked on.

    Attributes:
        since: The first issue time; `begin` how far back it needs cubes (both seconds UTC).
        until: As of when the cubes are opened.
    """

    since: int
    begin: int
    until: int
    chunks: tuple[slice, ...]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is left to do.

    Attributes:
        issue_times, trainings: How many.
        seconds: About how long it takes, on processors as those of the benchmarks.
        stored_bytes: About how much is written.
        open_bytes: Of cubes, in each process.
        snapshot: Of the cubes when the plan was made.
    """

    issue_times: int
    trainings: int
    workers: int
    seconds: float
    stored_bytes: int
    open_bytes: int
    snapshot: str
    spans: tuple[Span, ...]

    def describe(self) -> str:
        """The same in words."""
        about = _words(self.seconds)
        return (
            f"{self.issue_times:,} issue times and {self.trainings} trainings to do, about {about} with {self.workers} worker(s), "
            f"{self.stored_bytes / 2**20:,.0f} MiB to write, {self.open_bytes / 2**20:,.0f} MiB of cubes in each process"
        )

    def to_json(self) -> dict[str, Any]:
        """The figures as JSON content."""
        return {k: v for k, v in asdict(self).items() if k != "spans"}


def make_plan(
    world: World,
    settings: Settings,
    request: ReplayRequest,
    todo: Sequence[int],
    trainings: Sequence[Training],
    missing: Sequence[Training],
) -> Plan:
    """The plan of what is left of a replay.

    Raises:
        NotYetAvailable: No cube was built.
        ConfigError: A recipe's option is not allowed.
    """
    held = _held(world, settings)
    sizes = {name: state.nodes for name, state in held.items()}
    cells = sum(state.steps * state.nodes * len(world.domains[name].variables) for name, state in held.items())
    values = sum(world.domains[d].horizon * n * sum(v.target for v in world.domains[d].variables.values()) for d, n in sizes.items())
    workers = request.workers or worker_count()
    per_second = sum(n * len(world.domains[d].variables) * _BYTES_PER_CELL / step_seconds(world.domains[d].clock) for d, n in sizes.items())
    spans = _spans(world, request, todo, per_second, workers)
    widths = [per_second * (span.until - span.begin) for span in spans]
    each = _SECONDS_PER_ISSUE + _SECONDS_PER_VALUE * values
    issued = _START_SECONDS + len(todo) * (_SUMMED_PER_ISSUE + each / workers) if todo else 0.0
    overhead = cells * (_SECONDS_PER_CELL + (_JUDGED_PER_CELL if workers == 1 else 0))
    return Plan(
        issue_times=len(todo),
        trainings=len(missing),
        workers=workers,
        seconds=round(issued + len(missing) * overhead + _training_seconds(world, request, held, trainings, missing), 1),
        stored_bytes=round(len(todo) * values * (4 * (len(QUANTILES) * (len(BASELINES) + 2) + len(sizes) + 2) + 20)),
        open_bytes=round(max(widths, default=0)),
        snapshot=reading.snapshot_of(world, settings),
        spans=spans,
    )


def _words(seconds: float) -> str:
    """Seconds in words, coarser the longer it is."""
    unit = 1 if seconds < 90 else 60
    return format_duration(timedelta(seconds=round(seconds / unit) * unit))


def describe_work(what: str, seconds: float, workers: int) -> str:
    """What there is to do and how long it takes, in words."""
    return f"{what}, about {_words(seconds)} with {workers} worker(s)"


def seconds_of_training(world: World, settings: Settings, recipe: str | None, options: dict[str, Any]) -> float:
    """About how long one cold training and its judgement take on one processor of those of the benchmarks.

    Raises:
        NotYetAvailable: No cube was built.
        ConfigError: There is no such recipe or option.
    """
    from models.api import resolve_config

    held = _held(world, settings)
    cells = sum(state.steps * state.nodes * len(world.domains[name].variables) for name, state in held.items())
    own = world.recipe_options if recipe in (None, world.recipe) else {}
    config = resolve_config(recipe or world.recipe, {**own, **options})
    return cells * (_SECONDS_PER_CELL + _JUDGED_PER_CELL) + config.epochs * _epoch_seconds(world, held, config)


def _held(world: World, settings: Settings) -> dict[str, DomainState]:
    state = CubeStore(settings.cubes or settings.store, world.name).state()
    found = {name: held for name, held in state.domains.items() if name in world.domains and held.nodes}
    if not found:
        raise NotYetAvailable(asked=f"replay world {world.name}", found="no cube", mend=f"cubecast build-cube --world {world.name}")
    return found


def _spans(world: World, request: ReplayRequest, todo: Sequence[int], per_second: float, workers: int) -> tuple[Span, ...]:
    now, found, begin = to_seconds(request.as_of), [], 0
    while begin < len(todo):
        earliest = min(reading.needed_from(world, taught_from(world, todo[begin])).values())
        end = begin + 1
        while end < len(todo) and per_second * (todo[end] - earliest) < SPAN_BYTES:
            end += 1
        size = min(max(-(-(end - begin) // (4 * workers)), 1), _MOST_PER_CHUNK)
        chunks = tuple(slice(a, min(a + size, end)) for a in range(begin, end, size))
        found.append(Span(since=todo[begin], begin=earliest, until=min(now, _last_mature(world, todo[end - 1])), chunks=chunks))
        begin = end
    return tuple(found)


def _last_mature(world: World, issue_time: int) -> int:
    """When all labels of a forecast are known."""
    return max(
        int(steps_ahead(domain.clock, issue_time, domain.horizon)[-1]) + label_maturity(world, name)
        for name, domain in world.domains.items()
    )


def _epoch_seconds(world: World, held: Mapping[str, DomainState], config: ModelConfig) -> float:
    """Of one epoch of training on all that is held."""
    from models.api import epoch_rows

    shares = {name: (world.domains[name].folds or world.folds).train for name in held}
    return sum(epoch_rows(config, round(state.steps * shares[name]), state.nodes) for name, state in held.items()) * _SECONDS_PER_ROW


def _training_seconds(
    world: World, request: ReplayRequest, held: Mapping[str, DomainState], trainings: Sequence[Training], missing: Sequence[Training]
) -> float:
    """A rough measure: every epoch on all that is held by now; the first training of a lane is taken to start cold."""
    if not missing:
        return 0.0
    from models.api import continued, resolve_config

    config = resolve_config(world.recipe, {**world.recipe_options, **request.options})
    later = continued(config).epochs
    epochs = later * len(missing) + (config.epochs - later if missing[0] == trainings[0] else 0)
    return epochs * _epoch_seconds(world, held, config)
