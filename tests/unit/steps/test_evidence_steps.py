from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipeline.api import EvaluateRequest, PredictRequest, PromoteRequest, PublishRequest, Receipt, VerifyRequest
from pipeline.contracts.forecasts import BASELINES
from pipeline.contracts.times import to_seconds
from pipeline.errors import ContractError, LookaheadError, NotYetAvailable
from pipeline.steps import evaluate, predict, promote, publish, reading, verify
from pipeline.stores.forecasts import ForecastStore
from pipeline.stores.objects import ObjectStore
from pipeline.stores.registry import Registry
from pipeline.stores.scores import ScoreStore
from pipeline.telemetry import QUIET
from pipeline.verification import evaluation
from tests.unit.steps.evidence_world import CUTOFF, ISSUE, LATER, START, Town, make_town


@pytest.fixture
def town(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Town:
    return make_town(tmp_path, monkeypatch)


def _evaluate(town: Town) -> Receipt:
    return evaluate.run(EvaluateRequest(world=town.file, as_of=CUTOFF), town.settings, QUIET)


def _promote(town: Town) -> Receipt:
    return promote.run(PromoteRequest(world=town.file, as_of=CUTOFF), town.settings, QUIET)


def _predict(town: Town) -> Receipt:
    return predict.run(PredictRequest(world=town.file, as_of=ISSUE), town.settings, QUIET)


def _publish(town: Town) -> Receipt:
    return publish.run(PublishRequest(world=town.file, as_of=ISSUE), town.settings, QUIET)


def _verify(town: Town, as_of=LATER) -> Receipt:
    return verify.run(VerifyRequest(world=town.file, as_of=as_of), town.settings, QUIET)


def _chain(town: Town) -> None:
    for step in (_evaluate, _promote, _predict, _publish):
        assert step(town).outcome == "done"


def _files(town: Town) -> dict[str, bytes]:
    root = Path(town.settings.store)
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}


def test_evaluation_counts_every_cell_and_gives_the_planted_errors(town: Town) -> None:
    receipt = _evaluate(town)
    counts, rows = receipt.counts, receipt.details["headline"]
    assert counts["expected"] == counts["windows"] * 4 * 5 * 2 == counts["scored"] + counts["missing"]
    assert 0 < counts["missing"] < 0.1 * counts["expected"]
    assert [(r["domain"], r["variable"]) for r in rows] == [("road", "flow"), ("road", "speed")]
    assert rows[0]["mae"] == pytest.approx(1.0, rel=1e-5)
    assert rows[0]["baselines"]["ridge"] == pytest.approx(1.5, rel=1e-5)
    assert rows[0]["leads_won"] == rows[0]["leads"] == 4


def test_each_step_done_again_changes_nothing(town: Town) -> None:
    _chain(town)
    _verify(town)
    _publish(town)
    before = _files(town)
    for step in (_evaluate, _promote, _predict, _publish, _verify):
        assert step(town).outcome == "unchanged", step.__name__
    assert _files(town) == before


def test_a_baseline_is_published_where_the_joint_model_loses(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    town.errors(monkeypatch, joint=1.0, ridge=0.5)
    _evaluate(town)
    receipt = _promote(town)
    assert {v["published"] for v in receipt.details["verdicts"]} == {"ridge"}
    receipt = _predict(town)
    assert receipt.details["published"] == {"road": {"flow": "ridge", "speed": "ridge"}}
    forecast = ForecastStore(ObjectStore(town.settings.store), "tiny").read(to_seconds(ISSUE))
    road = forecast.domains["road"]
    assert (road.quantiles_LNVQ == road.rivals["ridge"]).all()
    assert not (road.quantiles_LNVQ == road.rivals["joint"]).all()


def test_a_forecast_says_what_its_inputs_were(town: Town) -> None:
    _chain(town)
    provenance = ForecastStore(ObjectStore(town.settings.store), "tiny").read(to_seconds(ISSUE)).provenance
    assert provenance["model_id"] == "m1"
    assert provenance["snapshot"] == "SNAP"
    state = provenance["inputs"]["road"]
    assert state["age_seconds"] == 900  # the newest step, at the issue time itself, is known 5 minutes later
    assert 0.7 < state["share_present"] < 1


def test_a_forecast_made_from_old_inputs_says_which_are_late(town: Town) -> None:
    _evaluate(town)
    _promote(town)
    town.cube.values_TNV[town.cube.valid_time > to_seconds(ISSUE) - 4 * 900, :, 1] = np.nan
    [late] = _predict(town).details["late"]
    assert late.startswith("road speed (source road): newest good value ")


def test_verification_scores_what_is_due_and_finishes_what_was_pending(town: Town) -> None:
    _chain(town)
    early = _verify(town, LATER.replace(hour=6, minute=40))
    assert early.counts["pending"] == 20
    assert early.counts["expected"] == 40 == early.counts["observed"] + early.counts["missing"] + 20
    late = _verify(town, LATER.replace(hour=8))
    assert late.counts["pending"] == 0
    assert late.outcome == "done"
    record = ScoreStore(ObjectStore(town.settings.store), "tiny").newest(to_seconds(ISSUE))
    assert record is not None
    assert {r["model"] for r in record["headline"]} == {"published", "joint", *BASELINES}


def test_the_page_shows_the_verdict_what_came_and_escapes_the_title(town: Town) -> None:
    _chain(town)
    receipt = _publish(town)
    before = Path(receipt.paths["page"]).read_text()
    assert "Not verified yet" in before
    _verify(town)
    page = Path(receipt.paths["page"]).read_text()
    assert "joint beats persistence" in page
    assert "Tiny &lt;b&gt;town&lt;/b&gt;" in page
    assert "<b>town" not in page
    data = json.loads(page.split('id="data">')[1].split("</script>")[0])
    flow = data["domains"][0]["variables"][0]
    assert flow["label"] == "Vehicles"
    assert sum(x is not None for x in flow["came"]) > 10
    assert len(flow["q"]) == 7
    assert len(flow["q"][0]) == 4 * 5


def test_nothing_is_forecast_before_a_promotion_nor_by_a_model_of_the_future(town: Town) -> None:
    with pytest.raises(NotYetAvailable, match="promote"):
        _predict(town)
    with pytest.raises(NotYetAvailable, match="train"):
        evaluate.run(EvaluateRequest(world=town.file, as_of=START), town.settings, QUIET)
    with pytest.raises(LookaheadError):
        evaluate.run(EvaluateRequest(world=town.file, as_of=START, model_id="m1"), town.settings, QUIET)
    _evaluate(town)
    with pytest.raises(LookaheadError):
        promote.run(PromoteRequest(world=town.file, as_of=START, model_id="m1"), town.settings, QUIET)


def test_an_issue_time_never_published_is_not_verified(town: Town) -> None:
    with pytest.raises(NotYetAvailable, match="publish"):
        verify.run(VerifyRequest(world=town.file, as_of=LATER, issue_time=ISSUE), town.settings, QUIET)
    assert _verify(town).outcome == "unchanged"


def test_values_after_the_issue_time_change_no_byte_of_the_forecast(town: Town) -> None:
    _chain(town)
    store = ForecastStore(ObjectStore(town.settings.store), "tiny")
    digest = store.newest(to_seconds(ISSUE)).digest
    late = town.cube.valid_time + 300 > to_seconds(ISSUE)
    town.cube.values_TNV[late] = 1e6
    assert _predict(town).outcome == "unchanged"
    assert store.newest(to_seconds(ISSUE)).digest == digest


def test_moving_back_is_a_new_entry_and_earlier_instants_keep_their_champion(town: Town) -> None:
    _evaluate(town)
    _promote(town)
    registry = Registry(ObjectStore(town.settings.store), "tiny")
    first = registry.champion(CUTOFF)
    registry.promote(first.model_copy(update={"as_of": "2024-03-09T06:00:00Z", "model_id": "m0", "previous": "m1"}))
    assert registry.champion(ISSUE).model_id == "m0"
    assert registry.champion(CUTOFF).model_id == "m1"
    assert len(registry.promotions()) == 2


def test_a_test_fold_that_lacks_a_window_is_refused(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = reading.windows_of

    def holed(*given, **more):
        windows = whole(*given, **more)
        fold_W = windows.domains["road"].fold_W.copy()
        fold_W[windows.domains["road"].windows_of("test")[7]] = -1
        return replace(windows, domains={"road": replace(windows.domains["road"], fold_W=fold_W)})

    monkeypatch.setattr(reading, "windows_of", holed)
    with pytest.raises(ContractError, match="by its clock"):
        _evaluate(town)


def test_windows_that_a_world_judges_by_are_scored_and_no_other(town: Town) -> None:
    every = _evaluate(town).counts
    Path(town.file).write_text(Path(town.file).read_text().replace("[promotion]", '[promotion]\nevery = "1h"'))
    receipt = _evaluate(town)
    assert receipt.outcome == "done", "scores of other windows are other scores"
    assert 0 < every["windows"] / 4 - receipt.counts["windows"] + 1 < 2
    assert receipt.counts["expected"] == receipt.counts["windows"] * 4 * 5 * 2 == receipt.counts["scored"] + receipt.counts["missing"]
    assert _promote(town).outcome == "done"


def test_a_window_that_is_forecast_and_not_scored_is_noticed(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    score = evaluation.score_windows

    def forgetful(*, grounds, **given):
        arrays = {name: value[:-1] if isinstance(value, np.ndarray) else value for name, value in given.items()}
        return score(**arrays)

    monkeypatch.setattr(evaluation, "score_windows", forgetful)
    with pytest.raises(ContractError, match="cells a lead counted"):
        _evaluate(town)
