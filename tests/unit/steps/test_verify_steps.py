"""Forecasts verified: what never came is said, what is damaged holds nothing else back, and parts are told apart."""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from pipeline.api import EvaluateRequest, PredictRequest, PromoteRequest, PublishRequest, Receipt, VerifyRequest
from pipeline.contracts.flags import Flag
from pipeline.contracts.times import to_seconds
from pipeline.errors import NotYetAvailable, StoreError
from pipeline.steps import evaluate, predict, promote, publish, verify
from pipeline.steps.quick_scores import quick_scores
from pipeline.steps.verified import show_scores
from pipeline.stores.objects import ObjectStore
from pipeline.stores.scores import ScoreStore
from pipeline.telemetry import QUIET
from pipeline.verification.metrics import score_rows, slice_rows
from pipeline.verification.statistics import Statistics
from tests.unit.steps.evidence_world import CUTOFF, ISSUE, LATER, Town, make_town

SECOND = ISSUE + timedelta(minutes=15)
LONG_AFTER = LATER + timedelta(days=8)


@pytest.fixture
def town(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Town:
    """Two issue times published."""
    town = make_town(tmp_path, monkeypatch)
    evaluate.run(EvaluateRequest(world=town.file, as_of=CUTOFF), town.settings, QUIET)
    promote.run(PromoteRequest(world=town.file, as_of=CUTOFF), town.settings, QUIET)
    for moment in (ISSUE, SECOND):
        predict.run(PredictRequest(world=town.file, as_of=moment), town.settings, QUIET)
        publish.run(PublishRequest(world=town.file, as_of=moment), town.settings, QUIET)
    return town


def _verify(town: Town, as_of: datetime) -> Receipt:
    return verify.run(VerifyRequest(world=town.file, as_of=as_of), town.settings, QUIET)


def _scores(town: Town) -> ScoreStore:
    return ScoreStore(ObjectStore(town.settings.store), "tiny")


def test_observations_that_never_come_are_waited_for_then_counted_as_missing_and_said(town: Town) -> None:
    lost = town.cube.valid_time > to_seconds(ISSUE)
    town.cube.values_TNV[lost, :, 0], town.cube.flags_TNV[lost, :, 0] = np.nan, int(Flag.MISSING)
    waiting = _verify(town, LATER + timedelta(hours=6))
    assert waiting.notes == ()
    assert _scores(town).final([to_seconds(ISSUE), to_seconds(SECOND)]) == set()
    closed = _verify(town, LONG_AFTER)
    assert closed.counts["expected"] == 80 == closed.counts["observed"] + closed.counts["missing"]
    (note,) = closed.notes
    assert f"domain road: {closed.counts['missing']} of 80 values never came" in note
    found = _scores(town).period(to_seconds(ISSUE), to_seconds(SECOND))
    rows = {r.variable: r for r in score_rows(found.statistics) if (r.model, r.lead) == ("published", 0)}
    assert (rows["flow"].n, rows["flow"].missing, rows["flow"].mae) == (0, 40, None)
    assert rows["speed"].n > 0
    assert _verify(town, LONG_AFTER + timedelta(days=1)).counts["issue_times"] == 0


def test_a_damaged_forecast_is_named_after_all_others_are_scored_and_kept(town: Town) -> None:
    artefacts = sorted((Path(town.settings.store) / "forecasts/tiny/artefacts").glob("*.safetensors"), key=lambda p: p.stat().st_mtime)
    artefacts[0].write_bytes(artefacts[0].read_bytes()[:-1])
    with pytest.raises(StoreError, match="1 due were scored and kept") as found:
        _verify(town, LATER)
    assert artefacts[0].name in str(found.value)
    assert _scores(town).newest(to_seconds(ISSUE)) is None
    assert _scores(town).newest(to_seconds(SECOND)) is not None


def test_scores_are_told_apart_by_the_regime_that_the_forecast_carries_and_by_the_hour(town: Town) -> None:
    _verify(town, LONG_AFTER)
    record = _scores(town).newest(to_seconds(ISSUE))
    assert record is not None
    rows = slice_rows(Statistics.from_json(record["statistics"]))
    assert {(r.kind, r.label) for r in rows} >= {("availability", "present"), ("hour", "06-09")}
    hours = {r.label for r in rows if r.kind == "hour"}
    assert hours == {"06-09"}  # 06:15 to 07:00 UTC, an hour later in Copenhagen
    assert all(r.expected == 20 for r in rows if r.kind == "hour" and r.lead == 0)


def test_a_later_run_reads_the_sums_of_what_is_final_and_no_record_of_it(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    _verify(town, LONG_AFTER)
    before = _scores(town).period(0, to_seconds(SECOND)).statistics
    asked: list[str] = []
    get = ObjectStore.get
    monkeypatch.setattr(ObjectStore, "get", lambda self, key: asked.append(key) or get(self, key))
    assert _verify(town, LONG_AFTER + timedelta(days=1)).counts["issue_times"] == 0
    looked = {key for key in asked if key.startswith("scores/tiny/issues")}
    assert looked, "the newest one is shown on the page"
    assert not [key for key in looked if f"{ISSUE:%Y%m%dT%H%M}" in key]
    asked.clear()
    assert _scores(town).period(0, to_seconds(SECOND)).statistics == before
    assert [key for key in asked if key.startswith("scores/tiny/issues")] == []


def test_scores_read_from_the_published_arrays_slab_by_slab_are_those_of_verification(town: Town) -> None:
    _verify(town, LONG_AFTER)
    exact = _scores(town).period(0, to_seconds(SECOND)).statistics
    rows = {(r.variable, r.lead): r for r in score_rows(exact) if r.model == "published"}
    ask = partial(quick_scores, town.file, town.settings, 0, to_seconds(SECOND), to_seconds(LONG_AFTER), QUIET)
    whole, pieces = ask(), ask(bytes_each=1)
    assert (whole["slabs"], pieces["slabs"]) == (1, 2)
    for row in pieces["rows"]:
        same = rows[row["variable"], row["lead"]]
        assert row["n"] == same.n
        for name in ("mae", "rmse", "bias", "pinball"):
            assert row[name] == pytest.approx(getattr(same, name), rel=1e-12, abs=1e-12)
    assert len(pieces["rows"]) == len(whole["rows"]) == len(rows) == 10
    early = quick_scores(town.file, town.settings, 0, to_seconds(SECOND), to_seconds(ISSUE), QUIET)
    assert {row["n"] for row in early["rows"]} == {0}, "what lies ahead is not scored"
    with pytest.raises(NotYetAvailable, match="none until then"):
        quick_scores(town.file, town.settings, 0, 1, 2, QUIET)


def test_the_scores_of_a_period_are_shown_with_every_part(town: Town) -> None:
    _verify(town, LONG_AFTER)
    found = show_scores(town.settings, town.world, 0, to_seconds(SECOND))
    assert (found["issue_times"], found["observed"]) == (2, 2)
    assert {row["kind"] for row in found["slices"]} >= {"availability", "hour"}
    assert all(row["energy"] is not None for row in found["slices"] if row["n"])
    with pytest.raises(NotYetAvailable, match="what was verified was issued from"):
        show_scores(town.settings, town.world, 0, 1)
