"""Forecasting: what is published at an issue time, per target by the model that was promoted for it, calibrated as of then."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pipeline.alignment.as_of import earlier
from pipeline.calibration.blocks import Conditions, Targets, probabilities, published
from pipeline.calibration.calibration import Calibration
from pipeline.contracts.cubes import DomainCube
from pipeline.contracts.forecasts import BASELINES, JOINT, DomainForecast, Forecast
from pipeline.contracts.judging import AVAILABILITY
from pipeline.contracts.scores import Promotion
from pipeline.contracts.times import format_instant, from_seconds
from pipeline.contracts.windows import WindowSet
from pipeline.contracts.worlds import World
from pipeline.errors import NotYetAvailable, StoreError
from pipeline.monitoring.freshness import freshness, inputs
from pipeline.settings import Settings, code_version
from pipeline.steps import reading
from pipeline.steps.calibrating import Book, conditions_of, pace_in
from pipeline.steps.incumbents import damaged_champion, makers_of
from pipeline.steps.looking import looked_at
from pipeline.stores.registry import Candidate, Registry
from pipeline.windows.regimes import regimes_at

if TYPE_CHECKING:
    from models.api import Prediction


@dataclass(frozen=True, kw_only=True)
class Maker:
    """A model that publishes for some targets: loaded, and with its calibrations."""

    candidate: Candidate
    models: reading.Models
    book: Book


def load_maker(world: World, settings: Settings, registry: Registry, model_id: str) -> Maker:
    """A model of the registry, ready to forecast.

    Raises:
        StoreError: A file of it is damaged; the mend names the ways on.
    """
    candidate = registry.candidate(model_id)
    try:
        models = reading.load_models(candidate)
        return Maker(candidate=candidate, models=models, book=Book(world, settings, candidate, models))
    except StoreError as error:
        raise damaged_champion(candidate.model_id, error) from error


def make_forecast(
    world: World,
    champion: Promotion,
    makers: Mapping[str, Maker],
    known: reading.Inputs,
    issue_time: int,
    marks: Mapping[str, str] | None = None,
    *,
    look: bool = False,
) -> Forecast:
    """The forecast issued at an instant (seconds UTC), the same bits from what was known at any later one.

    Args:
        world: The world.
        champion: What is published for each target, in force at the issue time.
        makers: Every model that publishes for a target, by its id; the champion's own among them.
        known: At the issue time or later, at least from where `reading.open_inputs` reads for a live window.
        issue_time: What became available later is not seen.
        marks: More keys of the provenance.
        look: Whether to ask the joint model what it looked at for the largest changes; it makes no other forecast.

    Raises:
        NotYetAvailable: No domain has a value in its context.
    """
    main, calibrated = makers[champion.model_id], {}
    windows = reading.windows_of(world, main.candidate, known, as_of=issue_time, live=True)
    domains = {}
    explanation: dict[str, Any] = {}
    for name in windows.domains:
        if (made := _domain(world, windows, name, issue_time, main, champion, known)) is not None:
            domains[name], calibrated[name] = made
            if look and JOINT in main.models.of(name) and (index_W := _live(windows, name, issue_time)) is not None:
                explanation |= {name: found} if (found := looked_at(windows, index_W, made[0], main.models.of(name)[JOINT])) else {}
    made_by = makers_of(champion)
    others = {model_id: maker for model_id, maker in sorted(makers.items()) if model_id != champion.model_id}
    for model_id, maker in others.items():
        theirs = reading.windows_of(world, maker.candidate, known, as_of=issue_time, live=True)
        for name in sorted({domain for domain, _ in made_by.get(model_id, {})} & domains.keys() & theirs.domains.keys()):
            if (made := _domain(world, theirs, name, issue_time, maker, champion, known)) is not None:
                held = frozenset(variable for domain, variable in made_by[model_id] if domain == name)
                domains[name] = _joined(world, domains[name], made[0], held)
    if not domains:
        raise NotYetAvailable(
            asked=f"forecast at {format_instant(from_seconds(issue_time))}",
            found=f"no domain of {', '.join(world.domains)} has a value in its context, the steps just before it",
            mend="land, observe and build the cube up to it, or ask for an issue time at which there are data",
        )
    absent = [name for name in world.domains if name not in domains]
    provenance = _provenance(world, main.candidate, champion, windows, issue_time, _inputs(world, known.cubes, issue_time), absent)
    provenance |= {
        kind: found for kind, found in (("future", _runs(windows, issue_time)), ("texts", _documents(windows, issue_time))) if found
    }
    provenance["calibration"] = calibrated
    if others:
        provenance["made_by"] = {f"{d}.{v}": m for m in others for d, v in sorted(made_by.get(m, {}))}
    provenance |= marks or {}
    provenance |= {"explanation": explanation} if explanation else {}
    return Forecast(world=world.name, issue_time=issue_time, domains=domains, provenance=provenance)


def _inputs(world: World, cubes: Mapping[str, DomainCube], issue_time: int) -> dict[str, Any]:
    """What was there of each domain and how old it was, within the reach of a live window."""
    needed, found = reading.needed_from(world, issue_time), {}
    for name, cube in cubes.items():
        steps, begin = world.domains[name].context, int(np.searchsorted(cube.valid_time, needed[name]))
        recent = max(begin, int(np.searchsorted(cube.valid_time, issue_time, side="right")) - steps)
        found[name] = freshness(earlier(cube, issue_time, first=recent), as_of=issue_time, steps=steps)
        if any(row.newest_time is None for row in found[name]):
            found[name] = freshness(earlier(cube, issue_time, first=begin), as_of=issue_time, steps=steps)
    return inputs(found)


def _runs(windows: WindowSet, issue_time: int) -> dict[str, dict[str, Any] | None]:
    """Per domain the run of others' forecasts that its window uses, and the share of its targets that this speaks of; None without one."""
    found: dict[str, dict[str, Any] | None] = {}
    for name, view in windows.domains.items():
        if (future := view.future) is None or (index_W := _live(windows, name, issue_time)) is None:
            continue
        found[name] = None
        if (run := int(future.run_W[index_W[0]])) >= 0:
            first = int(view.end_W[index_W[0]]) + 1 - int(future.first_step_I[run])
            good_HNF = future.good_IHNF[run, max(first, 0) : max(first + view.horizon, 0)]
            found[name] = {
                "init_time": format_instant(from_seconds(int(future.init_time_I[run]))),
                "known_time": format_instant(from_seconds(int(future.available_time_I[run]))),
                "age_seconds": issue_time - int(future.init_time_I[run]),
                "share_present": float(good_HNF.sum() / max(view.horizon * good_HNF[0:1].size, 1)),
            }
    return found


def _documents(windows: WindowSet, issue_time: int) -> dict[str, dict[str, Any]]:
    """Per stream how many documents windows of an instant see, and how old the newest is."""
    found = {}
    for name, texts in windows.texts.items():
        seen = texts.available_time_D[(texts.available_time_D <= issue_time) & (texts.available_time_D > issue_time - texts.reach)]
        found[name] = {"documents": len(seen), "age_seconds": issue_time - int(seen[-1]) if len(seen) else None}
    return found


def _live(windows: WindowSet, domain: str, issue_time: int) -> NDArray[np.int64] | None:
    """The window at the issue time; None where there is none, or no good value in its context."""
    view = windows.domains[domain]
    index_W = view.windows_of("live")
    index_W = index_W[view.issue_time_W[index_W] == issue_time][-1:]
    if not len(index_W):
        return None
    last = int(view.end_W[index_W[0]])
    return index_W if view.good_TNV[last - view.context + 1 : last + 1].any() else None


def _domain(
    world: World, windows: WindowSet, domain: str, issue_time: int, maker: Maker, champion: Promotion, known: reading.Inputs
) -> tuple[DomainForecast, str | None] | None:
    """One domain's forecast, and the instant up to whose outcomes it is calibrated; None where it has no context or no model."""
    index_W, models = _live(windows, domain, issue_time), maker.models.of(domain)
    if index_W is None or not models:
        return None
    view = windows.domains[domain]
    regimes = regimes_at(world, windows, domain, index_W)
    states, targets = maker.book.at(domain, issue_time, known), maker.book.targets(view)
    conditions = conditions_of(world, view, index_W, regimes[AVAILABILITY])
    predicted = {name: model.predict(windows, domain, index_W) for name, model in models.items()}
    quantiles = {
        name: published(states[name], targets, p.quantiles_BLNVQ, conditions) if name in states else p.quantiles_BLNVQ
        for name, p in predicted.items()
    }
    decided = {v.variable: v.published for v in champion.verdicts if v.domain == domain}
    variables = tuple(view.variables[v] for v in view.targets)
    fallback = next(name for name in (*BASELINES, JOINT) if name in models)
    model_V = tuple(chosen if (chosen := decided.get(name)) in predicted else fallback for name in variables)
    parts = next(iter(predicted.values())).parts
    split = np.stack([_split(predicted[m], parts)[:, :, v] for v, m in enumerate(model_V)], axis=2)
    first = int(view.end_W[index_W[0]]) + 1
    valid_time_L = view.valid_time_T[first : first + view.horizon].astype(np.int64)
    made = DomainForecast(
        domain=domain,
        variables=variables,
        units=tuple(view.units[v] for v in view.targets),
        node_ids=view.node_ids,
        valid_time_L=valid_time_L,
        lead_time_L=valid_time_L - view.issue_time_W[index_W[0]],
        quantiles_LNVQ=np.stack([quantiles[m][0, :, :, v] for v, m in enumerate(model_V)], axis=2).astype(np.float32),
        parts=parts,
        split_LNVP=split.astype(np.float32),
        model_V=model_V,
        rivals={name: q[0].astype(np.float32) for name, q in quantiles.items()},
        events=_events(states, targets, {m: predicted[m].quantiles_BLNVQ for m in set(model_V)}, conditions, model_V),
        regimes={name: codes[0] for name, codes in regimes.items()},
    )
    block = next((state.block for state in states.values()), None)
    pace = pace_in(world, domain)
    return made, None if block is None else format_instant(from_seconds(pace.begin(block + 1)))


def _events(
    states: Mapping[str, Calibration],
    targets: Targets,
    raw: Mapping[str, NDArray[np.float32]],
    conditions: Conditions,
    model_V: tuple[str, ...],
) -> dict[str, NDArray[np.float32]]:
    """The probability (L, N) of each event, by the model that is published for its variable."""
    plain = Calibration.start(0, targets.shape, tuple(targets.events))
    told = {model: probabilities(states.get(model, plain), targets, q, conditions) for model, q in raw.items()}
    return {name: told[model_V[v]][name][0] for name, (v, _) in targets.events.items()}


def _joined(world: World, ours: DomainForecast, theirs: DomainForecast, held: frozenset[str]) -> DomainForecast:
    """A domain's forecast with the variables that another model still publishes taken from that, at the nodes that it knows."""
    at = {node: n for n, node in enumerate(theirs.node_ids)}
    here = [n for n, node in enumerate(ours.node_ids) if node in at]
    there = [at[ours.node_ids[n]] for n in here]
    parts = (*ours.parts, *(part for part in theirs.parts if part not in ours.parts))
    more = [(0, 0)] * 3 + [(0, len(parts) - len(ours.parts))]
    quantiles, split, models = ours.quantiles_LNVQ.copy(), np.pad(ours.split_LNVP, more), list(ours.model_V)
    for v, variable in enumerate(ours.variables):
        if variable not in held or variable not in theirs.variables:
            continue
        their = theirs.variables.index(variable)
        quantiles[:, here, v] = theirs.quantiles_LNVQ[:, there, their]
        split[:, here, v] = 0
        for p, part in enumerate(theirs.parts):
            split[:, here, v, parts.index(part)] = theirs.split_LNVP[:, there, their, p]
        models[v] = theirs.model_V[their]
    events = {name: probability.copy() for name, probability in ours.events.items()}
    for name in events:
        if world.domains[ours.domain].events[name].variable in held and name in theirs.events:
            events[name][:, here] = theirs.events[name][:, there]
    return replace(ours, quantiles_LNVQ=quantiles, split_LNVP=split, parts=parts, model_V=tuple(models), events=events)


def _split(prediction: Prediction, parts: tuple[str, ...]) -> NDArray[np.float32]:
    """The split (L, N, V, P) of the one window along `parts`; a part the model has not is zero."""
    known = prediction.parts
    given = prediction.split_BLNVP[0]
    zero = np.zeros(given.shape[:-1], np.float32)
    return np.stack([given[..., known.index(p)] if p in known else zero for p in parts], axis=-1)


def _provenance(
    world: World, candidate: Candidate, champion: Promotion, windows: WindowSet, issue_time: int, state: dict[str, Any], absent: list[str]
) -> dict[str, Any]:
    return {
        "world": world.name,
        "world_digest": world.digest,
        "code_version": code_version(),
        "snapshot": windows.snapshot,
        "window_digest": windows.digest,
        "model_id": candidate.model_id,
        "model_as_of": format_instant(candidate.as_of),
        "promoted_as_of": champion.as_of,
        "config_digest": candidate.card.get("config_digest"),
        "seed": candidate.card.get("seed"),
        "issue_time": issue_time,
        "inputs": state,
        "absent": absent,
    }
