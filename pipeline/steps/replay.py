"""replay: the forecasts of the past as they would have been issued, in a lane beside the live ones; or today's model on the past."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from concurrent.futures import Executor, Future
from datetime import timedelta
from functools import partial

from pipeline.api import Receipt, ReplayRequest
from pipeline.contracts.provenance import digest_bytes
from pipeline.contracts.replays import LaneRecord
from pipeline.contracts.scores import Promotion
from pipeline.contracts.times import format_instant, from_seconds, parse_instant, to_seconds
from pipeline.contracts.world_files import load_world
from pipeline.contracts.worlds import World
from pipeline.errors import ConfigError, NotYetAvailable
from pipeline.parallel import call_elsewhere
from pipeline.settings import Settings, code_version
from pipeline.steps import issue
from pipeline.steps.incumbents import makers_of
from pipeline.steps.replay_plan import Plan, make_plan
from pipeline.steps.replayed import keep_scorecard
from pipeline.steps.walk import Walk, adopt, adopt_model, plan_walk
from pipeline.stores.forecasts import ForecastStore
from pipeline.stores.lanes import LaneStore
from pipeline.stores.objects import ObjectStore
from pipeline.stores.published import PublishedStore
from pipeline.stores.registry import Registry
from pipeline.stores.scores import ScoreStore
from pipeline.telemetry import Progress, Stage


def run(request: ReplayRequest, settings: Settings, progress: Progress) -> Receipt:
    """Every issue time of the range forecast, published and scored in the lane of this question; what is there is kept.

    Raises:
        ConfigError: The range is empty or lies outside the world's time.
        NotYetAvailable: No cube was built, no model is there for an issue time, or none of them has data.
        StoreError: The storage refused, or a process was killed; the same request goes on.
    """
    world = load_world(request.world)
    _check_range(world, request)
    live = Registry(ObjectStore(settings.store), world.name)
    record = _lane_record(world, request, live)
    lanes = LaneStore(settings, world.name)
    lane = lanes.settings(record.lane_id)
    own = Registry(ObjectStore(lane.store), world.name)
    trainings = plan_walk(world, request)
    walked = lanes.walked(record.lane_id)
    missing = tuple(t for t in trainings if t.in_force not in walked)
    todo = _todo(world, request, lane)
    plan = make_plan(world, settings, request, todo, trainings, missing)
    with progress.stage("plan", None) as stage:
        stage.advance(0, plan.describe())
    notes = _other_lanes(lanes, record)
    if request.retrain == "none":
        _champions(request, live, live, todo)
    if request.dry_run:
        return _receipt(request, lanes, record, plan, ("nothing was done: a dry run", *notes), changed=False)
    entered = lanes.enter(record)
    with call_elsewhere(settings, plan.workers) as elsewhere:
        with (
            progress.stage("models", None) as stage,
            lanes.turn(record.lane_id, lambda: stage.advance(0, "another replay of the lane trains")),
        ):
            trained = _prepare(request, lanes, record, live, own, elsewhere, progress)
        lived = frozenset(ForecastStore(ObjectStore(settings.store), world.name).issue_times())
        issues = as_issued(request, lived, live, todo, _champions(request, live, own, todo))
        done = _issue(request, lane, record.lane_id, issues, plan, elsewhere, progress)
    _check_refused(request, todo, done)
    with progress.stage("scorecard", None), lanes.turn(record.lane_id, lambda: None):
        renewed = keep_scorecard(settings, world, record.lane_id)
    changed = entered or bool(trained or done.issued or done.scored or renewed)
    return _receipt(request, lanes, record, plan, (*_refused(done), *notes), changed=changed, done=done, trained=trained)


def _check_range(world: World, request: ReplayRequest) -> None:
    since = request.since or request.first
    faults = {
        "an empty range: the first issue time is not before the end, which is left out": request.first >= request.last,
        "no time between two issue times": request.every <= timedelta(0),
        f"issue times outside the world's time, {format_instant(world.start)} .. {format_instant(request.as_of)}": request.first
        <= world.start
        or request.first > request.as_of
        or request.last - request.every > request.as_of,
        "a first training after the first issue time": since > request.first,
        "a reforecast that trains: it applies today's champion": request.mode == "reforecast" and request.retrain != "none",
    }
    for found, wrong in faults.items():
        if wrong:
            raise ConfigError(
                asked=f"replay {request.world} from {format_instant(request.first)} to {format_instant(request.last)}",
                found=found,
                mend="correct --from, --to, --every, --since or --retrain",
            )


def _lane_record(world: World, request: ReplayRequest, live: Registry) -> LaneRecord:
    """The lane of a question; a reforecast's names the champion as of now.

    Raises:
        NotYetAvailable: There is no champion to reforecast with.
    """
    champion = live.champion(request.as_of) if request.mode == "reforecast" else None
    return LaneRecord(
        world=world.name,
        world_digest=world.digest,
        code_version=code_version(),
        mode=request.mode,
        retrain=request.retrain,
        since=None if request.retrain == "none" else format_instant(request.since or request.first),
        options={} if request.retrain == "none" else request.options,
        seed=0 if request.retrain == "none" else request.seed,
        model_id=champion.model_id if champion else None,
        promoted_as_of=champion.as_of if champion else None,
    )


def _todo(world: World, request: ReplayRequest, lane: Settings) -> list[int]:
    """The issue times of the range (seconds UTC) that are not published, or whose scores may still change."""
    objects = ObjectStore(lane.store)
    published, scores = set(PublishedStore(objects, world.name).issue_times()), ScoreStore(objects, world.name)
    first, last, every = to_seconds(request.first), to_seconds(request.last), int(request.every.total_seconds())
    asked = [t for t in range(first, last, every) if t not in published]
    there = [t for t in range(first, last, every) if t in published]
    final = scores.final(there)
    return sorted([*asked, *(t for t in there if t not in final)])


def _prepare(
    request: ReplayRequest, lanes: LaneStore, record: LaneRecord, live: Registry, own: Registry, elsewhere: Executor, progress: Progress
) -> int:
    """Let the lane hold every model that it forecasts with; how many were trained."""
    if request.mode == "reforecast":
        for model_id in makers_of(live.champion(request.as_of)):
            adopt_model(live, own, model_id)
        return 0
    adopt(live, own, request.last)
    return Walk(request, lanes, record.lane_id, own, elsewhere).go(plan_walk(load_world(request.world), request), progress)


def _champions(request: ReplayRequest, live: Registry, own: Registry, issue_times: Sequence[int]) -> list[Promotion]:
    """The champion of each issue time: the newest entry of the lane's log as of it, or the live one as of now in a reforecast.

    Raises:
        NotYetAvailable: Nothing was promoted by one of them.
    """
    if request.mode == "reforecast":
        return [live.champion(request.as_of)] * len(issue_times)
    entries = sorted(enumerate(own.promotions()), key=lambda e: (parse_instant(e[1].as_of), e[0]))
    since = [to_seconds(parse_instant(entry.as_of)) for _, entry in entries]
    places = [bisect_right(since, t) - 1 for t in issue_times]
    if places and min(places) < 0:
        early = sum(p < 0 for p in places)
        raise NotYetAvailable(
            asked=f"replay {request.world} from {format_instant(request.first)} with the models that were live",
            found=f"no champion yet at {early} of {len(places)} issue times"
            + (f"; the first is in force from {format_instant(from_seconds(since[0]))}" if since else ": the world was never trained"),
            mend=f"--retrain daily trains models of the past, or give a later --from, or train: cubecast run --world {request.world}",
        )
    return [entries[p][1] for p in places]


def as_issued(
    request: ReplayRequest, lived: frozenset[int], live: Registry, issue_times: Sequence[int], champions: Sequence[Promotion]
) -> list[tuple[int, Promotion]]:
    """Each issue time with its champion: where a forecast was issued live, the one that was live then."""
    if request.mode == "reforecast":
        lived = frozenset()
    pairs = zip(issue_times, champions, strict=True)
    return [(t, live.champion(from_seconds(t)) if t in lived else champion) for t, champion in pairs]


def _issue(
    request: ReplayRequest,
    lane: Settings,
    lane_id: str,
    issues: list[tuple[int, Promotion]],
    plan: Plan,
    elsewhere: Executor,
    progress: Progress,
) -> issue.Done:
    total = issue.Done()
    with progress.stage("issue", len(issues), "issue times") as stage:
        asked = [
            issue.Chunk(
                world=request.world,
                settings=lane,
                lane_id=lane_id,
                mode=request.mode,
                issues=tuple(issues[part]),
                since=span.since,
                until=span.until,
                snapshot=plan.snapshot,
                now=to_seconds(request.as_of),
            )
            for span in plan.spans
            for part in span.chunks
        ]
        running = []
        for chunk in asked:
            future = elsewhere.submit(issue.work, chunk)
            future.add_done_callback(partial(_tell, stage, chunk))
            running.append(future)
        for future in running:
            done = future.result()
            total.issued, total.scored = total.issued + done.issued, total.scored + done.scored
            total.refused |= done.refused
    return total


def _tell(stage: Stage, chunk: issue.Chunk, _: Future[issue.Done]) -> None:
    stage.advance(len(chunk.issues), f"{format_instant(from_seconds(chunk.issues[-1][0]))}")


def _other_lanes(lanes: LaneStore, record: LaneRecord) -> tuple[str, ...]:
    """What there is to say of lanes that answer the same question for another world file or by other code."""
    told = []
    for lane_id in lanes.lane_ids():
        other = lanes.record(lane_id)
        differing = [k for k in ("code_version", "world_digest") if getattr(other, k) != getattr(record, k)]
        if differing and other.model_copy(update={k: getattr(record, k) for k in differing}) == record:
            told.append(
                f"lane {lane_id} has another {' and '.join(d.replace('_', ' ') for d in differing)}; it is kept, this is a new lane"
            )
    return tuple(told)


def _check_refused(request: ReplayRequest, todo: Sequence[int], done: issue.Done) -> None:
    if len(done.refused) == len(todo) > 0:
        raise NotYetAvailable(
            asked=f"replay {len(todo)} issue times of world {request.world} from {format_instant(from_seconds(todo[0]))}",
            found=done.refused[todo[0]],
            mend="land, observe and build the cube up to them, or give another range",
        )


def _refused(done: issue.Done) -> tuple[str, ...]:
    if not done.refused:
        return ()
    first = min(done.refused)
    return (f"{len(done.refused)} issue times without a forecast, the first {format_instant(from_seconds(first))}: {done.refused[first]}",)


def _receipt(
    request: ReplayRequest,
    lanes: LaneStore,
    record: LaneRecord,
    plan: Plan,
    notes: tuple[str, ...],
    *,
    changed: bool,
    done: issue.Done | None = None,
    trained: int = 0,
) -> Receipt:
    scorecard = lanes.scorecard(record.lane_id)
    asked = len(range(to_seconds(request.first), to_seconds(request.last), int(request.every.total_seconds())))
    refused = len(done.refused) if done else 0
    return Receipt(
        step=request.step,
        world=record.world,
        as_of=request.as_of,
        outcome="done" if changed else "unchanged",
        ids={"lane": record.lane_id, **({"scorecard": digest_bytes(scorecard)[:16]} if scorecard is not None else {})},
        counts={
            "issue_times": asked,
            "issued": done.issued if done else 0,
            "scored": done.scored if done else 0,
            "refused": refused,
            "trained": trained,
        },
        paths={"lane": lanes.url(record.lane_id), "scorecard": lanes.scorecard_url(record.lane_id)},
        notes=notes,
        details={
            "plan": plan.to_json(),
            "lane": record.model_dump(mode="json"),
            **({} if request.dry_run else {"missing_share": {"issue_times": refused / max(asked, 1)}}),
        },
    )
