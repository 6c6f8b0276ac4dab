"""The scores on a page: skill by lead, calibration, and what came since publication."""

from __future__ import annotations

from typing import Any

import numpy as np

from pipeline.contracts.forecasts import BASELINES, CHAMPION, JOINT, QUANTILES, DomainForecast
from pipeline.contracts.scores import ScoreRow
from pipeline.contracts.times import parse_instant, to_seconds
from pipeline.publishing.page_inputs import PageInputs
from pipeline.publishing.words import instant_text, model_text, places_for

FIGURES = ("mae", "rmse", "bias", "pinball", "coverage_80", "coverage_90", "n")


def scores(page: PageInputs, d: DomainForecast, variable: str) -> dict[str, Any]:
    """The scores of one target."""
    card, step = page.scorecard, page.step_seconds(d.domain)
    rows = [r for r in card.rows if (r.domain, r.variable) == (d.domain, variable)] if card else []
    models = ordered({r.model for r in rows})
    named = {(r.model, r.lead): _figures(r) for r in rows}
    leads = sorted({r.lead for r in rows} - {0})
    joint = named.get((JOINT, 0), {}).get("mae")
    later = [r for r in page.verified if (r.domain, r.variable, r.lead) == (d.domain, variable, 0)]
    together = [r for r in rows if r.lead == 0]
    return {
        "score_places": places_for(joint or 0.0, 3),
        "scores": {
            "models": models,
            "lead_times": [step * lead for lead in leads],
            "all": {m: named[m, 0] for m in models},
            "leads": {m: [named[m, lead] for lead in leads] for m in models},
            "sentence": _sentence(page, d, rows),
        }
        if rows
        else None,
        "calibration": {
            "heldout": {r.model: _reliability(r) for r in together},
            "since": {r.model: _reliability(r) for r in later if r.model == "published" and r.n},
        },
        "verified": _verified(page, later) if later and later[0].n else None,
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


def _sentence(page: PageInputs, d: DomainForecast, rows: list[ScoreRow]) -> str:
    card = page.scorecard
    overall = {r.model: r.mae for r in rows if r.lead == 0}
    joint, rivals = overall.get(JOINT), {m: mae for m, mae in overall.items() if m not in (JOINT, CHAMPION) and mae}
    if card is None or not any(mae is not None for mae in overall.values()):
        return "Nothing was observed on the held-out days."
    issues = f"Held-out issue times: {card.windows.get(d.domain, 0):,}."
    if joint is None:
        return f"{issues} The joint model does not forecast this domain."
    if not rivals:
        return f"{issues} No baseline to compare with."
    best = min(rivals, key=lambda m: rivals[m])
    saved = 100 * (1 - joint / rivals[best])
    start, end = (instant_text(to_seconds(parse_instant(t)), page.world.zone).rsplit(",", 1)[0] for t in card.periods[d.domain])
    size, way = f"{abs(saved):.{0 if abs(saved) >= 10 else 1}f}", "less" if saved >= 0 else "more"
    return (
        f"Held-out days {start} to {end}, {card.windows.get(d.domain, 0):,} issue times that no model has seen. "
        f"The joint model errs {size} % {way} than the best baseline ({model_text(best).lower()})."
    )


def _figures(row: ScoreRow) -> dict[str, Any]:
    return {name: getattr(row, name) for name in FIGURES}


def ordered(models: set[str]) -> list[str]:
    """Models in the order in which they are shown."""
    first = [m for m in ("published", JOINT, CHAMPION, *BASELINES) if m in models]
    return first + sorted(models - set(first))
