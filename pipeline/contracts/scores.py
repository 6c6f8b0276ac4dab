"""Scores: rows of a scorecard, verdicts on targets, and the entries of the champion's log."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict


class _Row(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ScoreRow(_Row):
    """Scores of one model for one domain, variable and lead (lead 0: all leads together), in physical units.

    `expected` counts the cells (window, node) of that lead; `n` those with a good observation, all of them scored;
    `missing` = expected - n. A figure that has no meaning here (a share of a value that may be zero, a correlation over
    too few nodes, the correlation of anomalies off a grid) is None.

    Attributes:
        kind, label: What it is a part of and which: `region`, `hour` (local, of the valid time), `availability`, a regime
            or an event of the world; empty for the whole. `leads` are then the first and the last lead of its group.
        skill: Per baseline 1 - MAE / its MAE.
        mape: Mean of |error| / |observation| over observations that are not zero, where a variable has a true zero.
        crps: Twice the mean pinball loss over the quantile levels.
        width_80, width_90: Mean width of the central intervals.
        pit: Share of the observations below, between and above the quantiles; ties are split in halves.
        energy: Energy score of the field over all nodes, mean over windows; members are the quantiles, all nodes at one level.
        direction: Share of the changes whose sign was foretold; a forecast of no change counts half.
        ic, rank_ic: Correlation over nodes of foretold and observed relative change, mean over windows.
        acc: Correlation of anomalies from the historical average, weighted by the cosine of the latitude.
        rmse_weighted: RMSE with those weights.
    """

    domain: str
    variable: str
    model: str
    lead: int
    lead_time: int
    expected: int
    n: int
    missing: int
    mae: float | None
    rmse: float | None
    bias: float | None
    pinball: float | None
    coverage_80: float | None
    coverage_90: float | None
    kind: str = ""
    label: str = ""
    leads: tuple[int, int] | None = None
    skill: dict[str, float] = {}
    mape: float | None = None
    crps: float | None = None
    width_80: float | None = None
    width_90: float | None = None
    pit: tuple[float, ...] = ()
    energy: float | None = None
    direction: float | None = None
    ic: float | None = None
    rank_ic: float | None = None
    acc: float | None = None
    rmse_weighted: float | None = None


class Reliability(_Row):
    """One bin of foretold probabilities: how many, their mean, and the share of them that came true."""

    n: int
    probability: float
    observed: float


class EventRow(_Row):
    """How well one model foretold one event at one lead, or of a part in one group of `leads` (lead 0: all leads together).

    `hits`, `misses` and `false_alarms` count cells at the event's warning threshold. `brier_skill` is against a constant
    forecast of the share of these cells in which it happened. `warning_lead_time` (seconds, lead 0 only) is the mean
    time under warning before an onset, a cell that was no event one step before: for each onset the sum over the leads
    at which it was warned of. An onset never warned of counts as zero, as does a lead at which no onset was scored.
    """

    domain: str
    event: str
    model: str
    lead: int
    lead_time: int
    n: int
    happened: int
    hits: int
    misses: int
    false_alarms: int
    brier: float | None
    brier_skill: float | None
    pod: float | None
    far: float | None
    csi: float | None
    onsets: int
    warned_onsets: int = 0
    warning_lead_time: float | None = None
    reliability: tuple[Reliability, ...] = ()
    kind: str = ""
    label: str = ""
    leads: tuple[int, int] | None = None


class DifferenceRow(_Row):
    """The MAE of a model minus that of a rival (negative: the model is better) for one target, and how sure that is.

    Both are of the days that both were scored on, in the target's unit. Figures are None where the days are fewer than three horizons, which say nothing.

    Attributes:
        first, second: The two MAE.
        low, high: 95 % interval from resampled blocks of days.
        dm_low, dm_high, error: 95 % interval of Diebold and Mariano, and the standard error that it comes from.
        all_low, all_high: The same, so wide that those of all comparisons of the table hold at once (Bonferroni).
        p, p_holm, p_bh: Of no difference (Diebold-Mariano), by itself and adjusted among all comparisons of the table.
    """

    domain: str
    variable: str
    unit: str
    model: str
    rival: str
    value: float
    first: float
    second: float
    days: int
    n: int
    low: float | None
    high: float | None
    dm_low: float | None
    dm_high: float | None
    error: float | None
    all_low: float | None
    all_high: float | None
    p: float | None
    p_holm: float | None
    p_bh: float | None


class Scorecard(_Row):
    """The joint model and every baseline on the same windows that neither has seen.

    Attributes:
        periods: Per domain the first and the last issue time that were scored.
        rows: The whole, per lead; `slices` its parts, per group of leads; `events` what came of warnings.
        differences: The joint model against each rival, per target.
        champion: The model whose published forecasts were scored on the same windows, as `champion`; None: there was none.
        config_digest: Of the recipe that the candidate was trained by.
        judged_by: Digest of the events, regimes and node groups that the scores are told apart by.
        notes: What was not comparable or not there, each with its reason.
    """

    world: str
    model_id: str
    as_of: str
    fold: str
    periods: dict[str, tuple[str, str]]
    snapshot: str
    windows: dict[str, int]
    rows: tuple[ScoreRow, ...]
    slices: tuple[ScoreRow, ...] = ()
    events: tuple[EventRow, ...] = ()
    differences: tuple[DifferenceRow, ...] = ()
    champion: str | None = None
    config_digest: str = ""
    judged_by: str = ""
    notes: tuple[str, ...] = ()


class Check(_Row):
    """One condition of a promotion: what was asked, whether it held, the number found and the bound it was held against."""

    name: str
    passed: bool
    value: float | None = None
    bound: float | None = None
    text: str = ""


class Verdict(_Row):
    """What is published for one target, and why.

    `published` is `joint` or a baseline of the model `model_id`; None there means the promotion's own model.
    """

    domain: str
    variable: str
    published: str
    reasons: tuple[str, ...]
    model_id: str | None = None
    checks: tuple[Check, ...] = ()


class Promotion(_Row):
    """One entry of the champion's log; the newest entry with `as_of` at or before T names the champion as of T.

    `how` it came about: by the evidence alone, by a person's approval of it, by hand, or as a rollback that names an
    earlier champion again.
    """

    world: str
    as_of: str
    model_id: str
    previous: str | None
    verdicts: tuple[Verdict, ...]
    reason: str
    how: Literal["evidence", "approval", "hand", "rollback"] = "evidence"


class Decision(_Row):
    """One entry of the log of decisions: what the evidence said of a candidate as of an instant, and what came of it.

    `promoted` and `kept` are final. `pending` waits for a person until `expires`; a later entry of the same candidate
    and `as_of` says `approved` or `rejected`, when (`decided`) and why; with none by then the champion stays.
    """

    world: str
    as_of: str
    model_id: str
    champion: str | None
    outcome: Literal["promoted", "kept", "pending", "approved", "rejected"]
    verdicts: tuple[Verdict, ...]
    expires: str | None = None
    decided: str | None = None
    reason: str = ""
