"""What lanes of replay have shown: their scores as additive statistics and as a scorecard, now or as of an instant."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, TypeVar

from pipeline.contracts.replays import LaneRecord
from pipeline.contracts.scores import Scorecard
from pipeline.contracts.times import format_instant, from_seconds, parse_instant
from pipeline.contracts.worlds import World
from pipeline.errors import ContractError, StoreError
from pipeline.settings import Settings, code_version
from pipeline.stores.lanes import LaneStore
from pipeline.stores.objects import ObjectStore
from pipeline.stores.scores import ScoreStore
from pipeline.verification.outcomes import Counts
from pipeline.verification.statistics import Statistics
from pipeline.verification.tables import TABLES, tables_of

Answer = TypeVar("Answer")


@dataclass(frozen=True, kw_only=True)
class Replayed:
    """The scores of a lane.

    Attributes:
        statistics: Of `published`, of the joint model and of each baseline, by day.
        issue_times: Per domain the scored issue times, ascending (seconds UTC).
        counts: Cells: expected = observed + missing + pending.
        as_of: The latest instant whose knowledge is in them.
    """

    lane_id: str
    record: LaneRecord
    statistics: Statistics
    issue_times: dict[str, list[int]]
    counts: Counts
    as_of: str

    def scorecard(self) -> Scorecard:
        """The same as the scorecard of a candidate is written; `fold` is the mode, `model_id` the lane."""
        edges = {name: (times[0], times[-1]) for name, times in self.issue_times.items() if times}
        return Scorecard(
            world=self.record.world,
            model_id=self.lane_id,
            as_of=self.as_of,
            fold=self.record.mode,
            periods={name: (format_instant(from_seconds(a)), format_instant(from_seconds(b))) for name, (a, b) in edges.items()},
            snapshot="",
            windows={name: len(times) for name, times in self.issue_times.items()},
            **tables_of(self.statistics),
        )


def replayed(settings: Settings, world: World, lane_id: str, as_of: datetime | None = None) -> Replayed:
    """The scores of a lane; with `as_of` those of the domains' forecasts whose labels were mature by then, and only as known then.

    Raises:
        NotYetAvailable: There is no such lane.
    """
    lanes = LaneStore(settings, world.name)
    record, scores = lanes.record(lane_id), ScoreStore(ObjectStore(lanes.url(lane_id)), world.name)
    counts, newest = Counts.zero(), ""
    times: dict[str, list[int]] = {}
    mature: dict[int, frozenset[str]] = {}
    parted: set[int] = set()
    for issue_time in scores.issue_times():
        found = scores.newest(issue_time)
        if found is None:
            continue
        mature[issue_time] = frozenset(d for d, moment in found["mature_time"].items() if as_of is None or parse_instant(moment) <= as_of)
        if mature[issue_time] != found["mature_time"].keys():
            parted.add(issue_time)
        counts = sum((Counts(**found["counts"][d]) for d in mature[issue_time]), counts)
        for domain in mature[issue_time]:
            times.setdefault(domain, []).append(issue_time)
            newest = max(newest, min(found["as_of"], found["mature_time"][domain]))
    total = _added(scores, mature, parted)
    return Replayed(lane_id=lane_id, record=record, statistics=total, issue_times=times, counts=counts, as_of=newest)


def _added(scores: ScoreStore, mature: Mapping[int, frozenset[str]], parted: Set[int]) -> Statistics:
    """The statistics of what was mature; of issue times before the first that was so in part only, from the sums over months."""
    whole = list(itertools.takewhile(lambda t: t not in parted, mature))
    parts = [scores.period(whole[0], whole[-1]).statistics] if whole else []
    for issue_time in list(mature)[len(whole) :]:
        record = scores.newest(issue_time) if mature[issue_time] else None
        if record is not None:
            parts.append(Statistics.from_json(record["statistics"]).only(mature[issue_time]))
    return Statistics.added(parts)


@dataclass(frozen=True, kw_only=True)
class Shown:
    """What replay says of a world, or that it says nothing; and which lanes could not be asked, and why."""

    replay: Replayed | None
    notes: tuple[str, ...] = ()


def replay_evidence(settings: Settings, world: World, as_of: datetime, fits: Callable[[LaneRecord], bool] | None = None) -> Shown:
    """What replay says of a world as of an instant: the lane of most issue times made of this world by this code.

    A lane made by other code stands in where there is none of this one. Reforecasts are no evidence: their model has
    seen what it forecasts. A lane that is damaged, or that this version does not read, is left out by name: it can be made again,
    and what is published today does not wait for that.
    """
    lanes, notes = LaneStore(settings, world.name), list[str]()

    def asked(lane_id: str, ask: Callable[[], Answer]) -> Answer | None:
        try:
            return ask()
        except (StoreError, ContractError) as error:
            away = f"move {lanes.url(lane_id)} away and run cubecast replay again"
            notes.append(f"replay {lane_id} is left out of the evidence: {error.asked}: {error.found}; {away}")
            return None

    records = [found for lane_id in lanes.lane_ids() if (found := asked(lane_id, partial(lanes.record, lane_id))) is not None]
    fitting = [r for r in records if r.mode == "replay" and r.world_digest == world.digest and (fits is None or fits(r))]
    same = [r for r in fitting if r.code_version == code_version()]
    sizes = {r.lane_id: _issue_times_until(lanes.url(r.lane_id), world.name, as_of) for r in same or fitting}
    for lane_id in sorted(sizes, key=lambda lane_id: (-sizes[lane_id], lane_id)):
        shown = asked(lane_id, partial(replayed, settings, world, lane_id, as_of))
        if shown is not None and shown.issue_times:
            return Shown(replay=shown, notes=tuple(notes))
    return Shown(replay=None, notes=tuple(notes))


def replay_of_kind(settings: Settings, world: World, card: Mapping[str, Any], as_of: datetime) -> Shown:
    """Evidence as of an instant from a walk whose models were trained as the one of this card; none where the world asks for none."""
    if world.promotion.evidence != "replay" or card.get("world_digest") != world.digest or card.get("recipe") != world.recipe:
        return Shown(replay=None)

    def alike(lane: LaneRecord) -> bool:
        from models.api import continued, resolve_config

        config = resolve_config(world.recipe, {**world.recipe_options, **lane.options})
        return lane.retrain != "none" and card.get("config_digest") in (config.digest, continued(config).digest)

    return replay_evidence(settings, world, as_of, alike)


def _issue_times_until(root: str, world_name: str, as_of: datetime) -> int:
    """How many issue times before an instant a lane has scored."""
    return sum(from_seconds(t) < as_of for t in ScoreStore(ObjectStore(root), world_name).issue_times())


def keep_scorecard(settings: Settings, world: World, lane_id: str) -> bool:
    """Renew the scorecard of a lane from its scores; False where it said the same."""
    lanes = LaneStore(settings, world.name)
    scores = ScoreStore(ObjectStore(lanes.url(lane_id)), world.name)
    scores.renew(scores.issue_times())
    found = replayed(settings, world, lane_id)
    content: dict[str, Any] = {
        "lane": found.record.model_dump(mode="json"),
        "scorecard": found.scorecard().model_dump(mode="json"),
        "counts": found.counts.to_json(),
    }
    return lanes.keep_scorecard(lane_id, content)


def show_lane(settings: Settings, world: World, lane_id: str) -> dict[str, Any]:
    """A lane as JSON-able content: its record, its scorecard over all leads, and where it lies.

    Raises:
        NotYetAvailable: There is no such lane.
    """
    lanes = LaneStore(settings, world.name)
    found = replayed(settings, world, lane_id)
    return {
        "lane": lane_id,
        "url": lanes.url(lane_id),
        "scorecard_url": lanes.scorecard_url(lane_id),
        "of_this_code": found.record.code_version == code_version(),
        "of_this_world": found.record.world_digest == world.digest,
        "record": found.record.model_dump(mode="json"),
        "issue_times": max(map(len, found.issue_times.values()), default=0),
        "counts": found.counts.to_json(),
        **found.scorecard().model_dump(mode="json", include=set(TABLES)),
    }


def list_lanes(settings: Settings, world: World) -> tuple[list[dict[str, Any]], list[StoreError]]:
    """All lanes of a world without their scores; and of those that are damaged, how."""
    shown, damage = list[dict[str, Any]](), list[StoreError]()
    for lane_id in LaneStore(settings, world.name).lane_ids():
        try:
            found = show_lane(settings, world, lane_id)
        except StoreError as error:
            mend = f"move {LaneStore(settings, world.name).url(lane_id)} away and run cubecast replay again, or: {error.mend}"
            damage.append(StoreError(asked=f"lane {lane_id}: {error.asked}", found=error.found, mend=mend))
        else:
            shown.append({k: v for k, v in found.items() if k not in TABLES})
    return shown, damage
