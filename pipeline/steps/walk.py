"""Walk-forward training in a lane: one model after the other, each from the weights of the one before."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from datetime import datetime, timedelta

from pipeline.api import EvaluateRequest, ReplayRequest, TrainRequest
from pipeline.contracts.replays import Retrain
from pipeline.contracts.times import parse_instant
from pipeline.contracts.world_files import load_world
from pipeline.contracts.worlds import World
from pipeline.errors import ConflictError, NotYetAvailable
from pipeline.settings import Settings
from pipeline.steps import evaluate, promote, train
from pipeline.steps.incumbents import makers_of
from pipeline.steps.promote import champion_as_of
from pipeline.stores.lanes import LaneStore
from pipeline.stores.registry import Registry
from pipeline.telemetry import QUIET, Progress
from pipeline.windows.maturity import label_maturity

EVERY: dict[Retrain, timedelta] = {"daily": timedelta(days=1), "weekly": timedelta(weeks=1)}


@dataclass(frozen=True, kw_only=True)
class Training:
    """One training of a walk: asked as of its cut-off, in force once the labels up to there are whole."""

    cut_off: datetime
    in_force: datetime


def plan_walk(world: World, request: ReplayRequest) -> tuple[Training, ...]:
    """The trainings whose models forecast some issue time before `request.last`, from the first of the lane on."""
    if request.retrain == "none":
        return ()
    maturity, moment, found = timedelta(seconds=label_maturity(world)), request.since or request.first, []
    while moment < request.last:
        found.append(Training(cut_off=moment - maturity, in_force=moment))
        moment += EVERY[request.retrain]
    return tuple(found)


def adopt(live: Registry, own: Registry, until: datetime) -> int:
    """Let a lane know what was promoted live by an instant: entries, models, scorecards; how many entries were new.

    What was run live is replayed as it was run.
    """
    known = own.promotions()
    new = [p for p in live.promotions() if parse_instant(p.as_of) <= until and p not in known]
    for promotion in new:
        for model_id in makers_of(promotion):
            adopt_model(live, own, model_id)
        own.promote(promotion)
    return len(new)


def adopt_model(live: Registry, own: Registry, model_id: str) -> None:
    """Let a lane hold a live model and its newest scorecard."""
    if any(held.model_id == model_id for held in own.candidates()):
        return
    candidate = live.candidate(model_id)
    try:
        evidence = live.evidence(model_id)
    except NotYetAvailable:
        evidence = None
    if evidence is not None:
        files = {name: evidence.read(name) for name in evidence.file_names}
        own.add_scorecard(evidence.scorecard, {name: data for name, data in files.items() if data is not None})
    own.add_candidate(model_id, {name: candidate.read(name) for name in candidate.file_names}, candidate.card)


class Walk:
    """The trainings of one lane, in order.

    Args:
        request: Of the replay.
        lanes: All lanes of the world.
        lane_id: The lane.
        own: Its registry, which knows what was promoted live.
        elsewhere: Where models are judged while the next one trains here.
    """

    def __init__(self, request: ReplayRequest, lanes: LaneStore, lane_id: str, own: Registry, elsewhere: Executor) -> None:
        self._request, self._lanes, self._lane_id, self._own, self._elsewhere = request, lanes, lane_id, own, elsewhere
        self._lane = lanes.settings(lane_id)
        world = load_world(request.world)
        # In the past there is no person to ask.
        self._alone = world.model_copy(update={"promotion": world.promotion.model_copy(update={"approval": "automatic"})})
        self._judged: deque[_Judging] = deque()

    def go(self, trainings: Sequence[Training], progress: Progress) -> int:
        """Train, judge and promote what is not done yet; how many were trained.

        Each starts from the weights of the one before, whatever the verdict on that; the first from the live champion
        of its time, or from none.
        """
        walked, before, made = self._lanes.walked(self._lane_id), None, 0
        for number, training in enumerate(trainings, 1):
            champion = champion_as_of(self._own, training.in_force)
            if training.in_force in walked:
                before = walked[training.in_force]
            elif champion is not None and parse_instant(champion.as_of) == training.in_force and champion.model_id not in walked.values():
                before = champion.model_id
                self._lanes.keep_walked(self._lane_id, training.in_force, before)
            else:
                if number == 1:
                    before = champion.model_id if champion else None
                with progress.stage(f"training {number} of {len(trainings)}", None):
                    before = self._train(training, before, progress)
                self._judged.append(_Judging(training=training, model_id=before, done=self._judge(before, training.cut_off)))
                made += 1
            self._promote(wait=False)
        if self._judged:
            with progress.stage("judge", None):
                self._promote(wait=True)
        return made

    def _train(self, training: Training, initial: str | None, progress: Progress) -> str:
        asked = TrainRequest(
            world=self._request.world,
            as_of=training.cut_off,
            options=self._request.options,
            seed=self._request.seed,
            initial=initial,
        )
        try:
            return train.run(asked, self._lane, progress).ids["model_id"]
        except ConflictError:  # on S3, where nothing holds a turn, another process may have made the same model meanwhile
            return train.run(asked, self._lane, progress).ids["model_id"]

    def _promote(self, *, wait: bool) -> None:
        """Promote in order what is judged: by itself as soon as it is trained, then against the champion that it would follow."""
        while self._judged and (wait or self._judged[0].done.done()):
            head = self._judged[0]
            head.done.result()
            if not head.against_champion:
                head.done, head.against_champion = self._judge(head.model_id, head.training.in_force), True
                continue
            self._judged.popleft()
            promote.promote_on_evidence(self._alone, self._own, self._own.candidate(head.model_id), head.training.in_force)
            self._lanes.keep_walked(self._lane_id, head.training.in_force, head.model_id)

    def _judge(self, model_id: str, as_of: datetime) -> Future[None]:
        return self._elsewhere.submit(_judge, self._request.world, as_of, model_id, self._lane)


@dataclass(kw_only=True)
class _Judging:
    """A model that is being judged elsewhere."""

    training: Training
    model_id: str
    done: Future[None]
    against_champion: bool = False


def _judge(world: str, as_of: datetime, model_id: str, lane: Settings) -> None:
    evaluate.run(EvaluateRequest(world=world, as_of=as_of, model_id=model_id), lane, QUIET)
