"""Every figure of a scorecard equals the plain formula, or the library that has it, to 1e-9, over the whole and in its parts."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import scores.categorical
import scores.continuous
import scoringrules
import xarray as xr
from scipy.stats import spearmanr

from pipeline.contracts.forecasts import MEDIAN, QUANTILES
from pipeline.contracts.judging import Event
from pipeline.contracts.scores import EventRow, ScoreRow
from pipeline.verification.events import event_probability, happened
from pipeline.verification.fields import MEMBER_WEIGHTS
from pipeline.verification.grounds import Grounds, Watched
from pipeline.verification.metrics import event_rows, score_rows, slice_rows
from pipeline.verification.scoring import score_windows
from pipeline.verification.statistics import Axis, Statistics

W, L, N, V = 20, 5, 9, 2
AXIS = Axis(variables=("count", "price"), units=("1", "EUR"), lead_times=(300, 600, 900, 1200, 1500))
SLOW = Event(variable="count", below=15.0, warn_at=0.4)
NEAR = 1e-9


def _cases(seed: int = 0) -> dict[str, Any]:
    random = np.random.default_rng(seed)
    truth = random.gamma(2, 10, (W, L, N, V)).astype(np.float32)
    truth[random.random(truth.shape) < 0.1] = 0
    quantiles = np.sort(random.gamma(2, 10, (W, L, N, V, len(QUANTILES))), axis=-1).astype(np.float32)
    quantiles[0, 0, :, :, :3] = 0  # ties with the zeros
    good = random.random(truth.shape) < 0.8
    origin = random.gamma(2, 10, (W, N, V)).astype(np.float32)
    origin[0, 0] = np.nan
    return {
        "truth": truth,
        "good": good,
        "q": quantiles,
        "rival": np.sort(random.gamma(2, 12, quantiles.shape), axis=-1).astype(np.float32),
        "origin": origin,
        "region": np.arange(N) % 2,
        "hour": random.integers(0, 3, (W, L)),
        "wet": random.integers(0, 3, (W, N)).astype(np.int8),
        "weight": random.random(N) + 0.5,
        "climate": random.gamma(2, 10, truth.shape).astype(np.float32),
    }


CASES = _cases()


def _scored(cases: dict[str, Any] = CASES, *, probability: np.ndarray | None = None) -> Statistics:
    grounds = Grounds(
        regions=("north", "south"),
        region_N=cases["region"],
        hour_WL=cases["hour"],
        regimes={"wet": (("no", "yes", "unknown"), cases["wet"])},
        events={"slow": Watched(event=SLOW, variable=0, probability_WLN=probability)},
        ratio_V=(True, False),
        relative_V=(False, True),
        origin_WNV=cases["origin"],
        weight_N=cases["weight"],
        climate_WLNV=cases["climate"],
    )
    parts = [
        score_windows(
            domain="d",
            axis=AXIS,
            model=model,
            issue_time_W=np.arange(W, dtype=np.int64) * 40000,
            truth_WLNV=np.where(cases["good"], cases["truth"], np.float32(np.nan)),
            good_WLNV=cases["good"],
            quantiles_WLNVQ=cases[key],
            grounds=grounds,
        )
        for model, key in (("joint", "q"), ("ridge", "rival"))
    ]
    return Statistics.added(parts)


STATISTICS = _scored()
WHOLE = {(r.variable, r.model, r.lead): r for r in score_rows(STATISTICS)}
SLICES = {(r.variable, r.model, r.kind, r.label, r.lead): r for r in slice_rows(STATISTICS)}


def _plain(row: ScoreRow, mask: np.ndarray, v: int, key: str = "q") -> None:
    """Hold a row against plain formulas on the good cells within a mask (W, L, N)."""
    within = mask & CASES["good"][..., v]
    y, q = CASES["truth"][..., v][within].astype(float), CASES[key][..., v, :][within].astype(float)
    error = q[:, MEDIAN] - y
    assert row.n == within.sum()
    assert row.missing == row.expected - row.n
    assert row.mae == pytest.approx(np.abs(error).mean(), rel=NEAR)
    assert row.rmse == pytest.approx(np.sqrt((error**2).mean()), rel=NEAR)
    assert row.bias == pytest.approx(error.mean(), rel=NEAR, abs=NEAR)
    pinball = np.mean([scoringrules.quantile_score(y, q[:, i], level).mean() for i, level in enumerate(QUANTILES)])
    assert row.pinball == pytest.approx(pinball, rel=NEAR)
    assert row.crps == pytest.approx(scoringrules.crps_quantile(y, q, np.array(QUANTILES)).mean(), rel=NEAR)
    assert row.coverage_80 == pytest.approx(((q[:, 1] <= y) & (y <= q[:, 5])).mean(), rel=NEAR)
    assert row.coverage_90 == pytest.approx(((q[:, 0] <= y) & (y <= q[:, 6])).mean(), rel=NEAR)
    assert row.width_80 == pytest.approx((q[:, 5] - q[:, 1]).mean(), rel=NEAR)
    assert row.width_90 == pytest.approx((q[:, 6] - q[:, 0]).mean(), rel=NEAR)
    middle = [((y < q[:, i]).mean() + (y <= q[:, i]).mean()) / 2 for i in range(len(QUANTILES))]
    assert row.pit == pytest.approx(np.diff([0, *middle, 1]), abs=NEAR)
    if v == 0:
        assert row.mape == pytest.approx(np.abs(error[y != 0] / y[y != 0]).mean(), rel=NEAR)
    else:
        assert row.mape is None


@pytest.mark.parametrize("v", range(V))
@pytest.mark.parametrize("lead", range(L + 1))
def test_the_whole_equals_plain_formulas_and_the_libraries(v: int, lead: int) -> None:
    mask = np.ones((W, L, N), bool) if lead == 0 else np.broadcast_to(np.arange(L)[:, None] == lead - 1, (W, L, N))
    row = WHOLE[AXIS.variables[v], "joint", lead]
    assert row.expected == mask.sum()
    _plain(row, mask, v)
    rival = WHOLE[AXIS.variables[v], "ridge", lead]
    assert row.skill == {"ridge": pytest.approx(1 - (row.mae or 0) / (rival.mae or 1), rel=NEAR)}
    assert rival.skill == {}


def _group(lead: int) -> np.ndarray:
    first, last = {0: (1, L), 2: (1, 2), 3: (3, 3), 5: (4, 5)}[lead]
    return (np.arange(1, L + 1) >= first) & (np.arange(1, L + 1) <= last)


@pytest.mark.parametrize("lead", [0, 2, 3, 5])
@pytest.mark.parametrize("v", range(V))
def test_each_part_equals_plain_formulas_on_its_cells(v: int, lead: int) -> None:
    of_group = _group(lead)[:, None]
    masks = {("region", "south"): np.broadcast_to(CASES["region"] == 1, (W, L, N))}
    masks |= {("wet", label): np.broadcast_to((CASES["wet"] == i)[:, None], (W, L, N)) for i, label in enumerate(("no", "yes", "unknown"))}
    masks |= {("hour", "03-06"): np.broadcast_to((CASES["hour"] == 1)[:, :, None], (W, L, N))}
    for (kind, label), mask in masks.items():
        row = SLICES[AXIS.variables[v], "joint", kind, label, lead]
        assert row.expected == (mask & of_group).sum()
        _plain(row, mask & of_group, v)
    came = (CASES["truth"][..., 0] < 15) & CASES["good"][..., 0]
    _plain(SLICES[AXIS.variables[v], "joint", "event", "slow", lead], came & of_group, v)


def test_parts_of_a_kind_add_up_to_the_whole_exactly() -> None:
    for kind, labels in (("region", ("north", "south")), ("hour", ("00-03", "03-06", "06-09"))):
        rows = [SLICES["price", "joint", kind, label, 0] for label in labels]
        assert sum(r.n for r in rows) == WHOLE["price", "joint", 0].n
        assert sum(r.n * (r.mae or 0) for r in rows) == pytest.approx(WHOLE["price", "joint", 0].n * (WHOLE["price", "joint", 0].mae or 0))


def test_the_energy_score_is_that_of_the_quantiles_as_a_weighted_ensemble_of_fields() -> None:
    found = []
    for w in range(W):
        for lead in range(L):
            use = CASES["good"][w, lead, :, 0]
            y, members = CASES["truth"][w, lead, use, 0].astype(float), CASES["q"][w, lead, use, 0].T.astype(float)
            found.append(float(scoringrules.es_ensemble(y, members, ens_w=MEMBER_WEIGHTS)))
    assert WHOLE["count", "joint", 0].energy == pytest.approx(np.mean(found), rel=NEAR)
    assert MEMBER_WEIGHTS.sum() == pytest.approx(1)


def test_correlations_over_nodes_and_foretold_signs_are_those_of_relative_changes() -> None:
    ic, rank, hits = [], [], []
    for w in range(W):
        for lead in range(L):
            origin = CASES["origin"][w, :, 1].astype(float)
            use = CASES["good"][w, lead, :, 1] & np.isfinite(origin)
            came = (CASES["truth"][w, lead, :, 1] - origin)[use]
            told = (CASES["q"][w, lead, :, 1, MEDIAN] - origin)[use]
            hits += list(np.where(told == 0, 0.5, np.sign(told) == np.sign(came))[came != 0])
            if use.sum() >= 5:
                a, b = told / np.abs(origin[use]), came / np.abs(origin[use])
                ic.append(float(scores.continuous.correlation.pearsonr(xr.DataArray(a, dims="n"), xr.DataArray(b, dims="n"))))
                rank.append(float(spearmanr(a, b).statistic))
    row = WHOLE["price", "joint", 0]
    assert row.ic == pytest.approx(np.mean(ic), abs=NEAR)
    assert row.rank_ic == pytest.approx(np.mean(rank), abs=NEAR)
    assert row.direction == pytest.approx(np.mean(hits), abs=NEAR)
    assert (WHOLE["count", "joint", 0].ic, WHOLE["count", "joint", 0].direction) == (None, None)


def test_a_forecast_of_no_change_says_nothing_of_direction_and_correlates_with_nothing() -> None:
    still = np.broadcast_to(CASES["origin"][:, None, :, :, None], CASES["q"].shape)
    row = {(r.variable, r.lead): r for r in score_rows(_scored({**CASES, "q": np.nan_to_num(still, nan=3.0)})) if r.model == "joint"}[
        "price", 0
    ]
    assert row.direction == 0.5
    assert row.ic is None


def test_anomalies_and_errors_of_a_grid_are_weighted() -> None:
    good, weight = CASES["good"][..., 0], CASES["weight"]
    y, f, c = (a.astype(float) for a in (CASES["truth"][..., 0], CASES["q"][..., 0, MEDIAN], CASES["climate"][..., 0]))
    w = np.broadcast_to(weight, y.shape)[good]
    forecast, observed = (f - c)[good], (y - c)[good]
    acc = (w * forecast * observed).sum() / np.sqrt((w * forecast**2).sum() * (w * observed**2).sum())
    row = WHOLE["count", "joint", 0]
    assert row.acc == pytest.approx(acc, rel=NEAR)
    mse = scores.continuous.mse(xr.DataArray(f[good], dims="n"), xr.DataArray(y[good], dims="n"), weights=xr.DataArray(w, dims="n"))
    assert row.rmse_weighted == pytest.approx(np.sqrt(float(mse)), rel=NEAR)


def _event(statistics: Statistics, lead: int = 0) -> EventRow:
    return next(r for r in event_rows(statistics) if (r.model, r.lead, r.kind) == ("joint", lead, ""))


@pytest.mark.parametrize("given", [False, True])
def test_warnings_are_judged_as_the_libraries_do(given: bool) -> None:
    probability = np.random.default_rng(1).random((W, L, N)).astype(np.float32) if given else None
    told = probability if probability is not None else event_probability(SLOW, CASES["q"][..., 0, :])
    row = _event(_scored(probability=probability))
    good = CASES["good"][..., 0]
    came = happened(SLOW, CASES["truth"][..., 0])
    p, o = np.asarray(told, float)[good], came[good]
    table = scores.categorical.BinaryContingencyManager(
        xr.DataArray((p >= 0.4).astype(float), dims="n"), xr.DataArray(o.astype(float), dims="n")
    )
    assert row.pod == pytest.approx(float(table.transform().probability_of_detection()), rel=NEAR)
    assert row.far == pytest.approx(float(table.transform().false_alarm_ratio()), rel=NEAR)
    assert row.csi == pytest.approx(float(table.transform().critical_success_index()), rel=NEAR)
    assert row.brier == pytest.approx(float(scoringrules.brier_score(o.astype(float), p).mean()), rel=NEAR)
    assert row.brier_skill == pytest.approx(1 - (row.brier or 0) / (o.mean() * (1 - o.mean())), rel=NEAR)
    assert sum(b.n for b in row.reliability) == row.n == good.sum()
    for each in row.reliability:
        b = min(int(each.probability * 10), 9)
        inside = np.minimum((p * 10).astype(int), 9) == b
        assert each.n == inside.sum()
        assert each.probability == pytest.approx(p[inside].mean(), rel=NEAR)
        assert each.observed == pytest.approx(o[inside].mean(), rel=NEAR)


def test_the_warning_lead_time_is_the_time_under_warning_before_an_onset() -> None:
    truth, good = np.full((5, 5, 1, 2), 30, np.float32), np.ones((5, 5, 1, 2), bool)
    for w in range(5):
        truth[w, 4 - w :] = 5.0  # slow from step 5 on, seen by windows issued at steps 0 .. 4

    def told(leads: set[int]) -> EventRow:
        probability = np.zeros((5, 5, 1), np.float32)
        for lead in leads:
            probability[:, lead - 1] = 0.9
        slow = Watched(event=SLOW, variable=0, probability_WLN=probability)
        scored = score_windows(
            domain="d",
            axis=AXIS,
            model="joint",
            issue_time_W=np.arange(5, dtype=np.int64) * 300,
            truth_WLNV=truth,
            good_WLNV=good,
            quantiles_WLNVQ=np.repeat(truth[..., None], len(QUANTILES), axis=-1),
            grounds=Grounds(events={"slow": slow}, origin_WNV=np.full((5, 1, 2), 30, np.float32)),
        )
        return _event(scored)

    assert told(set()).warning_lead_time == 0
    assert told({1, 2, 3}).warning_lead_time == 900
    assert told({1, 2, 3, 4, 5}).warning_lead_time == 1500
    assert told({1}).onsets == 5
    assert told({5}).warning_lead_time == 300  # once, and taken back: not five steps


def test_every_part_has_its_own_time_under_warning_and_its_figures_by_group_of_leads() -> None:
    leads, nodes = 5, 2
    truth, good = np.full((leads, leads, nodes, 2), 30, np.float32), np.ones((leads, leads, nodes, 2), bool)
    for w in range(leads):
        truth[w, 4 - w :] = 5.0
    probability = np.zeros((leads, leads, nodes), np.float32)
    probability[:, :4, 0] = 0.9
    step_WL = np.arange(leads)[:, None] + np.arange(leads)
    grounds = Grounds(
        regions=("told", "silent"),
        region_N=np.array([0, 1]),
        hour_WL=(step_WL >= 4).astype(np.int64),
        regimes={"wet": (("no", "yes"), np.tile([[0, 1]], (leads, 1)).astype(np.int8))},
        events={"slow": Watched(event=SLOW, variable=0, probability_WLN=probability)},
        origin_WNV=np.full((leads, nodes, 2), 30, np.float32),
    )
    scored = Statistics.added(
        score_windows(
            domain="d",
            axis=AXIS,
            model="joint",
            issue_time_W=np.array([w * 300]),
            truth_WLNV=truth[[w]],
            good_WLNV=good[[w]],
            quantiles_WLNVQ=np.repeat(truth[[w]][..., None], len(QUANTILES), axis=-1),
            grounds=replace(
                grounds,
                hour_WL=grounds.hour_WL[[w]],
                regimes={"wet": (("no", "yes"), grounds.regimes["wet"][1][[w]])},
                events={"slow": replace(grounds.events["slow"], probability_WLN=probability[[w]])},
                origin_WNV=grounds.origin_WNV[[w]],
            ),
        )
        for w in range(leads)
    )
    rows = {(r.kind, r.label, r.lead): r for r in event_rows(Statistics.from_json(scored.to_json()))}
    told = {key[:2]: row.warning_lead_time for key, row in rows.items() if not key[2]}
    assert told["", ""] == 600
    assert (told["region", "told"], told["region", "silent"]) == (1200, 0)
    assert (told["wet", "no"], told["wet", "yes"]) == (1200, 0)
    assert (told["hour", "00-03"], told["hour", "03-06"]) == (None, 600)
    groups = [row for key, row in rows.items() if key[:2] == ("region", "told") and key[2]]
    assert [row.leads for row in groups] == list(AXIS.lead_groups)
    for name in ("n", "happened", "hits", "onsets", "warned_onsets"):
        assert sum(getattr(row, name) for row in groups) == getattr(rows["region", "told", 0], name)
    assert rows["region", "told", 0].warned_onsets == 4
    assert [row.warned_onsets for key, row in rows.items() if key[0] == "" and key[2]] == [1, 1, 1, 1, 0]


def test_in_every_part_fields_are_those_of_the_nodes_and_windows_within_it() -> None:
    south, wet = CASES["region"] == 1, CASES["wet"] == 1
    came = (CASES["truth"][..., 0] < 15) & CASES["good"][..., 0]
    masks = {("region", "south"): np.broadcast_to(south, (W, L, N)), ("wet", "yes"): np.broadcast_to(wet[:, None], (W, L, N))}
    masks |= {("hour", "03-06"): np.broadcast_to((CASES["hour"] == 1)[:, :, None], (W, L, N)), ("event", "slow"): came}
    for (kind, label), mask in masks.items():
        good = CASES["good"][..., 0] & mask
        y, f, c = (a.astype(float) for a in (CASES["truth"][..., 0], CASES["q"][..., 0, MEDIAN], CASES["climate"][..., 0]))
        weight = np.broadcast_to(CASES["weight"], y.shape)[good]
        a, b = (f - c)[good], (y - c)[good]
        row = SLICES["count", "joint", kind, label, 0]
        assert row.acc == pytest.approx((weight * a * b).sum() / np.sqrt((weight * a**2).sum() * (weight * b**2).sum()), rel=NEAR)
        energy = [
            float(scoringrules.es_ensemble(y[w, k, good[w, k]], CASES["q"][w, k, good[w, k], 0].T.astype(float), ens_w=MEMBER_WEIGHTS))
            for w, k in np.argwhere(good.any(axis=-1))
        ]
        assert row.energy == pytest.approx(np.mean(energy), rel=NEAR), (kind, label)


def test_a_correlation_in_a_region_is_over_its_nodes_alone() -> None:
    found = []
    for w in range(W):
        origin = CASES["origin"][w, :, 1].astype(float)
        for lead in range(L):
            use = CASES["good"][w, lead, :, 1] & np.isfinite(origin) & (CASES["region"] == 0)
            if use.sum() >= 5:
                told, came = (x[w, lead, use, 1].astype(float) - origin[use] for x in (CASES["q"][..., MEDIAN], CASES["truth"]))
                found.append(np.corrcoef(told / origin[use], came / origin[use])[0, 1])
    assert SLICES["price", "joint", "region", "north", 0].ic == pytest.approx(np.mean(found), abs=NEAR)
    assert SLICES["price", "joint", "region", "south", 0].ic is None, "four nodes are too few"


def test_warnings_are_judged_in_every_part_as_over_the_whole() -> None:
    rows = {(r.kind, r.label): r for r in event_rows(STATISTICS) if (r.model, r.lead) == ("joint", 0)}
    whole = rows["", ""]
    for kind, labels in (("region", ("north", "south")), ("hour", ("00-03", "03-06", "06-09")), ("wet", ("no", "yes", "unknown"))):
        parts = [rows[kind, label] for label in labels]
        for name in ("n", "happened", "hits", "misses", "false_alarms", "onsets"):
            assert sum(getattr(p, name) for p in parts) == getattr(whole, name), (kind, name)
        assert sum(p.n * (p.brier or 0) for p in parts) == pytest.approx(whole.n * (whole.brier or 0))
        assert sum(each.n for p in parts for each in p.reliability) == whole.n
