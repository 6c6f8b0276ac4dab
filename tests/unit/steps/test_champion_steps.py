"""A candidate against the champion, from evaluation to forecast: per target, with a person's word, and when the champion is out of order."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.api import AnswerRequest, EvaluateRequest, PredictRequest, PromoteRequest, Receipt
from pipeline.contracts.forecasts import CHAMPION
from pipeline.contracts.scores import Decision
from pipeline.contracts.times import format_instant, to_seconds
from pipeline.errors import ConflictError, ContractError, NotYetAvailable, StoreError
from pipeline.steps import answer, evaluate, incumbents, predict, promote, reading
from pipeline.steps.champions import approve, promote_by_hand, reject
from pipeline.stores.forecasts import ForecastStore
from pipeline.stores.objects import ObjectStore
from pipeline.stores.registry import Registry
from pipeline.telemetry import QUIET
from tests.unit.steps.evidence_world import CUTOFF, ISSUE, LATER, START, Town, make_town

RIVALS = {"persistence": 3.0, "historical_average": 2.0, "ridge": 1.5}
AN_HOUR = timedelta(hours=1)


@dataclass
class Desk:
    """A town with models m1 (which errs by 1) and m2, both trained on the same data."""

    town: Town
    patch: pytest.MonkeyPatch
    registry: Registry

    def errs(self, model_id: str, joint: float | tuple[float, float], **rivals: float) -> None:
        self.town.errors(self.patch, model_id, joint=joint, **(RIVALS | rivals))

    def evaluate(self, model_id: str, as_of: datetime) -> Receipt:
        return evaluate.run(EvaluateRequest(world=self.town.file, as_of=as_of, model_id=model_id), self.town.settings, QUIET)

    def promote(self, model_id: str, as_of: datetime) -> Receipt:
        self.evaluate(model_id, as_of)
        return promote.run(PromoteRequest(world=self.town.file, as_of=as_of, model_id=model_id), self.town.settings, QUIET)

    def human(self) -> None:
        path = Path(self.town.file)
        path.write_text(path.read_text().replace("[promotion]", '[promotion]\napproval = "human"\ntime_out = "2h"'))


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    town = make_town(tmp_path, monkeypatch)
    registry = Registry(ObjectStore(town.settings.store), "tiny")
    first = registry.candidate("m1")
    registry.add_candidate("m2", {"more.json": b"{}", **{name: first.read(name) for name in first.file_names}}, first.card | {"seed": 2})
    desk = Desk(town=town, patch=monkeypatch, registry=registry)
    desk.errs("m1", 1.0)
    return desk


def test_the_champion_is_scored_on_the_candidates_windows_beside_it(desk: Desk) -> None:
    desk.promote("m1", CUTOFF)
    desk.errs("m2", 0.5)
    receipt = desk.evaluate("m2", ISSUE)
    assert receipt.details["champion"] == "m1"
    card = desk.registry.scorecard("m2")
    mae = {(r.model, r.variable): r.mae for r in card.rows if r.lead == 0}
    assert (mae["joint", "flow"], mae[CHAMPION, "flow"]) == (pytest.approx(0.5, rel=1e-5), pytest.approx(1.0, rel=1e-5))
    assert {r.kind for r in card.slices} == {"hour", "availability"}
    assert desk.evaluate("m2", ISSUE).outcome == "unchanged"


def test_a_better_candidate_takes_over_and_a_worse_one_is_recorded_and_not(desk: Desk) -> None:
    assert desk.promote("m1", CUTOFF).details["decision"] == "promoted"
    desk.errs("m2", 1.2)
    kept = desk.promote("m2", ISSUE)
    assert (kept.details["decision"], kept.ids["model_id"], kept.outcome) == ("kept", "m1", "done")
    assert any("not surely better than champion m1" in reason for reason in kept.details["verdicts"][0]["reasons"])
    assert desk.promote("m2", ISSUE).outcome == "unchanged"
    assert [p.model_id for p in desk.registry.promotions()] == ["m1"]
    desk.errs("m2", 0.5)
    desk.registry.add_candidate(
        "m3", {"scalers.safetensors": desk.registry.candidate("m2").read("scalers.safetensors")}, desk.registry.candidate("m2").card
    )
    desk.errs("m3", 0.5)
    taken = desk.promote("m3", LATER)
    assert (taken.details["decision"], taken.ids["model_id"], taken.details["previous"]) == ("promoted", "m3", "m1")
    assert desk.registry.champion(ISSUE).model_id == "m1"


def test_each_target_has_its_own_champion_and_the_forecast_is_made_of_both(desk: Desk) -> None:
    desk.promote("m1", CUTOFF)
    desk.errs("m2", (0.5, 1.3))
    receipt = desk.promote("m2", ISSUE)
    assert {v["variable"]: v["model_id"] for v in receipt.details["verdicts"]} == {"flow": "m2", "speed": "m1"}
    predict.run(PredictRequest(world=desk.town.file, as_of=ISSUE), desk.town.settings, QUIET)
    forecast = ForecastStore(ObjectStore(desk.town.settings.store), "tiny").read(to_seconds(ISSUE))
    road = forecast.domains["road"]
    assert forecast.provenance["model_id"] == "m2"
    assert forecast.provenance["made_by"] == {"road.speed": "m1"}
    assert road.quantiles_LNVQ[0, 0, :, 3].tolist() == [20.5, 21.0]
    assert road.rivals["joint"][0, 0, :, 3].tolist() == pytest.approx([20.5, 21.3])
    assert np.allclose(road.split_LNVP.sum(axis=-1), road.quantiles_LNVQ[..., 3])
    again = desk.promote("m2", ISSUE)
    assert again.outcome == "unchanged"
    desk.registry.add_candidate(
        "m3", {"scalers.safetensors": desk.registry.candidate("m2").read("scalers.safetensors")}, desk.registry.candidate("m2").card
    )
    desk.errs("m3", (0.3, 0.3))
    desk.evaluate("m3", LATER)
    mae = {r.variable: r.mae for r in desk.registry.scorecard("m3").rows if (r.model, r.lead) == (CHAMPION, 0)}
    assert mae == {"flow": pytest.approx(0.5, rel=1e-5), "speed": pytest.approx(1.0, rel=1e-5)}


def test_a_promotion_as_of_an_earlier_instant_is_the_same_after_later_ones(desk: Desk) -> None:
    desk.promote("m1", CUTOFF)
    desk.errs("m2", 0.5)
    first = desk.promote("m2", ISSUE)
    desk.registry.promote(desk.registry.champion(ISSUE).model_copy(update={"as_of": format_instant(LATER), "model_id": "m1"}))
    again = desk.promote("m2", ISSUE)
    assert again.outcome == "unchanged"
    assert again.details == first.details


def test_a_candidate_that_was_not_evaluated_against_the_champion_of_that_instant_is_not_promoted(desk: Desk) -> None:
    desk.errs("m2", 0.5)
    desk.evaluate("m2", CUTOFF)
    desk.promote("m1", CUTOFF)
    with pytest.raises(NotYetAvailable, match=r"not against this champion.*cubecast evaluate again"):
        promote.run(PromoteRequest(world=desk.town.file, as_of=ISSUE, model_id="m2"), desk.town.settings, QUIET)
    before = len(desk.registry.evidences("m2"))
    assert desk.promote("m2", ISSUE).details["decision"] == "promoted"
    assert len(desk.registry.evidences("m2")) == before + 1


def test_a_proposal_waits_for_a_person_and_comes_true_from_the_approval_on(desk: Desk) -> None:
    desk.promote("m1", CUTOFF)
    desk.human()
    desk.errs("m2", 0.5)
    receipt = desk.promote("m2", ISSUE)
    assert (receipt.details["decision"], receipt.ids["model_id"]) == ("pending", "m1")
    assert receipt.details["expires"] == format_instant(ISSUE + 2 * AN_HOUR)
    assert [d.model_id for d in desk.registry.decisions.pending(LATER)] == ["m2"]
    change = approve(desk.registry, "m2", as_of=LATER, reason="seen")
    assert change.created
    assert (change.promotion.how, change.promotion.previous) == ("approval", "m1")
    assert [desk.registry.champion(t).model_id for t in (ISSUE, LATER)] == ["m1", "m2"]
    assert desk.registry.decisions.pending(LATER) == []
    assert desk.promote("m2", ISSUE).outcome == "unchanged"
    assert [d.outcome for d in desk.registry.decisions.read()] == ["promoted", "pending", "approved"]


def test_an_approval_cut_off_after_its_first_write_is_finished_by_the_next(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.human()
    desk.promote("m1", CUTOFF)
    with monkeypatch.context() as patch:
        patch.setattr(type(desk.registry.decisions), "add", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            approve(desk.registry, "m1", as_of=CUTOFF, reason="seen")
    assert not approve(desk.registry, "m1", as_of=CUTOFF, reason="seen").created
    assert [d.outcome for d in desk.registry.decisions.read()] == ["pending", "approved"]
    assert len(desk.registry.promotions()) == 1


def test_a_proposal_lapses_by_rejection_or_in_time_and_the_champion_stays(desk: Desk) -> None:
    desk.promote("m1", CUTOFF)
    desk.human()
    desk.errs("m2", 0.5)
    desk.promote("m2", ISSUE)
    late = ISSUE + 2 * AN_HOUR
    with pytest.raises(NotYetAvailable, match=f"waited until {format_instant(late)}"):
        approve(desk.registry, "m2", as_of=late, reason="too late")
    rejected: Decision = reject(desk.registry, "m2", as_of=LATER, reason="odd at night")
    assert (rejected.outcome, rejected.decided) == ("rejected", format_instant(LATER))
    with pytest.raises(NotYetAvailable, match="rejected as of"):
        approve(desk.registry, "m2", as_of=LATER, reason="after all")
    assert desk.registry.champion(late).model_id == "m1"


def test_a_proposal_against_a_champion_that_has_changed_since_is_not_approved(desk: Desk) -> None:
    desk.promote("m1", CUTOFF)
    desk.human()
    desk.errs("m2", 0.5)
    desk.promote("m2", ISSUE)
    desk.registry.promote(
        desk.registry.champion(CUTOFF).model_copy(update={"as_of": format_instant(ISSUE + AN_HOUR / 2), "model_id": "m9"})
    )
    with pytest.raises(ConflictError, match="m9"):
        approve(desk.registry, "m2", as_of=LATER, reason="seen")


def test_a_damaged_champion_is_named_the_candidate_is_scored_and_a_person_decides(desk: Desk) -> None:
    desk.errs("m2", 0.5)
    desk.promote("m2", CUTOFF)
    damaged = next((Path(desk.town.settings.store) / "registry").rglob("*-more.json"))
    damaged.write_bytes(b"[]")
    load = desk.town._load

    def broken(candidate: Any) -> Any:
        candidate.read("more.json") if candidate.model_id == "m2" else None
        return load(candidate)

    desk.patch.setattr(reading, "load_models", broken)
    receipt = desk.evaluate("m1", ISSUE)
    assert any("cannot be read" in note and damaged.name in note for note in receipt.notes)
    assert receipt.counts["scored"] > 0
    with pytest.raises(StoreError, match=r"cubecast models promote MODEL, or cubecast models rollback") as found:
        promote.run(PromoteRequest(world=desk.town.file, as_of=ISSUE, model_id="m1"), desk.town.settings, QUIET)
    assert damaged.name in str(found.value)
    with pytest.raises(StoreError, match=damaged.name):
        predict.run(PredictRequest(world=desk.town.file, as_of=ISSUE), desk.town.settings, QUIET)
    assert promote_by_hand(desk.registry, desk.town.world, "m1", as_of=ISSUE, reason="m2 is damaged").created


def test_a_champion_of_older_code_is_not_comparable_says_so_and_gives_way(desk: Desk) -> None:
    desk.promote("m1", CUTOFF)
    desk.errs("m2", 1.1)
    load = desk.town._load

    def older(candidate: Any) -> Any:
        if candidate.model_id == "m1":
            raise ContractError(asked="weights of domain 'road'", found="no match for ['old.weight']", mend="train again with this version")
        return load(candidate)

    desk.patch.setattr(reading, "load_models", older)
    receipt = desk.promote("m2", ISSUE)
    assert receipt.details["decision"] == "promoted"
    reasons = receipt.details["verdicts"][0]["reasons"]
    assert any("not comparable with champion m1" in r and "no match for ['old.weight']" in r for r in reasons)


def test_a_champion_fitted_on_the_candidates_windows_is_not_compared_on_them(desk: Desk) -> None:
    desk.promote("m1", CUTOFF)
    desk.errs("m2", 0.5)
    desk.registry.add_candidate(
        "m4",
        {"scalers.safetensors": desk.registry.candidate("m1").read("scalers.safetensors")},
        desk.registry.candidate("m1").card | {"world_digest": "other"},
    )
    desk.registry.promote(
        desk.registry.champion(CUTOFF).model_copy(update={"as_of": format_instant(ISSUE), "model_id": "m4", "verdicts": ()})
    )
    verdicts = desk.registry.champion(CUTOFF).verdicts
    held = tuple(v.model_copy(update={"model_id": "m4"}) for v in verdicts)
    desk.registry.promote(desk.registry.champion(ISSUE).model_copy(update={"verdicts": held}))
    receipt = desk.evaluate("m2", ISSUE + AN_HOUR / 2)
    assert any("m4 was fitted on all of these windows" in note for note in receipt.notes)


def test_an_answer_given_as_a_step_is_entered_once_and_another_later_changes_nothing(desk: Desk) -> None:
    desk.promote("m1", CUTOFF)
    desk.human()
    desk.errs("m2", 0.5)
    desk.promote("m2", ISSUE)

    def say(word: str, as_of: datetime = LATER) -> Receipt:
        request = AnswerRequest(world=desk.town.file, as_of=as_of, model_id="m2", answer=word, reason="seen (ada, in Airflow)")
        return answer.run(request, desk.town.settings, QUIET)

    first = say("approve")
    assert (first.outcome, first.ids) == ("done", {"model_id": "m2", "snapshot": "SNAP", "answer": "approved"})
    assert (desk.registry.champion(LATER).model_id, desk.registry.champion(LATER).how) == ("m2", "approval")
    for word in ("approve", "reject"):
        again = say(word, LATER + AN_HOUR / 2)
        assert (again.outcome, again.ids["answer"]) == ("unchanged", "approved")
    assert [d.outcome for d in desk.registry.decisions.read()] == ["promoted", "pending", "approved"]


def test_a_rejection_given_as_a_step_keeps_the_champion(desk: Desk) -> None:
    desk.promote("m1", CUTOFF)
    desk.human()
    desk.errs("m2", 0.5)
    desk.promote("m2", ISSUE)
    request = AnswerRequest(world=desk.town.file, as_of=LATER, model_id="m2", answer="reject", reason="odd")
    assert answer.run(request, desk.town.settings, QUIET).ids["answer"] == "rejected"
    assert desk.registry.champion(LATER).model_id == "m1"


def test_a_champion_is_scored_from_the_first_whole_day_that_nothing_of_it_was_fitted_on(desk: Desk) -> None:
    """It was fitted on the first 30 % of five days: on one and a half."""
    assert incumbents._unseen_from(desk.town.world, desk.registry.candidate("m1"), "road") == to_seconds(START + timedelta(days=2))
