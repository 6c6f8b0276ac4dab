"""The numbers of a forecast page: one JSON document, per domain and variable, as the page's script reads them.

Shape suffixes: P past step, L lead, N node, V target variable, Q quantile. Arrays lie flat, node fastest.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.contracts.cubes import DomainCube
from pipeline.contracts.forecasts import BASELINES, CHAMPION, JOINT, MEDIAN, QUANTILES, DomainForecast, Forecast
from pipeline.contracts.scores import Promotion, Scorecard, ScoreRow
from pipeline.contracts.times import parse_instant, to_seconds
from pipeline.contracts.worlds import World
from pipeline.publishing.words import MODEL_NAMES, instant_text, label_text, model_text, places_for, unit_text


@dataclass(frozen=True, kw_only=True, eq=False)
class PageInputs:
    """All that a page shows; every optional part has an honest empty state.

    Attributes:
        cubes: Per domain the recent past as of the issue time.
        came: Per domain what came at the valid times (L, N, V), NaN where nothing good was observed; absent: not verified.
        scorecard: Scores of the champion on its held-out fold.
        verified: Scores of all published forecasts so far, lead 0 rows are used.
        verified_issues: How many published forecasts those scores come from.
        explanation: Per domain alpha, beta and w of the joint model.
        products: Name and place of each product, as shown.
    """

    world: World
    forecast: Forecast
    revision: int
    cubes: Mapping[str, DomainCube]
    came: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    scorecard: Scorecard | None = None
    verified: tuple[ScoreRow, ...] = ()
    verified_issues: int = 0
    explanation: Mapping[str, Any] = field(default_factory=dict)
    promotion: Promotion | None = None
    card: Mapping[str, Any] = field(default_factory=dict)
    products: Mapping[str, str] = field(default_factory=dict)
    version: str = ""


def page_data(page: PageInputs) -> dict[str, Any]:
    """The JSON document of a page."""
    world = page.world
    return {
        "world": {"name": world.name, "title": world.title, "zone": world.timezone},
        "issue_time": page.forecast.issue_time,
        "levels": list(QUANTILES),
        "model_names": MODEL_NAMES,
        "domains": [_domain(page, name) for name in world.domains if name in page.forecast.domains],
    }


def _domain(page: PageInputs, name: str) -> dict[str, Any]:
    d, cube, settings = page.forecast.domains[name], page.cubes[name], page.world.domains[name]
    at = {node: i for i, node in enumerate(cube.nodes.ids)}
    order = np.array([at[node] for node in d.node_ids])
    step = 86400 if settings.clock.step is None else int(settings.clock.step.total_seconds())
    shown = min(len(cube.valid_time), max(20, 2 * settings.horizon))
    past_PNV = _observed(cube, d, order)[len(cube.valid_time) - shown :]
    titles = {other: page.world.domains[other].title for other in page.world.domains}
    return {
        "name": name,
        "title": settings.title,
        "step": step,
        "nodes": list(d.node_ids),
        "lat": _numbers(cube.nodes.latitude[order]),
        "lon": _numbers(cube.nodes.longitude[order]),
        "ends": None if cube.nodes.ends is None else [_numbers(row) for row in cube.nodes.ends[order]],
        "grid": cube.nodes.shape,
        "first": int(np.argmax(np.isfinite(past_PNV[..., 0]).sum(axis=0) * 1e6 + np.abs(np.nan_to_num(past_PNV[..., 0])).sum(axis=0))),
        "valid": d.valid_time_L.tolist(),
        "lead": d.lead_time_L.tolist(),
        "past": cube.valid_time[len(cube.valid_time) - shown :].tolist(),
        "parts": list(d.parts),
        "part_names": [_part_text(part, titles) for part in d.parts],
        "explain": _explain(page.explanation.get(name), d, titles, step),
        "variables": [_variable(page, d, v, past_PNV[..., v], step) for v in range(len(d.variables))],
    }


def _observed(cube: DomainCube, d: DomainForecast, order: NDArray[np.int64]) -> NDArray[np.float32]:
    good = np.where(cube.flags_TNV == 0, cube.values_TNV, np.nan).astype(np.float32)
    return good[:, order][..., [cube.variables.index(variable) for variable in d.variables]]


def _variable(page: PageInputs, d: DomainForecast, v: int, past_PN: NDArray[np.float32], step: int) -> dict[str, Any]:
    name = d.variables[v]
    settings = page.world.domains[d.domain].variables[name]
    shown = np.concatenate([past_PN[np.isfinite(past_PN)], d.quantiles_LNVQ[:, :, v, MEDIAN].ravel()])
    low, high = np.percentile(shown, [2, 98])
    model = d.model_V[v]
    anchor = "the last value" if settings.anchor == "last" else "the value one season before"
    came = page.came.get(d.domain)
    return {
        "name": name,
        "label": label_text(name, settings.long_name),
        "unit": unit_text(d.units[v]),
        "places": 2 if settings.scale == "relative" else min(3, places_for(float(high - low))),
        "relative": settings.scale == "relative",
        "model": model,
        "anchor": anchor if model == JOINT else f"all of it: {model_text(model).lower()}",
        "q": [_numbers(d.quantiles_LNVQ[:, :, v, q]) for q in range(len(QUANTILES))],
        "split": [_numbers(d.split_LNVP[:, :, v, p]) for p in range(len(d.parts))],
        "past": _numbers(past_PN),
        "last": _numbers(_last(past_PN)),
        "came": None if came is None else _numbers(came[..., v]),
        **_scores(page, d, name, step),
    }


def _last(past_PN: NDArray[np.float32]) -> NDArray[np.float32]:
    """The newest good value of each node (N), NaN where there is none."""
    if not len(past_PN):
        return np.full(past_PN.shape[1], np.nan, np.float32)
    good = np.isfinite(past_PN)
    newest = len(past_PN) - 1 - np.argmax(good[::-1], axis=0)
    last: NDArray[np.float32] = np.where(good.any(axis=0), past_PN[newest, np.arange(past_PN.shape[1])], np.nan)
    return last


def _scores(page: PageInputs, d: DomainForecast, variable: str, step: int) -> dict[str, Any]:
    card = page.scorecard
    rows = [r for r in card.rows if (r.domain, r.variable) == (d.domain, variable) and r.model != CHAMPION] if card else []
    models = _ordered({r.model for r in rows})
    named = {(r.model, r.lead): _figures(r) for r in rows}
    leads = sorted({r.lead for r in rows} - {0})
    joint = named.get((JOINT, 0), {}).get("mae")
    later = [r for r in page.verified if (r.domain, r.variable, r.lead) == (d.domain, variable, 0)]
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
        "verified": {
            "sentence": f"{page.verified_issues} published forecast{'s' if page.verified_issues != 1 else ''} compared with what came: "
            f"{later[0].n:,} of {later[0].expected:,} values observed so far.",
            "rows": [{"model": m, **_figures(r)} for m in _ordered({r.model for r in later}) for r in later if r.model == m],
        }
        if later and later[0].n
        else None,
    }


def _sentence(page: PageInputs, d: DomainForecast, rows: list[ScoreRow]) -> str:
    card = page.scorecard
    overall = {r.model: r.mae for r in rows if r.lead == 0}
    joint, rivals = overall.get(JOINT), {m: mae for m, mae in overall.items() if m != JOINT and mae}
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
    return (
        f"Held-out days {start} to {end}, {card.windows.get(d.domain, 0):,} issue times that no model has seen. "
        f"The joint model errs {abs(saved):.{0 if abs(saved) >= 10 else 1}f} % {'less' if saved >= 0 else 'more'} than the best baseline ({model_text(best).lower()})."
    )


def _figures(row: ScoreRow) -> dict[str, Any]:
    return {name: getattr(row, name) for name in ("mae", "rmse", "pinball", "coverage_80", "n")}


def _ordered(models: set[str]) -> list[str]:
    first = [m for m in ("published", JOINT, *BASELINES) if m in models]
    return first + sorted(models - set(first))


def _part_text(part: str, titles: Mapping[str, str]) -> str:
    names = {"anchor": "Anchor", "series": "Its own series", "space": "Neighbours in space"}
    return names.get(part, titles.get(part, label_text(part)))


def _explain(found: Mapping[str, Any] | None, d: DomainForecast, titles: Mapping[str, str], step: int) -> dict[str, Any] | None:
    """Alpha (N), beta (L, N) and w per other domain (L) in the forecast's node order; None where nothing was left."""
    if not found:
        return None
    nodes, leads = len(d.node_ids), len(d.valid_time_L)
    at = {node: i for i, node in enumerate(found.get("node_ids", d.node_ids))}
    if any(node not in at for node in d.node_ids):
        return None
    order = [at[node] for node in d.node_ids]
    alpha, beta = np.asarray(found["alpha"], float).reshape(-1), np.asarray(found["beta"], float)
    beta_LN = (
        beta.reshape(len(at), leads).T if beta.shape[:1] == (len(at),) and beta.size == len(at) * leads else beta.reshape(leads, nodes)
    )
    weights = {other: np.broadcast_to(np.asarray(w, float), (leads,)) for other, w in found.get("w_y", found.get("w", {})).items()}
    return {
        "alpha": _numbers(alpha[order]),
        "beta": _numbers(beta_LN[:, order]),
        "w": {other: _numbers(w) for other, w in weights.items()},
        "names": {other: _part_text(other, titles) for other in weights},
        "lead_times": [step * (lead + 1) for lead in range(leads)],
    }


def _numbers(array: NDArray[Any]) -> list[float | None]:
    """Flat numbers with six significant digits, None for NaN."""
    return [float(f"{x:.6g}") if x - x == 0 else None for x in np.asarray(array, float).ravel().tolist()]
