"""Metrics: what additive statistics say, as rows of a scorecard."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.contracts.forecasts import BASELINES
from pipeline.contracts.scores import EventRow, Reliability, ScoreRow
from pipeline.verification.cells import BELOW, PINBALLS, UPTO
from pipeline.verification.events import EVENTS, ONSETS, WARNING_BINS
from pipeline.verification.statistics import STATISTICS, Axis, Statistics

_ONSETS = [EVENTS.index(name) for name in ONSETS]


def score_rows(statistics: Statistics, *, by_lead: bool = True) -> tuple[ScoreRow, ...]:
    """One row per domain, variable, model and lead, and lead 0 for all leads together, in that order; or lead 0 only.

    `pinball` is the mean over the quantile levels (twice it is the CRPS); bias is forecast - observation.
    Figures are None where nothing was observed, or where they have no meaning.
    """
    rows = []
    for domain in sorted(statistics.axes):
        axis = statistics.axes[domain]
        for model in statistics.models(domain):
            by_lead_VLS = statistics.total(domain, model) if by_lead else np.zeros(0)
            together_VS = statistics.total(domain, model, over_leads=True)
            for v, variable in enumerate(axis.variables):
                about: dict[str, Any] = {"domain": domain, "variable": variable, "model": model}
                rows.append(ScoreRow(**about, lead=0, lead_time=0, **figures(STATISTICS, together_VS[v])))
                leads = enumerate(axis.lead_times if by_lead else ())
                rows += [ScoreRow(**about, lead=i + 1, lead_time=s, **figures(STATISTICS, by_lead_VLS[v, i])) for i, s in leads]
    return _with_skill(rows)


def slice_rows(statistics: Statistics) -> tuple[ScoreRow, ...]:
    """One row per domain, variable, model, part and group of leads, and lead 0 for all leads of the part together."""
    rows = []
    for domain in sorted(statistics.axes):
        axis = statistics.axes[domain]
        for model in statistics.models(domain):
            for table in statistics.tables(domain, model, "part"):
                numbers_VKS = statistics.table(domain, model, table)
                for v, variable in enumerate(axis.variables):
                    about: dict[str, Any] = {
                        "domain": domain,
                        "variable": variable,
                        "model": model,
                        "kind": table.kind,
                        "label": table.label,
                    }
                    rows += _parts(about, axis, numbers_VKS[v])
    return _with_skill(rows)


def event_rows(statistics: Statistics) -> tuple[EventRow, ...]:
    """One row per domain, event, model and lead, and of each part by group of leads; lead 0 is all leads together."""
    rows = []
    for domain in sorted(statistics.axes):
        axis = statistics.axes[domain]
        for model in statistics.models(domain):
            for table in statistics.tables(domain, model, "event"):
                numbers = statistics.table(domain, model, table)
                groups = axis.lead_groups if table.kind else [(i + 1, i + 1) for i in range(len(numbers))]
                about: dict[str, Any] = {"domain": domain, "event": table.event, "model": model, "kind": table.kind, "label": table.label}
                onsets_LS = statistics.table(domain, model, replace(table, what="onset")) if table.kind else numbers[:, _ONSETS]
                whole: dict[str, Any] = {"leads": (1, len(axis.lead_times)), "warning_lead_time": _time_under_warning(axis, onsets_LS)}
                rows.append(EventRow(**about, **whole, lead=0, lead_time=0, **_event(numbers.sum(axis=0))))
                rows += [
                    EventRow(**about, leads=group, lead=group[1], lead_time=axis.lead_times[group[1] - 1], **_event(numbers[k]))
                    for k, group in enumerate(groups)
                ]
    return tuple(sorted(rows, key=lambda r: (r.domain, r.event, r.model, r.kind, r.label, r.lead)))


def figures(names: tuple[str, ...], sums_S: NDArray[np.float64]) -> dict[str, Any]:
    """The fields of a ScoreRow that some sums give; `names` are `STATISTICS`, or some of them."""
    at = {name: float(value) for name, value in zip(names, sums_S, strict=True)}
    expected, n = int(at["expected"]), int(at["n"])
    found: dict[str, Any] = {"expected": expected, "n": n, "missing": expected - n}
    empty = dict.fromkeys(("mae", "rmse", "bias", "pinball", "coverage_80", "coverage_90"))
    if not n:
        return {**found, **empty}
    pinball = sum(at[name] for name in PINBALLS) / len(PINBALLS) / n
    below = [(at[low] + at[high]) / 2 / n for low, high in zip(BELOW, UPTO, strict=True)]
    return found | {
        "mae": at["absolute"] / n,
        "rmse": float(np.sqrt(at["squared"] / n)),
        "bias": at["error"] / n,
        "pinball": pinball,
        "crps": 2 * pinball,
        "coverage_80": (at["upto_90"] - at["below_10"]) / n,
        "coverage_90": (at["upto_95"] - at["below_05"]) / n,
        "width_80": at["width_80"] / n,
        "width_90": at["width_90"] / n,
        "pit": tuple(float(x) for x in np.diff([0.0, *below, 1.0])),
        "mape": _share(at["percent"], at["nonzero"]),
        "direction": _share(at["direction"], at["changes"]),
        "energy": _share(at.get("energy", 0), at.get("fields", 0)),
        "ic": _share(at.get("ic", 0), at.get("correlated", 0)),
        "rank_ic": _share(at.get("rank_ic", 0), at.get("correlated", 0)),
        "acc": _share(at.get("anomaly_product", 0), np.sqrt(at.get("anomaly_forecast", 0) * at.get("anomaly_observed", 0))),
        "rmse_weighted": None if not at.get("weight") else float(np.sqrt(at["weighted_squared"] / at["weight"])),
    }


def _share(part: float, whole: float) -> float | None:
    return float(part / whole) if whole > 0 else None


def _parts(about: dict[str, Any], axis: Axis, numbers_KS: NDArray[np.float64]) -> list[ScoreRow]:
    groups = axis.lead_groups
    rows = [ScoreRow(**about, lead=0, lead_time=0, leads=(1, groups[-1][1]), **figures(STATISTICS, numbers_KS.sum(axis=0)))]
    for k, (first, last) in enumerate(groups):
        rows.append(
            ScoreRow(**about, lead=last, lead_time=axis.lead_times[last - 1], leads=(first, last), **figures(STATISTICS, numbers_KS[k]))
        )
    return rows


def _with_skill(rows: Iterable[ScoreRow]) -> tuple[ScoreRow, ...]:
    """The rows in order, each with what it saves of each baseline's MAE on the same cells."""
    together: dict[tuple[Any, ...], list[ScoreRow]] = defaultdict(list)
    for row in rows:
        together[row.domain, row.variable, row.kind, row.label, row.lead].append(row)
    found = []
    for same in together.values():
        rivals = {r.model: r.mae for r in same if r.model in BASELINES and r.mae}
        for row in same:
            skill = {} if row.mae is None else {name: 1 - row.mae / mae for name, mae in rivals.items() if name != row.model}
            found.append(row.model_copy(update={"skill": skill}))
    return tuple(sorted(found, key=lambda r: (r.domain, r.variable, r.kind, r.label, r.model, r.lead)))


def _event(numbers_S: NDArray[np.float64]) -> dict[str, Any]:
    """The figures of an EventRow."""
    at = dict(zip(EVENTS, (float(x) for x in numbers_S), strict=True))
    n, happened, hits, warned, onsets = (int(at[name]) for name in ("n", "happened", "hits", "warned", "onsets"))
    brier, rate = _share(at["brier"], n), _share(happened, n)
    constant = 0.0 if rate is None else rate * (1 - rate)
    return {
        "n": n,
        "happened": happened,
        "hits": hits,
        "misses": happened - hits,
        "false_alarms": warned - hits,
        "brier": brier,
        "brier_skill": None if brier is None or constant == 0 else 1 - brier / constant,
        "pod": _share(hits, happened),
        "far": _share(warned - hits, warned),
        "csi": _share(hits, happened + warned - hits),
        "onsets": onsets,
        "warned_onsets": int(at["warned_onsets"]),
        "reliability": _reliability(at),
    }


def _time_under_warning(axis: Axis, onsets_LS: NDArray[np.float64]) -> float | None:
    """Seconds: the sum over leads of the share of onsets warned of at that lead, times the step to the lead before."""
    onsets, warned = (onsets_LS[:, ONSETS.index(name)] for name in ("onsets", "warned_onsets"))
    if not onsets.any():
        return None
    steps = np.diff([0, *axis.lead_times])
    return float((steps * np.divide(warned, onsets, out=np.zeros(len(onsets)), where=onsets > 0)).sum())


def _reliability(at: dict[str, float]) -> tuple[Reliability, ...]:
    found = []
    for b in range(WARNING_BINS):
        n = int(at[f"bin_{b}_n"])
        if n:
            found.append(Reliability(n=n, probability=at[f"bin_{b}_probability"] / n, observed=at[f"bin_{b}_happened"] / n))
    return tuple(found)
