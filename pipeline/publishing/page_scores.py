"""The scores on a page: skill by lead and calibration, on held-out days and in replay, and what came since publication."""

from __future__ import annotations

from typing import Any

import numpy as np

from pipeline.contracts.forecasts import BASELINES, CHAMPION, JOINT, QUANTILES, DomainForecast
from pipeline.contracts.scores import Scorecard, ScoreRow
from pipeline.contracts.times import parse_instant, to_seconds
from pipeline.contracts.units import signed_text
from pipeline.publishing.page_inputs import PageInputs
from pipeline.publishing.words import instant_text, model_text, places_for, unit_text

FIGURES = ("mae", "rmse", "bias", "pinball", "coverage_80", "coverage_90", "n")


def scores(page: PageInputs, d: DomainForecast, variable: str) -> dict[str, Any]:
    """The scores of one target."""
    cards = {"heldout": page.scorecard, "replay": page.replay.card if page.replay else None}
    rows = {source: _rows(card, d.domain, variable) for source, card in cards.items()}
    told = {"heldout": _heldout(page, d, rows["heldout"]), "replay": _replayed(page, d, rows["replay"])}
    later = [r for r in page.verified if (r.domain, r.variable, r.lead) == (d.domain, variable, 0)]
    joint = next((r.mae for found in rows.values() for r in found if (r.model, r.lead) == (JOINT, 0)), None)
    since = {r.model: _reliability(r) for r in later if r.model == "published" and r.n}
    return {
        "score_places": places_for(joint or 0.0, 3),
        "scores": {source: _by_lead(found, page.step_seconds(d.domain), told[source]) for source, found in rows.items() if found},
        "calibration": {source: {r.model: _reliability(r) for r in found if r.lead == 0} for source, found in rows.items()}
        | {"since": since},
        "verified": _verified(page, later) if later and later[0].n else None,
    }


def _rows(card: Scorecard | None, domain: str, variable: str) -> list[ScoreRow]:
    return [r for r in card.rows if (r.domain, r.variable) == (domain, variable)] if card else []


def _by_lead(rows: list[ScoreRow], step: int, sentence: str) -> dict[str, Any]:
    """The figures of every model, over all leads and at each."""
    models = ordered({r.model for r in rows})
    named = {(r.model, r.lead): _figures(r) for r in rows}
    leads = sorted({r.lead for r in rows} - {0})
    return {
        "models": models,
        "lead_times": [step * lead for lead in leads],
        "all": {m: named[m, 0] for m in models},
        "leads": {m: [named[m, lead] for lead in leads] for m in models},
        "sentence": sentence,
    }


def _verified(page: PageInputs, later: list[ScoreRow]) -> dict[str, Any]:
    count = page.verified_issues
    compared = f"{count} published forecast{'s' if count != 1 else ''} compared with what came"
    return {
        "sentence": f"{compared}: {later[0].n:,} of {later[0].expected:,} values observed so far.",
        "rows": [{"model": m, **_figures(r)} for m in ordered({r.model for r in later}) for r in later if r.model == m],
    }


def _reliability(row: ScoreRow) -> dict[str, Any]:
    """Shares of the observations at or below each quantile level, and in the bins between, where they were counted."""
    pit = row.pit
    below = [round(float(x), 4) for x in np.cumsum(pit)[:-1]] if len(pit) == len(QUANTILES) + 1 else None
    return {
        "n": row.n,
        "in_80": row.coverage_80,
        "in_90": row.coverage_90,
        "below": below,
        "pit": [round(float(x), 4) for x in pit] or None,
    }


def _heldout(page: PageInputs, d: DomainForecast, rows: list[ScoreRow]) -> str:
    card = page.scorecard
    if card is None or not _observed(rows):
        return "Nothing was observed on the held-out days."
    issues = f"{card.windows.get(d.domain, 0):,} issue times that no model has seen"
    return f"Held-out days {_days(page, card, d.domain)}, {issues}. {_against_baselines(rows, card)}"


def _replayed(page: PageInputs, d: DomainForecast, rows: list[ScoreRow]) -> str:
    if page.replay is None or not _observed(rows):
        return "Nothing was observed in replay."
    card, retrain = page.replay.card, page.replay.retrain
    how = "by the models that were live then" if retrain == "none" else f"by models trained {retrain} on what was known"
    issues = f"{card.windows.get(d.domain, 0):,} past issue times forecast as they would have been, {how}"
    return f"Replay {_days(page, card, d.domain)}: {issues}. {_against_baselines(rows, card)}"


def _observed(rows: list[ScoreRow]) -> bool:
    return any(r.lead == 0 and r.mae is not None for r in rows)


def _days(page: PageInputs, card: Scorecard, domain: str) -> str:
    start, end = (instant_text(to_seconds(parse_instant(t)), page.world.zone).rsplit(",", 1)[0] for t in card.periods[domain])
    return f"{start} to {end}"


def _against_baselines(rows: list[ScoreRow], card: Scorecard) -> str:
    overall = {r.model: r.mae for r in rows if r.lead == 0}
    joint, rivals = overall.get(JOINT), {m: mae for m, mae in overall.items() if m not in (JOINT, CHAMPION, "published") and mae}
    if joint is None:
        return "The joint model does not forecast this domain."
    if not rivals:
        return "No baseline to compare with."
    best = min(rivals, key=lambda m: rivals[m])
    saved = 100 * (1 - joint / rivals[best])
    size, way = f"{abs(saved):.{0 if abs(saved) >= 10 else 1}f}", "less" if saved >= 0 else "more"
    return f"The joint model errs {size} % {way} than the best baseline ({model_text(best).lower()}{_sure(card, rows[0], best)})."


def _sure(card: Scorecard, target: ScoreRow, rival: str) -> str:
    """The interval of the difference from a rival that holds for every comparison of the card at once."""
    found = [d for d in card.differences if (d.domain, d.variable, d.rival) == (target.domain, target.variable, rival)]
    d = found[0] if found else None
    if d is None or d.all_low is None or d.all_high is None:
        return ""
    count = sum(each.all_low is not None for each in card.differences)
    span = f"{signed_text(d.all_low)} to {signed_text(d.all_high)} {unit_text(d.unit)}".strip().replace("-", "\N{MINUS SIGN}")
    return f"; difference {span} over {d.days} days, 95 % sure for all {count} comparisons at once"


def _figures(row: ScoreRow) -> dict[str, Any]:
    return {name: getattr(row, name) for name in FIGURES}


def ordered(models: set[str]) -> list[str]:
    """Models in the order in which they are shown."""
    first = [m for m in ("published", JOINT, CHAMPION, *BASELINES) if m in models]
    return first + sorted(models - set(first))
