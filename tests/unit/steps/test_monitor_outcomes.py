"""What monitoring reads of scores and scorecards is what they say."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from pipeline.api import EvaluateRequest, MonitorRequest, PredictRequest, PromoteRequest, PublishRequest, VerifyRequest
from pipeline.contracts.times import to_seconds
from pipeline.steps import evaluate, monitor, predict, promote, publish, verify
from pipeline.steps.looking_at_outcomes import daily_of, promised_of
from pipeline.stores.monitoring import MonitoringStore
from pipeline.stores.objects import ObjectStore
from pipeline.stores.registry import Registry
from pipeline.stores.scores import ScoreStore
from pipeline.telemetry import QUIET
from pipeline.verification.metrics import score_rows
from tests.unit.steps import evidence_world
from tests.unit.steps.evidence_world import CUTOFF, ISSUE, LATER, make_town


def test_days_and_promises_are_those_of_the_scores_and_the_scorecard_and_a_forecast_is_no_judgement(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evidence_world, "WORLD", evidence_world.WORLD + '[domains.road.groups]\nwest = ["a", "b"]\n')
    town = make_town(tmp_path, monkeypatch)
    evaluate.run(EvaluateRequest(world=town.file, as_of=CUTOFF), town.settings, QUIET)
    promote.run(PromoteRequest(world=town.file, as_of=CUTOFF), town.settings, QUIET)
    for moment in (ISSUE, ISSUE + timedelta(minutes=15)):
        predict.run(PredictRequest(world=town.file, as_of=moment), town.settings, QUIET)
        publish.run(PublishRequest(world=town.file, as_of=moment), town.settings, QUIET)
    later = LATER + timedelta(hours=6)
    verify.run(VerifyRequest(world=town.file, as_of=later), town.settings, QUIET)

    objects = ObjectStore(town.settings.store)
    days = daily_of(ScoreStore(objects, "tiny"), first=to_seconds(CUTOFF), last=to_seconds(later), progress=QUIET)
    period = ScoreStore(objects, "tiny").period(to_seconds(CUTOFF), to_seconds(later)).statistics
    for row in (r for r in score_rows(period) if (r.model, r.lead) == ("published", 0)):
        found = days["road", row.variable, ""]
        assert (len(found.day_D), found.n_D.sum()) == (1, row.n)
        assert found.absolute_D.sum() / row.n == pytest.approx(row.mae)
        assert found.error_D.sum() / row.n == pytest.approx(row.bias)
        assert found.inside_D["80"].sum() / row.n == pytest.approx(row.coverage_80)
        assert found.rivals_D["ridge"].sum() > 0
        parts = [part.n_D.sum() for (_, variable, region), part in days.items() if variable == row.variable and region]
        assert sum(parts) == row.n

    registry = Registry(objects, "tiny")
    champion = registry.champion(later)
    promised = promised_of(registry, champion)
    (verdict,) = [v for v in champion.verdicts if v.variable == "speed"]
    card = registry.scorecard(champion.model_id)
    (row,) = [r for r in card.rows if (r.variable, r.model, r.lead) == ("speed", verdict.published, 0)]
    assert promised["road", "speed", ""].mae == row.mae
    assert promised["road", "speed", ""].inside["90"] == row.coverage_90
    assert {region for _, _, region in promised} == {"", "west", "rest"}
    assert promised["road", "speed", ""].mae_D.mean() == pytest.approx(row.mae, rel=0.2)

    receipt = monitor.run(MonitorRequest(world=town.file, as_of=later), town.settings, QUIET)
    report = MonitoringStore(objects, "tiny").report(to_seconds(later))
    assert report is not None
    assert report["outcomes"][1]["mae"] == [
        pytest.approx(days["road", "speed", ""].absolute_D[0] / days["road", "speed", ""].n_D[0], rel=1e-5)
    ]
    assert not [
        row for row in receipt.details["alerts"] if row["alert"].split("/")[0] in ("error_grown", "skill_lost", "drifted_residuals")
    ]
