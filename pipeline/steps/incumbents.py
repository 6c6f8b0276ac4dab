"""The champion on a candidate's windows: what it publishes, per target, or why it cannot be compared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from pipeline.calibration.walk import Raw
from pipeline.contracts.cubes import DomainCube
from pipeline.contracts.forecasts import BASELINES, CHAMPION, JOINT
from pipeline.contracts.scores import Promotion
from pipeline.contracts.times import parse_instant, to_seconds
from pipeline.contracts.windows import WindowSet
from pipeline.contracts.worlds import World
from pipeline.errors import ConfigError, ContractError, StoreError
from pipeline.steps import calibrating, reading
from pipeline.steps.judging import grounds_in, judged_windows
from pipeline.stores.registry import Candidate, Registry
from pipeline.telemetry import Progress
from pipeline.verification.evaluation import CLIMATE, evaluate_domain
from pipeline.verification.grounds import event_label
from pipeline.verification.statistics import Statistics, stitched
from pipeline.windows.folds import fold_boundaries

_DAY = 86400


def champion_before(registry: Registry, as_of: datetime, model_id: str) -> Promotion | None:
    """The champion in force at an instant, but for what the evidence on this model made of it at that very instant."""
    due = [
        (moment, number, entry)
        for number, entry in enumerate(registry.promotions())
        if (moment := parse_instant(entry.as_of)) <= as_of
        and not (moment == as_of and entry.model_id == model_id and entry.how in ("evidence", "approval"))
    ]
    return max(due, key=lambda found: found[:2])[2] if due else None


def makers_of(champion: Promotion) -> dict[str, dict[tuple[str, str], str]]:
    """Per model that publishes for a target: the targets, and which of its forecasts is published for each."""
    found: dict[str, dict[tuple[str, str], str]] = {champion.model_id: {}}
    for verdict in champion.verdicts:
        found.setdefault(verdict.model_id or champion.model_id, {})[verdict.domain, verdict.variable] = verdict.published
    return found


def damaged_champion(model_id: str, error: StoreError) -> StoreError:
    """That a file of a model that is published is damaged, with the ways on."""
    ways = "or name another champion: cubecast models promote MODEL, or cubecast models rollback"
    return StoreError(asked=f"champion {model_id}: {error.asked}", found=error.found, mend=f"{error.mend}; {ways}")


@dataclass(frozen=True, kw_only=True, eq=False)
class ScoredChampion:
    """What the champion publishes, scored as `champion`; per domain why it could not be."""

    statistics: Statistics
    not_comparable: Mapping[str, str] = field(default_factory=dict)


def score_champion(
    world: World, registry: Registry, champion: Promotion, as_of: datetime, inputs: reading.Inputs, progress: Progress
) -> ScoredChampion:
    """The champion on the test windows of a candidate with cut-off `as_of`, on whole days that none of its models was fitted on.

    `inputs` are the world as of that cut-off. A model that cannot be read, or not applied to these cubes, is named.
    """
    parts: dict[str, dict[str, Statistics]] = {}
    reasons: dict[str, str] = {}
    makers = makers_of(champion)
    for model_id, targets in makers.items():
        domains = {domain for domain, _ in targets}
        try:
            candidate = registry.candidate(model_id)
            models = reading.load_models(candidate)
            windows = reading.windows_of(world, candidate, inputs, as_of=to_seconds(as_of), live=False)
        except (ContractError, ConfigError, StoreError) as error:
            why = "cannot be read" if isinstance(error, StoreError) else "does not fit these cubes or this version"
            reasons |= dict.fromkeys(domains, f"model {model_id} {why}: {error.asked}: {error.found}")
            continue
        for domain in sorted(domains):
            found = _scored(world, candidate, models, windows, domain, targets, inputs.cubes, progress)
            if isinstance(found, str):
                reasons[domain] = found
            else:
                parts.setdefault(domain, {})[model_id] = found
    whole = [_together(world, domain, parts[domain], makers) for domain in parts if domain not in reasons]
    return ScoredChampion(statistics=Statistics.added(whole), not_comparable=dict(sorted(reasons.items())))


def _scored(
    world: World,
    candidate: Candidate,
    models: reading.Models,
    windows: WindowSet,
    domain: str,
    targets: Mapping[tuple[str, str], str],
    cubes: Mapping[str, DomainCube],
    progress: Progress,
) -> Statistics | str:
    """The statistics of a model's targets in a domain, or why there are none."""
    if domain not in windows.domains or not models.of(domain):
        return f"model {candidate.model_id} does not forecast this domain"
    view = windows.domains[domain]
    since = _unseen_from(world, candidate, domain)
    judged_W = judged_windows(world, view)
    index_W = judged_W[view.issue_time_W[judged_W] >= since]
    if not len(index_W):
        return f"model {candidate.model_id} was fitted on all of these windows, or there is none"
    climate = models.of(domain).get(CLIMATE)
    try:
        ground = calibrating.ground_of(world, windows, domain, cubes[domain], judged_W)
        publishing = calibrating.walk_of(ground, _published(models, windows, domain, targets))
        with progress.stage(f"champion on {domain}", len(index_W), "windows") as stage:
            return evaluate_domain(
                windows,
                domain,
                {CHAMPION: calibrating.told_by(publishing)},
                cubes[domain].values_TNV,
                index_W,
                stage.advance,
                grounds_of=grounds_in(world, windows, {domain: cubes[domain].nodes}, domain),
                climate=None if climate is None else calibrating.quantiles_of(climate),
            )
    except ContractError as error:
        return f"model {candidate.model_id} does not fit these windows: {error.found}"


def _unseen_from(world: World, candidate: Candidate, domain: str) -> int:
    """The first whole day (seconds UTC) that nothing of a model was fitted or stopped on."""
    cut_off = to_seconds(candidate.as_of)
    same = candidate.card.get("world_digest") in (None, world.digest)
    fitted_until = fold_boundaries(world, domain, cut_off)[1] if same else cut_off
    return -(-fitted_until // _DAY) * _DAY


def _published(models: reading.Models, windows: WindowSet, domain: str, targets: Mapping[tuple[str, str], str]) -> Raw:
    """For each variable the model's own quantiles of which are published; of those not among the targets any."""
    known, view = models.of(domain), windows.domains[domain]
    fallback = next(name for name in (*BASELINES, JOINT) if name in known)
    chosen = [targets.get((domain, view.variables[v]), fallback) for v in view.targets]
    chosen = [name if name in known else fallback for name in chosen]

    def raw(index_W: NDArray[np.int64]) -> NDArray[np.float32]:
        made = {name: known[name].predict(windows, domain, index_W, split=False).quantiles_BLNVQ for name in dict.fromkeys(chosen)}
        return np.stack([made[name][:, :, :, v] for v, name in enumerate(chosen)], axis=3)

    return raw


def _together(
    world: World, domain: str, parts: Mapping[str, Statistics], makers: Mapping[str, Mapping[tuple[str, str], str]]
) -> Statistics:
    """One model's statistics; of several each for its own targets."""
    if len(parts) == 1:
        return next(iter(parts.values()))
    axis = next(iter(parts.values())).axes[domain]
    owner = {variable: model_id for model_id in parts for d, variable in makers[model_id] if d == domain}
    first = next(iter(parts))
    events = {event_label(n, e, axis.units[axis.variables.index(e.variable)]): e.variable for n, e in world.domains[domain].events.items()}
    return stitched(domain, [parts[owner.get(variable, first)] for variable in axis.variables], events)
