"""Calibrating: what several steps need of a model's calibration: walked along held-out windows, and in force at an instant."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pipeline.alignment.as_of import earlier
from pipeline.alignment.time_grid import DAY, step_seconds
from pipeline.calibration.blocks import Conditions, Targets, cases_of
from pipeline.calibration.calibration import Calibration, Cases
from pipeline.calibration.pace import Pace, chosen
from pipeline.calibration.walk import Ground, Raw, Walk
from pipeline.contracts.cubes import DomainCube
from pipeline.contracts.judging import AVAILABILITY
from pipeline.contracts.times import from_seconds, to_seconds
from pipeline.contracts.windows import DomainWindows, WindowSet
from pipeline.contracts.worlds import World
from pipeline.errors import NotYetAvailable
from pipeline.settings import Settings
from pipeline.steps import reading
from pipeline.stores.calibrations import CalibrationStore, dump_calibrations, load_calibrations
from pipeline.stores.objects import ObjectStore
from pipeline.stores.registry import Candidate, Registry
from pipeline.verification.evaluation import Forecaster, Quantiles, Told
from pipeline.verification.grounds import HOURS, hours_of, regions_of
from pipeline.windows.index import issue_lag
from pipeline.windows.nodes import fit_nodes
from pipeline.windows.regimes import regimes_at

if TYPE_CHECKING:
    from models.api import Predictor

_LESSON_SECONDS = 2 * 86400
"""How much time the windows may span that are made at once to learn from."""

FILE = "calibration.safetensors"
"""What an evaluation leaves of it, beside the scorecard."""


def targets_of(world: World, view: DomainWindows, group_N: NDArray[np.int64]) -> Targets:
    """What a domain's calibration is told apart by; `group_N` is each node's group."""
    names = [view.variables[v] for v in view.targets]
    events = world.domains[view.domain].events
    return Targets(
        bounds=tuple((float(view.lower_V[v]), float(view.upper_V[v])) for v in view.targets),
        groups=int(group_N.max(initial=0)) + 1,
        group_N=group_N,
        leads=view.horizon,
        hours=DAY // (HOURS * 3600) if step_seconds(world.domains[view.domain].clock) < DAY else 1,
        window=pace_in(world, view.domain).window,
        events={name: (names.index(event.variable), event) for name, event in events.items() if event.variable in names},
    )


def pace_in(world: World, domain: str) -> Pace:
    """How fast a domain's calibration goes."""
    declared = world.domains[domain]
    start = to_seconds(world.domain_start(domain))
    return Pace(clock=declared.clock, start=start, lag=issue_lag(world, domain), horizon=declared.horizon)


def taught_from(world: World, moment: int) -> int:
    """The instant (seconds UTC) from which on windows teach the calibrations that come in force just before another."""
    paces = [pace_in(world, domain) for domain in world.domains]
    return min(pace.begin(pace.known_at(moment)) for pace in paces)


def conditions_of(world: World, view: DomainWindows, index_W: NDArray[np.int64], availability_WN: NDArray[np.int8]) -> Conditions:
    """What the calibration of a domain is told of some windows."""
    steps_WL = view.end_W[index_W].astype(np.int64)[:, None] + 1 + np.arange(view.horizon)
    hour_WL = hours_of(world.domains[view.domain], view.valid_time_T[steps_WL].astype(np.int64), world.zone)
    return Conditions(availability_WN=availability_WN, hour_WL=np.zeros(steps_WL.shape, np.int64) if hour_WL is None else hour_WL)


def quantiles_of(model: Predictor) -> Quantiles:
    """A model's own quantiles."""

    def forecast(windows: WindowSet, domain: str, index_W: NDArray[np.int64]) -> NDArray[np.float32]:
        return model.predict(windows, domain, index_W, split=False).quantiles_BLNVQ

    return forecast


def told_by(walk: Walk) -> Forecaster:
    """What a walk publishes."""

    def forecast(_windows: WindowSet, _domain: str, index_W: NDArray[np.int64]) -> Told:
        quantiles, events = walk.forecast(index_W)
        return Told(quantiles_BLNVQ=quantiles, events=events)

    return forecast


def ground_of(world: World, windows: WindowSet, domain: str, cube: DomainCube, held_out: NDArray[np.int64]) -> Ground:
    """Windows of a domain's test fold, ascending; the model was chosen on those of the validation fold, which flatter it."""
    view = windows.domains[domain]
    count = len(view.issue_time_W)
    availability, hour = np.zeros((count, len(view.node_ids)), np.int8), np.zeros((count, view.horizon), np.int64)
    if len(held_out):
        told = conditions_of(world, view, held_out, regimes_at(world, windows, domain, held_out)[AVAILABILITY])
        availability[held_out], hour[held_out] = told.availability_WN, told.hour_WL
    return Ground(
        view=view,
        observed_TNV=cube.values_TNV,
        conditions=Conditions(availability_WN=availability, hour_WL=hour),
        learned_W=held_out,
        targets=targets_of(world, view, regions_of(world.domains[domain], cube.nodes)[1]),
        pace=pace_in(world, domain),
    )


def walk_of(ground: Ground, raw: Raw) -> Walk:
    """A walk that knows nothing yet and stands before the test fold."""
    view, pace = ground.view, ground.pace
    first = int(view.issue_time_W[ground.learned_W[0]]) if len(ground.learned_W) else 0
    return Walk(ground, raw, Calibration.start(pace.block_of(first) - 1, ground.targets.shape, tuple(ground.targets.events)))


class Walked:
    """The walks of all models of a domain, each begun when its first window is asked for."""

    def __init__(
        self, world: World, windows: WindowSet, domain: str, models: reading.Models, cube: DomainCube, held_out: NDArray[np.int64]
    ) -> None:
        self._windows, self._domain, self._models = windows, domain, models.of(domain)
        self.ground = ground_of(world, windows, domain, cube, held_out)
        self._walks: dict[str, Walk] = {}

    def forecasters(self) -> dict[str, Forecaster]:
        """What each model publishes, calibrated with what was known before."""
        self._walks = {name: walk_of(self.ground, self._raw(model)) for name, model in self._models.items()}
        return {name: told_by(walk) for name, walk in self._walks.items()}

    def until(self, as_of: int) -> dict[str, Calibration]:
        """Per model the calibration that is in force after the windows that were asked for."""
        return {name: walk.until(as_of) for name, walk in self._walks.items()}

    def _raw(self, model: Predictor) -> Raw:
        return lambda index_W: model.predict(self._windows, self._domain, index_W, split=False).quantiles_BLNVQ


def left_by(walked: Mapping[str, Walked], as_of: int) -> bytes:
    """What an evaluation leaves: per domain and model the calibration in force from its cut-off (seconds UTC) on."""
    states = {domain: found for domain, walks in walked.items() if (found := walks.until(as_of))}
    return dump_calibrations(states, {domain: walked[domain].ground.targets.group_N for domain in states})


class Book:
    """The calibrations of one model at any instant; what each block adds is made once, and kept."""

    def __init__(self, world: World, settings: Settings, candidate: Candidate, predictors: reading.Models) -> None:
        self._world, self._settings, self._candidate, self._predictors = world, settings, candidate, predictors
        self._origin: dict[str, dict[str, Calibration]] = {}
        self._groups: dict[str, NDArray[np.int64]] = {}
        self._after: dict[tuple[str, int], dict[str, Calibration]] = {}
        self._known: dict[tuple[str, int], int] = {}
        self._lessons: dict[str, _Lesson] = {}
        objects = ObjectStore(settings.store)
        origin = _left(Registry(objects, world.name), candidate.model_id)
        self._store = CalibrationStore(objects, world.name, candidate.model_id, origin)
        if origin:
            self._origin, self._groups = load_calibrations(origin)

    def at(self, domain: str, moment: int, known: reading.Inputs) -> dict[str, Calibration]:
        """Per predictor the calibration in force for forecasts issued at an instant (seconds UTC); none where nothing was left.

        `known` are inputs as of that instant or later: what a block teaches is taken from them where they reach back far enough.
        """
        if domain not in self._origin:
            return {}
        return self._absorbed(domain, self._known_at(domain, moment), known)

    def targets(self, view: DomainWindows) -> Targets:
        """What the calibration of a domain is told apart by."""
        return targets_of(self._world, view, self._groups.get(view.domain, np.zeros(len(view.node_ids), np.int64)))

    def _absorbed(self, domain: str, block: int, known: reading.Inputs) -> dict[str, Calibration]:
        """The calibrations after a block: those the evaluation left, known, kept, or made from the block before."""
        first, newest = self._first(domain), block
        while newest > first and not self._has(domain, newest):
            newest -= 1
        for later in range(newest + 1, block + 1):
            with self._store.turn(domain):
                if not self._has(domain, later):
                    self._keep(domain, later, self._store.keep(domain, later, self._made(domain, later, known)))
        return self._origin[domain] if block <= first else self._after[domain, block]

    def _known_at(self, domain: str, moment: int) -> int:
        """The last block that is known at an instant: the same all through the block of that."""
        pace = pace_in(self._world, domain)
        key = (domain, pace.block_of(moment))
        if key not in self._known:
            self._known[key] = pace.known_at(moment)
        return self._known[key]

    def _first(self, domain: str) -> int:
        """The last block that the evaluation's calibrations of a domain have absorbed: the same for all of them."""
        return min(state.block for state in self._origin[domain].values())

    def _has(self, domain: str, block: int) -> bool:
        if (domain, block) not in self._after and (data := self._store.read(domain, block)) is not None:
            self._keep(domain, block, data)
        return (domain, block) in self._after

    def _keep(self, domain: str, block: int, data: bytes) -> None:
        """Hold the calibrations after a block; those that no later block asks for are let go."""
        needed = self._known_at(domain, pace_in(self._world, domain).begin(block))
        for held in [key for key in self._after if key[0] == domain and key[1] < needed]:
            del self._after[held]
        self._after[domain, block] = load_calibrations(data)[0][domain]

    def _made(self, domain: str, block: int, known: reading.Inputs) -> bytes:
        pace = pace_in(self._world, domain)
        before, in_force = self._absorbed(domain, block - 1, known), self.at(domain, pace.begin(block), known)
        cases = self._cases(domain, block, in_force, known)
        made = {name: state.absorbed(cases[name], pace.units, in_force[name]) for name, state in before.items()}
        return dump_calibrations({domain: made}, {})

    def _cases(self, domain: str, block: int, in_force: Mapping[str, Calibration], known: reading.Inputs) -> dict[str, Cases]:
        """What the windows of a block teach, as they were known when it was settled."""
        pace, lesson = pace_in(self._world, domain), self._lesson_of(domain, block, known)
        first, settled = pace.begin(block), pace.settled(block)
        windows = reading.windows_between(self._world, self._candidate, lesson.known, lesson.windows, first, settled)
        view = windows.domains[domain]
        index_W = chosen(np.flatnonzero((view.issue_time_W >= first) & (view.issue_time_W < pace.begin(block + 1))))
        if not len(index_W):
            return {name: state.cases.faded(0) for name, state in in_force.items()}
        values, good = _outcomes(view, lesson.known.cubes[domain], index_W, settled)
        conditions = conditions_of(self._world, view, index_W, regimes_at(self._world, windows, domain, index_W)[AVAILABILITY])
        models = self._predictors.of(domain)
        raw = {name: models[name].predict(windows, domain, index_W, split=False).quantiles_BLNVQ for name in in_force}
        return {name: cases_of(state, self.targets(view), raw[name], conditions, values, good) for name, state in in_force.items()}

    def _lesson_of(self, domain: str, block: int, known: reading.Inputs) -> _Lesson:
        """Windows that hold those of a block, and of some later ones."""
        pace = pace_in(self._world, domain)
        first, settled = pace.begin(block), pace.settled(block)
        for lesson in self._lessons.values():
            if lesson.since <= first and settled <= lesson.windows.as_of:
                return lesson
        until = max(settled, min(first + _LESSON_SECONDS, min(cube.as_of for cube in known.cubes.values())))
        self._lessons[domain] = self._opened(first, until, known)
        return self._lessons[domain]

    def _opened(self, since: int, until: int, known: reading.Inputs) -> _Lesson:
        cubes = known.cubes.values()
        if (known.since is not None and known.since > since) or min(cube.as_of for cube in cubes) < until:
            at = next(cube.snapshot for cube in cubes)
            known = reading.open_inputs(self._world, self._settings, from_seconds(until), live=True, since=since, at=at or None)
        windows = reading.windows_of(self._world, self._candidate, known, as_of=until, live=False, since=since)
        return _Lesson(since=since, known=known, windows=windows)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Lesson:
    """The windows issued since an instant (seconds UTC), and what they are made of."""

    since: int
    known: reading.Inputs
    windows: WindowSet


def _outcomes(
    view: DomainWindows, whole: DomainCube, index_W: NDArray[np.int64], moment: int
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """What came of some windows (W, L, N, target) as it was known at an instant, in physical units, and whether it is good."""
    steps_WL = view.end_W[index_W].astype(np.int64)[:, None] + 1 + np.arange(view.horizon)
    begin = int(np.searchsorted(whole.valid_time, view.valid_time_T[steps_WL.min()]))
    cube = fit_nodes(earlier(whole, moment, first=begin, stop=begin + int(np.ptp(steps_WL)) + 1), view.node_ids)
    known_WL = steps_WL - steps_WL.min()
    there_WL, held_WL = known_WL < len(cube.valid_time), np.minimum(known_WL, max(len(cube.valid_time) - 1, 0))
    targets = list(view.targets)
    values, flags = cube.values_TNV[held_WL][..., targets], cube.flags_TNV[held_WL][..., targets]
    return values, (flags == 0) & np.isfinite(values) & there_WL[:, :, None, None]


def _left(registry: Registry, model_id: str) -> bytes:
    """What the newest evaluation of a model left of its calibration; nothing where there is none."""
    try:
        return registry.evidence(model_id).read(FILE) or b""
    except NotYetAvailable:
        return b""
