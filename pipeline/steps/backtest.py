"""backtest: models on rolling origins, each trained before a gap and scored on the block after it, cell by cell."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import Future
from dataclasses import asdict, replace
from functools import partial
from typing import Any

import numpy as np

from pipeline.api import BacktestRequest, Receipt, TrainRequest
from pipeline.contracts.backtests import BacktestRecord
from pipeline.contracts.times import format_instant, from_seconds, to_seconds
from pipeline.contracts.windows import DomainWindows, WindowSet
from pipeline.contracts.world_files import load_world
from pipeline.contracts.worlds import World
from pipeline.errors import ConfigError, ContractError, LookaheadError, NotYetAvailable
from pipeline.parallel import call_elsewhere, worker_count
from pipeline.settings import Settings, code_version
from pipeline.steps import calibrating, reading
from pipeline.steps.backtested import together
from pipeline.steps.judging import grounds_in, judged_by
from pipeline.steps.replay_plan import describe_work, seconds_of_training
from pipeline.steps.train import train_in
from pipeline.stores.backtests import BacktestStore
from pipeline.stores.objects import ObjectStore
from pipeline.stores.registry import Candidate, Registry
from pipeline.telemetry import QUIET, Progress, Stage
from pipeline.verification.evaluation import CLIMATE, evaluate_domain
from pipeline.verification.statistics import Statistics
from pipeline.windows.folds import expected_windows
from pipeline.windows.nodes import fit_nodes
from pipeline.windows.origins import Origin, block_codes, learning_world, plan_origins


def run(request: BacktestRequest, settings: Settings, progress: Progress) -> Receipt:
    """What every origin found, and the scorecard of all of them together; origins that are done are not done again.

    Raises:
        ConfigError: The range is empty or lies outside the world's time, or leaves nothing to learn from.
        NotYetAvailable: No cube was built, or labels of the last block are not known yet.
        ContractError: A block has fewer or more windows than its clock says.
        StoreError: The storage refused, or a process was killed; the same request goes on.
    """
    world = load_world(request.world)
    record = _record(world, request)
    origins = plan_origins(world, to_seconds(request.first), to_seconds(request.last), request.origins, record.embargo)
    _check(world, request, origins)
    store = BacktestStore(settings, world.name)
    todo = [origin for origin in origins if origin.number not in store.found(record.backtest_id)]
    workers = min(request.workers or worker_count(), max(len(todo), 1))
    seconds = seconds_of_training(world, settings, request.recipe, request.options) * len(todo) / workers if todo else 0.0
    with progress.stage("plan", None) as stage:
        stage.advance(0, describe_work(f"{len(todo)} of {len(origins)} origins to do", seconds, workers))
    if request.dry_run:
        return _receipt(request, store, record, {}, ("nothing was done: a dry run",), changed=False, seconds=seconds)
    entered = store.enter(record)
    with progress.stage("origins", len(todo), "origins") as stage, call_elsewhere(settings, workers) as elsewhere:
        running = []
        for origin in todo:
            future = elsewhere.submit(work, request, settings, origin)
            future.add_done_callback(partial(_tell, stage, origin))
            running.append(future)
        made = [future.result() for future in running]
    content = together(world, record, store.found(record.backtest_id))
    renewed = store.keep_scorecard(record.backtest_id, content)
    return _receipt(request, store, record, content, content["notes"], changed=entered or any(made) or renewed, seconds=seconds)


def _record(world: World, request: BacktestRequest) -> BacktestRecord:
    return BacktestRecord(
        world=world.name,
        world_digest=world.digest,
        code_version=code_version(),
        first=format_instant(request.first),
        last=format_instant(request.last),
        origins=request.origins,
        embargo=int(request.embargo.total_seconds()),
        recipe=request.recipe,
        options=request.options,
        seed=request.seed,
    )


def _check(world: World, request: BacktestRequest, origins: tuple[Origin, ...]) -> None:
    asked = f"backtest {world.name} from {format_instant(request.first)} to {format_instant(request.last)}"
    mend = "correct --from, --to, --origins or --embargo"
    if request.first >= request.last or request.embargo.total_seconds() < 0:
        raise ConfigError(asked=asked, found="an empty range, or an embargo below 0", mend=mend)
    if any(origin.end - origin.begin < 1 for origin in origins):
        raise ConfigError(asked=asked, found=f"{len(origins)} blocks of less than a second", mend=mend)
    if origins[0].cut_off <= to_seconds(world.start):
        found = f"nothing to learn from: the first model's cut-off is {format_instant(from_seconds(origins[0].cut_off))}"
        raise ConfigError(asked=asked, found=found, mend=mend)
    if origins[-1].settled > to_seconds(request.as_of):
        raise NotYetAvailable(
            asked=asked,
            found=f"labels of the last block that are known at {format_instant(from_seconds(origins[-1].settled))} only",
            mend="give an earlier --to, or come back",
        )


def work(request: BacktestRequest, settings: Settings, origin: Origin) -> bool:
    """Keep what an origin found as soon as it is found; False where another process came first."""
    world = load_world(request.world)
    found = score_origin(request, settings, origin)
    return BacktestStore(settings, world.name).keep(_record(world, request).backtest_id, origin.number, found)


def score_origin(request: BacktestRequest, settings: Settings, origin: Origin) -> dict[str, Any]:
    """What one origin found, as JSON content: its model, its windows, and the exact statistics of its block.

    Raises:
        LookaheadError: The model has learned from within the embargo.
        ContractError: The block has fewer or more windows than its clock says, or none.
    """
    world = load_world(request.world)
    own = BacktestStore(settings, world.name).settings(_record(world, request).backtest_id, origin.number)
    learning = learning_world(world)
    asked = TrainRequest(
        world=request.world, as_of=from_seconds(origin.cut_off), recipe=request.recipe, options=request.options, seed=request.seed
    )
    trained = train_in(learning, asked, own, QUIET)
    candidate = Registry(ObjectStore(own.store), world.name).candidate(trained.ids["model_id"])
    inputs = reading.open_inputs(world, own, from_seconds(origin.settled))
    windows = _blocked(learning, reading.windows_of(world, candidate, inputs, as_of=origin.settled, live=False, trained_nodes=True), origin)
    models = reading.load_models(candidate)
    cubes = {name: fit_nodes(inputs.cubes[name], view.node_ids) for name, view in windows.domains.items()}
    counts = {name: _counted(world, view, origin) for name, view in windows.domains.items()}
    if not any(counts.values()):
        raise ContractError(asked=f"backtest origin {origin.number}", found="no window in its block", mend="give longer blocks")
    scored = [_scored(world, windows, name, models, cubes) for name in windows.domains]
    return {
        "origin": asdict(origin),
        "model_id": candidate.model_id,
        "snapshot": windows.snapshot,
        "judged_by": judged_by(world),
        "windows": counts,
        "periods": {name: _period(view) for name, view in windows.domains.items() if counts[name]},
        "notes": [*trained.notes, *_absent(world, candidate, windows)],
        "statistics": Statistics.added(scored).to_json(),
    }


def _blocked(learning: World, windows: WindowSet, origin: Origin) -> WindowSet:
    """The same windows with the folds of an origin; refuses folds that touch."""
    domains = {}
    for name, view in windows.domains.items():
        last_target_W = view.valid_time_T[view.end_W + view.horizon]
        codes = block_codes(learning, name, view.issue_time_W, last_target_W, origin)
        blocked = replace(view, fold_W=codes)
        learned = np.concatenate([blocked.windows_of("train"), blocked.windows_of("validation")])
        if len(learned) and (int(last_target_W[learned].max()) > origin.cut_off or origin.cut_off >= origin.begin):
            found = f"a window of {name} whose targets reach beyond {format_instant(from_seconds(origin.cut_off))}"
            raise LookaheadError(asked=f"backtest origin {origin.number}", found=found, mend="report this fault")
        domains[name] = blocked
    return replace(windows, domains=domains)


def _counted(world: World, view: DomainWindows, origin: Origin) -> int:
    """How many windows the block has of a domain; refuses another number than the clock's."""
    found = len(view.windows_of("test"))
    first = int(view.valid_time_T[0])
    expected = expected_windows(world, view.domain, first=first, since=origin.begin, until=origin.end, as_of=origin.settled)
    if found != expected:
        asked = f"score {expected} windows of {view.domain}, by its clock, in block {origin.number}"
        raise ContractError(asked=asked, found=f"{found}", mend="report this fault")
    return found


def _scored(world: World, windows: WindowSet, name: str, models: reading.Models, cubes: Mapping[str, Any]) -> Statistics:
    index_W = windows.domains[name].windows_of("test")
    usual = models.of(name).get(CLIMATE)
    return evaluate_domain(
        windows,
        name,
        calibrating.Walked(world, windows, name, models, cubes[name], index_W).forecasters(),
        cubes[name].values_TNV,
        index_W,
        lambda _: None,
        grounds_of=grounds_in(world, windows, {name: cubes[name].nodes}, name),
        climate=None if usual is None else calibrating.quantiles_of(usual),
    )


def _period(view: DomainWindows) -> list[str]:
    first, last = view.issue_time_W[view.windows_of("test")[[0, -1]]]
    return [format_instant(from_seconds(int(first))), format_instant(from_seconds(int(last)))]


def _absent(world: World, candidate: Candidate, windows: WindowSet) -> list[str]:
    return [f"domain {name} has no cube as of {candidate.card['as_of']}" for name in world.domains if name not in windows.domains]


def _tell(stage: Stage, origin: Origin, _: Future[bool]) -> None:
    stage.advance(1, f"block from {format_instant(from_seconds(origin.begin))}")


def _receipt(
    request: BacktestRequest,
    store: BacktestStore,
    record: BacktestRecord,
    content: Mapping[str, Any],
    notes: Iterable[str],
    *,
    changed: bool,
    seconds: float,
) -> Receipt:
    origins = content.get("origins", [])
    return Receipt(
        step=request.step,
        world=record.world,
        as_of=request.as_of,
        outcome="done" if changed else "unchanged",
        ids={"backtest": record.backtest_id},
        counts={
            "origins": len(origins),
            "windows": sum(sum(o["windows"].values()) for o in origins),
            **{name: sum(o[key] for o in origins) for name, key in (("expected", "expected"), ("scored", "n"), ("missing", "missing"))},
        },
        paths={"scorecard": store.scorecard_url(record.backtest_id)},
        notes=tuple(notes),
        details={"record": record.model_dump(mode="json"), "estimated_seconds": round(seconds, 1)},
    )
