"""predict: the champion as of the issue time, on what was known at the issue time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pipeline.alignment.as_of import earlier
from pipeline.api import PredictRequest, Receipt
from pipeline.contracts.cubes import DomainCube
from pipeline.contracts.forecasts import BASELINES, JOINT, DomainForecast, Forecast
from pipeline.contracts.scores import Promotion
from pipeline.contracts.times import format_instant, from_seconds, to_seconds
from pipeline.contracts.windows import WindowSet
from pipeline.contracts.world_files import load_world
from pipeline.contracts.worlds import World
from pipeline.errors import LookaheadError, NotYetAvailable
from pipeline.monitoring.freshness import freshness, inputs
from pipeline.publishing.tables import headline
from pipeline.settings import Settings, code_version
from pipeline.steps import reading
from pipeline.steps.incumbents import makers_of
from pipeline.steps.looking import looked_at
from pipeline.stores.forecasts import ForecastStore
from pipeline.stores.objects import ObjectStore
from pipeline.stores.registry import Candidate, Registry
from pipeline.telemetry import Progress
from pipeline.windows.regimes import regimes_at

if TYPE_CHECKING:
    from models.api import Prediction, Predictor


def run(request: PredictRequest, settings: Settings, progress: Progress) -> Receipt:
    """The forecast of every domain that has its context; per target by the model that was promoted for it.

    Raises:
        NotYetAvailable: Nothing was promoted by the issue time, or no domain has its context yet.
        LookaheadError: The champion was trained on data later than the issue time.
    """
    world = load_world(request.world)
    objects = ObjectStore(settings.store)
    registry = Registry(objects, world.name)
    champion = registry.champion(request.as_of)
    candidate = registry.candidate(champion.model_id)
    if candidate.as_of > request.as_of:
        raise LookaheadError(
            asked=f"forecast at {format_instant(request.as_of)}",
            found=f"champion {candidate.model_id} trained on data until {format_instant(candidate.as_of)}",
            mend="promote a model with an earlier cut-off, or ask for a later issue time",
        )
    issue_time = to_seconds(request.as_of)
    known = reading.open_inputs(world, settings, request.as_of, live=True)
    with progress.stage("predict", len(known.cubes), "domains") as stage:
        others = {m: (other := registry.candidate(m), reading.load_models(other)) for m in makers_of(champion) if m != candidate.model_id}
        forecast = make_forecast(world, champion, candidate, reading.load_models(candidate), known, issue_time, others=others, look=True)
        stage.advance(len(known.cubes))
    issued, created = ForecastStore(objects, world.name).add(forecast)
    return Receipt(
        step=request.step,
        world=world.name,
        as_of=request.as_of,
        outcome="done" if created else "unchanged",
        ids={"model_id": candidate.model_id, "forecast": issued.digest, "snapshot": forecast.provenance["snapshot"]},
        counts={
            "domains": len(forecast.domains),
            "values": sum(d.quantiles_LNVQ[..., 0].size for d in forecast.domains.values()),
            "revision": issued.revision,
        },
        paths={"forecast": issued.url},
        notes=tuple(f"domain {name} has no context at this issue time and is not forecast" for name in forecast.provenance["absent"]),
        details={
            "inputs": {d: {k: v for k, v in row.items() if k != "variables"} for d, row in forecast.provenance["inputs"].items()},
            "published": {d: dict(zip(f.variables, f.model_V, strict=True)) for d, f in forecast.domains.items()},
            "headline": {d: headline(f) for d, f in forecast.domains.items()},
        },
    )


def make_forecast(
    world: World,
    champion: Promotion,
    candidate: Candidate,
    models: reading.Models,
    known: reading.Inputs,
    issue_time: int,
    marks: Mapping[str, str] | None = None,
    *,
    others: Mapping[str, tuple[Candidate, reading.Models]] | None = None,
    look: bool = False,
) -> Forecast:
    """The forecast issued at an instant (seconds UTC), the same bits from what was known at any later one.

    Args:
        world: The world.
        champion: What is published for each target, in force at the issue time.
        candidate: The champion's model.
        models: The same, loaded.
        known: At the issue time or later, at least from where `reading.open_inputs` reads for a live window.
        issue_time: What became available later is not seen.
        marks: More keys of the provenance.
        others: Earlier models that still publish some targets, by their id, loaded.
        look: Whether to ask the joint model what it looked at for the largest changes; it makes no other forecast.

    Raises:
        NotYetAvailable: No domain has a value in its context.
    """
    windows = reading.windows_of(world, candidate, known, as_of=issue_time, live=True)
    domains, absent = {}, [name for name in world.domains if name not in windows.domains]
    explanation: dict[str, Any] = {}
    for name in windows.domains:
        index_W = _live(windows, name, issue_time)
        if index_W is None or not models.of(name):
            absent.append(name)
        else:
            made = _domain(windows, name, index_W, models.of(name), champion)
            domains[name] = replace(made, regimes={k: v[0] for k, v in regimes_at(world, windows, name, index_W).items()})
            if look and JOINT in models.of(name) and (found := looked_at(windows, index_W, made, models.of(name)[JOINT])):
                explanation[name] = found
    made_by = makers_of(champion)
    for model_id, (other, loaded) in sorted((others or {}).items()):
        theirs = reading.windows_of(world, other, known, as_of=issue_time, live=True)
        for name in sorted({domain for domain, _ in made_by.get(model_id, {})} & domains.keys() & theirs.domains.keys()):
            index_W = _live(theirs, name, issue_time)
            if index_W is not None and loaded.of(name):
                held = frozenset(variable for domain, variable in made_by[model_id] if domain == name)
                domains[name] = _joined(domains[name], _domain(theirs, name, index_W, loaded.of(name), champion), held)
    if not domains:
        raise NotYetAvailable(
            asked=f"forecast at {format_instant(from_seconds(issue_time))}",
            found=f"no domain of {', '.join(world.domains)} has a value in its context, the steps just before it",
            mend="land, observe and build the cube up to it, or ask for an issue time at which there are data",
        )
    provenance = _provenance(world, candidate, champion, windows, issue_time, _inputs(world, known.cubes, issue_time), absent)
    if others:
        provenance["made_by"] = {f"{d}.{v}": m for m in sorted(others) for d, v in sorted(made_by.get(m, {}))}
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
    windows: WindowSet, domain: str, index_W: NDArray[np.int64], models: dict[str, Predictor], champion: Promotion
) -> DomainForecast:
    view = windows.domains[domain]
    predicted = {name: model.predict(windows, domain, index_W) for name, model in models.items()}
    decided = {v.variable: v.published for v in champion.verdicts if v.domain == domain}
    variables = tuple(view.variables[v] for v in view.targets)
    fallback = next(name for name in (*BASELINES, JOINT) if name in models)
    model_V = tuple(chosen if (chosen := decided.get(name)) in predicted else fallback for name in variables)
    parts = next(iter(predicted.values())).parts
    quantiles = np.stack([predicted[m].quantiles_BLNVQ[0, :, :, v] for v, m in enumerate(model_V)], axis=2)
    split = np.stack([_split(predicted[m], parts)[:, :, v] for v, m in enumerate(model_V)], axis=2)
    first = int(view.end_W[index_W[0]]) + 1
    valid_time_L = view.valid_time_T[first : first + view.horizon].astype(np.int64)
    return DomainForecast(
        domain=domain,
        variables=variables,
        units=tuple(view.units[v] for v in view.targets),
        node_ids=view.node_ids,
        valid_time_L=valid_time_L,
        lead_time_L=valid_time_L - view.issue_time_W[index_W[0]],
        quantiles_LNVQ=quantiles.astype(np.float32),
        parts=parts,
        split_LNVP=split.astype(np.float32),
        model_V=model_V,
        rivals={name: p.quantiles_BLNVQ[0].astype(np.float32) for name, p in predicted.items()},
    )


def _joined(ours: DomainForecast, theirs: DomainForecast, held: frozenset[str]) -> DomainForecast:
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
    return replace(ours, quantiles_LNVQ=quantiles, split_LNVP=split, parts=parts, model_V=tuple(models))


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
