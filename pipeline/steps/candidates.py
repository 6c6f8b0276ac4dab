"""What a world's registry says of its models, as JSON-able content: all of them, one, or one against another."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import datetime
from typing import Any

from pipeline.contracts.forecasts import JOINT
from pipeline.contracts.scores import Decision, Promotion, Scorecard, Verdict
from pipeline.contracts.times import format_instant, parse_instant, to_seconds
from pipeline.contracts.worlds import World
from pipeline.errors import NotYetAvailable
from pipeline.steps import reading
from pipeline.steps.evaluate import headline
from pipeline.steps.promote import champion_as_of, statistics_of
from pipeline.stores.registry import Candidate, Registry
from pipeline.verification.differences import adjusted
from pipeline.verification.promotion import verdicts
from pipeline.verification.versus import Scored, versus


def list_candidates(registry: Registry, world_name: str, as_of: datetime) -> dict[str, Any]:
    """Every model trained by an instant, the champion then, what is published per target, how it came to be, and what waits."""
    champion = champion_as_of(registry, as_of)
    models = [_summary(registry, c, champion) for c in registry.candidates() if c.as_of <= as_of]
    entries = [p for p in registry.promotions() if parse_instant(p.as_of) <= as_of]
    return {
        "world": world_name,
        "as_of": format_instant(as_of),
        "champion": champion.model_id if champion else None,
        "published": [_published(v, champion) for v in champion.verdicts] if champion else [],
        "models": models,
        "proposals": [_proposal(d) for d in registry.decisions.pending(as_of)],
        "promotions": [_entry(p) for p in entries],
    }


def show_candidate(registry: Registry, world: World, model_id: str) -> dict[str, Any]:
    """The card of a model, its scorecard, the verdicts on it, the decisions and the promotions that name it.

    The verdicts are those of the newest decision, or, where it was never up for promotion, those of its statistics alone.
    """
    candidate = registry.candidate(model_id)
    card = _scorecard(registry, candidate.model_id)
    known = [d for d in registry.decisions.read() if d.model_id == candidate.model_id]
    decided: tuple[Verdict, ...] = known[-1].verdicts if known else ()
    if card and not known:
        decided = verdicts(statistics_of(registry, candidate.model_id), world.promotion, candidate=candidate.model_id)
    return {
        "world": world.name,
        "model_id": candidate.model_id,
        "card": candidate.card,
        "files": list(candidate.file_names),
        "scorecard": card.model_dump(mode="json") if card else None,
        "outages": _outages(registry, candidate.model_id),
        "verdicts": [verdict.model_dump(mode="json") for verdict in decided],
        "decisions": [d.model_dump(mode="json", exclude={"verdicts", "world"}) for d in known],
        "promotions": [_entry(p) for p in registry.promotions() if p.model_id == candidate.model_id],
    }


def compare_candidates(registry: Registry, world_name: str, first: str, second: str) -> dict[str, Any]:
    """Per target the MAE of two joint models on the held-out windows that both were scored on, with 95 % intervals.

    Intervals and p-values are given as they are and adjusted for the number of targets (Bonferroni; Holm, Benjamini-Hochberg).

    Raises:
        NotYetAvailable: One is not there, or was never evaluated.
    """
    ids = [registry.candidate(name).model_id for name in (first, second)]
    cards = [registry.scorecard(name) for name in ids]
    scored = [Scored(statistics=statistics_of(registry, name), periods=_periods(card)) for name, card in zip(ids, cards, strict=True)]
    notes = [] if cards[0].snapshot == cards[1].snapshot else ["they were scored on different snapshots of the cube: revisions differ"]
    found = versus(scored[0], scored[1], JOINT)
    sure = adjusted([row.difference for row in found])
    return {
        "world": world_name,
        "first": ids[0],
        "second": ids[1],
        "periods": {"first": cards[0].periods, "second": cards[1].periods},
        "targets": [asdict(row) | asdict(among) for row, among in zip(found, sure, strict=True)],
        "notes": notes,
    }


def explain_candidate(registry: Registry, world_name: str, model_id: str) -> dict[str, Any]:
    """How a model mixes, per domain: alpha per node, beta per node and lead, w per modality and lead; and, where it was
    evaluated, its error with each modality switched off.

    Raises:
        NotYetAvailable: There is no such model.
        ContractError: This version cannot read it.
    """
    candidate = registry.candidate(model_id)
    joint, found = reading.load_models(candidate).predictors[JOINT], _outages(registry, candidate.model_id)
    domains = {name: own | {"outages": found.get(name, {})} for name, own in joint.explain().items()}
    head = {"world": world_name, "model_id": candidate.model_id, "recipe": candidate.card.get("recipe")}
    return head | {"config_digest": candidate.card.get("config_digest"), "domains": domains}


def _summary(registry: Registry, candidate: Candidate, champion: Promotion | None) -> dict[str, Any]:
    card = _scorecard(registry, candidate.model_id)
    return {
        "model_id": candidate.model_id,
        "as_of": format_instant(candidate.as_of),
        "recipe": candidate.card.get("recipe"),
        "champion": champion is not None and champion.model_id == candidate.model_id,
        "evaluated": card is not None,
        "headline": headline(card.rows) if card else [],
    }


def _scorecard(registry: Registry, model_id: str) -> Scorecard | None:
    try:
        return registry.scorecard(model_id)
    except NotYetAvailable:
        return None


def _outages(registry: Registry, model_id: str) -> dict[str, Any]:
    """Per domain, modality and target the error with and without it; empty where the model was never evaluated."""
    try:
        explanation = registry.evidence(model_id).read("explanation.json")
    except NotYetAvailable:
        return {}
    domains = {} if explanation is None else json.loads(explanation)
    return {name: own["outages"] for name, own in domains.items() if own.get("outages")}


def _periods(card: Scorecard) -> dict[str, tuple[int, int]]:
    return {name: (to_seconds(parse_instant(first)), to_seconds(parse_instant(last))) for name, (first, last) in card.periods.items()}


def _entry(promotion: Promotion) -> dict[str, Any]:
    """An entry of the champion's log without the reasons of each verdict."""
    published = {f"{v.domain}.{v.variable}": v.published for v in promotion.verdicts}
    fields = ("as_of", "model_id", "previous", "how", "reason")
    return {name: getattr(promotion, name) for name in fields} | {"published": published}


def _published(verdict: Verdict, champion: Promotion) -> dict[str, str]:
    return {**verdict.model_dump(include={"domain", "variable", "published"}), "model_id": verdict.model_id or champion.model_id}


def _proposal(decision: Decision) -> dict[str, Any]:
    published = {f"{v.domain}.{v.variable}": v.published for v in decision.verdicts if v.model_id == decision.model_id}
    return decision.model_dump(mode="json", include={"model_id", "as_of", "champion", "expires", "reason"}) | {"takes": published}
