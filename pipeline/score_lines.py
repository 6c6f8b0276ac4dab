"""Scores as tables for people: every figure of a scorecard, by lead, by what its cells are told apart by, or of events."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

from pipeline.contracts.units import signed_text
from pipeline.text_tables import table

Row = Mapping[str, Any]
Way = Literal["all", "lead", "region", "hour", "availability", "regime", "event", "warning", "warning_lead", "rival"]
WAYS: tuple[Way, ...] = get_args(Way)
"""How scores are told apart: not at all, by lead, by node group, by time of day, by regime, by what happened; or what came
of warnings, in each part or at each lead; or how sure the differences from the rivals are."""

_FIGURES = ("mae", "rmse", "bias", "mape", "pinball", "crps", "energy", "direction", "ic", "rank_ic", "acc", "rmse_weighted")
_SHARES = ("mape", "direction", "coverage_80", "coverage_90")
_MORE = ("coverage_80", "width_80", "coverage_90", "width_90")
_TITLES = {"mae": "MAE", "rmse": "RMSE", "mape": "MAPE", "crps": "CRPS", "ic": "IC", "rank_ic": "rank IC", "acc": "ACC"}
_TITLES |= {"coverage_80": "80 %", "width_80": "wide", "coverage_90": "90 %", "width_90": "wide ", "rmse_weighted": "RMSE by area"}
_EVENT_FIGURES = ("brier", "brier_skill", "pod", "far", "csi")
_KINDS = ("region", "hour", "availability", "event")


def score_tables(card: Mapping[str, Any], by: str) -> list[str]:
    """The tables of a scorecard (as JSON content) told apart in one way; a figure that no row has is no column."""
    found = rows_by({**card, "differences": card.get("differences", ())}, by)
    if by in ("warning", "warning_lead"):
        return _warnings(found, by)
    if by == "rival":
        return [difference_table(found)]
    rows = [row for row in found if by == "lead" or row["lead"] == 0]
    if not rows:
        return [f"no scores by {by} here"]
    sure = [difference_table(card.get("differences", ()))] if by == "all" else []
    return [_scores(rows, by), _skills(rows, by), _ranks(rows, by), *sure]


def table_name(by: str) -> str:
    """Which table of a scorecard has the rows that are told apart in a way."""
    return {"all": "rows", "lead": "rows", "warning": "events", "warning_lead": "events", "rival": "differences"}.get(by, "slices")


def rows_by(card: Mapping[str, Sequence[Row]], by: str) -> Sequence[Row]:
    """The rows of a scorecard that are told apart in one way; of parts by group of leads too."""
    rows = card[table_name(by)]
    if by in ("all", "lead"):
        return [row for row in rows if (row["lead"] == 0) == (by == "all")]
    if by == "warning_lead":
        return [row for row in rows if not row["kind"] and row["lead"] > 0]
    if by in ("warning", "rival"):
        return rows
    return [row for row in rows if row["kind"] == by or (by == "regime" and row["kind"] not in _KINDS)]


def difference_table(rows: Sequence[Row]) -> str:
    """The joint model against each rival, with what is sure of it by itself and among all of them."""
    if not rows:
        return "nothing to compare the joint model with here"
    lines = [
        (
            f"{row['domain']} {row['variable']} ({row['unit']})",
            row["rival"],
            _shown("", row["first"]),
            _shown("", row["second"]),
            *sure_cells(row, row),
            str(row["days"]),
        )
        for row in rows
    ]
    return table(("target", "rival", "MAE of joint", "of rival", *SURE_TITLES, "days"), lines)


SURE_TITLES = ("difference", "95 % (bootstrap)", "95 % (DM)", "95 % of all (DM)", "p", "p (Holm)", "p (BH)")
"""A difference, its intervals by block bootstrap, by Diebold and Mariano, and by these for all comparisons at once (Bonferroni)."""


def sure_cells(found: Row, among: Row) -> tuple[str, ...]:
    """The cells of `SURE_TITLES`: of a difference, and what is left of it among many."""
    ranges = [(found["low"], found["high"]), (found["dm_low"], found["dm_high"]), (among["all_low"], among["all_high"])]
    spans = ["too few days" if low is None else f"{signed_text(low)} to {signed_text(high)}" for low, high in ranges]
    return (signed_text(found["value"]), *spans, *(_shown("", p) for p in (found["p"], among["p_holm"], among["p_bh"])))


def _scores(rows: Sequence[Row], by: str) -> str:
    names = [name for name in (*_FIGURES, *_MORE) if any(row[name] is not None for row in rows)]
    titles = (*_where(by), "by", *(_TITLES.get(name, name) for name in names), "n", "missing")
    lines = [
        (*_place(row, by), row["model"], *(_shown(name, row[name]) for name in names), f"{row['n']:,}", f"{row['missing']:,}")
        for row in rows
    ]
    return table(titles, lines)


def _skills(rows: Sequence[Row], by: str) -> str:
    rivals = list(dict.fromkeys(name for row in rows for name in row["skill"]))
    lines = [(*_place(row, by), row["model"], *(_percent(row["skill"].get(name)) for name in rivals)) for row in rows if row["skill"]]
    return "skill: share of each baseline's MAE that is saved\n" + table((*_where(by), "by", *rivals), lines)


def _ranks(rows: Sequence[Row], by: str) -> str:
    count = max((len(row["pit"]) for row in rows), default=0)
    lines = [(*_place(row, by), row["model"], *(f"{100 * share:.1f}" for share in row["pit"])) for row in rows if row["pit"]]
    return "rank histogram: % of what came below, between and above the quantiles\n" + table(
        (*_where(by), "by", *(f"bin {k + 1}" for k in range(count))), lines
    )


def _warnings(rows: Sequence[Row], by: str) -> list[str]:
    whole = [row for row in rows if by == "warning_lead" or row["lead"] == 0]
    if not whole:
        return ["no events in this world: [domains.NAME.events] declares them"]
    if by == "warning_lead":
        return [_warnings_by_lead(whole)]
    titles = ("event", "part", "by", "Brier", "skill", "POD", "FAR", "CSI", "hits", "misses", "false alarms", "onsets", "warned ahead")
    lines = [
        (
            f"{row['domain']} {row['event']}",
            f"{row['kind']} {row['label']}".strip() or "all",
            row["model"],
            *(_shown(name, row[name]) for name in _EVENT_FIGURES),
            *(f"{row[name]:,}" for name in ("hits", "misses", "false_alarms", "onsets")),
            "-" if row["warning_lead_time"] is None else f"{row['warning_lead_time'] / 60:.0f} min",
        )
        for row in whole
    ]
    bins = [
        (f"{row['domain']} {row['event']}", row["model"], _percent(each["probability"]), _percent(each["observed"]), f"{each['n']:,}")
        for row in whole
        for each in row["reliability"]
    ]
    return [table(titles, lines), "reliability\n" + table(("event", "by", "foretold", "came true", "n"), bins)]


def _warnings_by_lead(rows: Sequence[Row]) -> str:
    titles = ("event", "lead", "by", "Brier", "skill", "POD", "FAR", "CSI", "hits", "misses", "false alarms", "onsets", "warned of")
    counts = ("hits", "misses", "false_alarms", "onsets", "warned_onsets")
    lines = [
        (
            f"{row['domain']} {row['event']}",
            f"{row['lead']} ({row['lead_time'] / 60:.0f} min)",
            row["model"],
            *(_shown(name, row[name]) for name in _EVENT_FIGURES),
            *(f"{row[name]:,}" for name in counts),
        )
        for row in rows
    ]
    return table(titles, lines)


def _where(by: str) -> tuple[str, ...]:
    return ("target",) if by == "all" else ("target", by)


def _place(row: Row, by: str) -> tuple[str, ...]:
    target = f"{row['domain']} {row['variable']}"
    part = {"all": (), "lead": (str(row["lead"]),), "regime": (f"{row['kind']} {row['label']}",)}
    return (target, *part.get(by, (row["label"],)))


def _shown(name: str, value: float | None) -> str:
    return _percent(value) if name in _SHARES else "-" if value is None else f"{value:.4g}"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f} %"
