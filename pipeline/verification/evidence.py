"""What a target is held against the baselines on: a candidate's held-out windows, or a replay by models of its kind."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pipeline.contracts.forecasts import JOINT
from pipeline.contracts.judging import PromotionRules
from pipeline.contracts.scores import ScoreRow
from pipeline.verification.metrics import score_rows
from pipeline.verification.statistics import Statistics

Rows = Mapping[tuple[str, str, str], ScoreRow]
"""By domain, variable and model, over all leads."""


@dataclass(frozen=True, kw_only=True)
class Replay:
    """What forecasts by models of the candidate's kind scored, each made as of its issue time; `name` is its lane."""

    name: str
    statistics: Statistics


@dataclass(frozen=True, kw_only=True)
class Ground:
    """What a target is judged on by itself: the held-out windows, or a replay."""

    statistics: Statistics
    rows: Mapping[str, ScoreRow]
    told: str = ""


def overall(statistics: Statistics) -> Rows:
    """The rows of all leads together."""
    return {(r.domain, r.variable, r.model): r for r in score_rows(statistics, by_lead=False)}


def ground_in(replay: Replay | None, rows: Rows, rules: PromotionRules, domain: str, variable: str) -> Ground | None:
    """A replay as the ground of a target's judgement; None where it has too few days of it."""
    joint = rows.get((domain, variable, JOINT))
    if replay is None or joint is None or not joint.n or len(replay.statistics.days(domain, JOINT)) < rules.replayed_days:
        return None
    own = {model: row for (d, v, model), row in rows.items() if (d, v) == (domain, variable)}
    return Ground(statistics=replay.statistics, rows=own, told=f"in replay {replay.name}, ")
