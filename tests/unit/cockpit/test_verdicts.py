"""Why a candidate was taken or kept back, in words."""

from datetime import UTC, datetime

import pytest

from pipeline.cockpit.verdicts import SAYS, decided
from pipeline.contracts.scores import Check, Decision, Verdict

NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)

LONG = "joint is not surely better than champion old: MAE 2 against 2.1 (skill 5 % (of ridge)), 95 % interval -1 to +1 (Diebold-Mariano -1 to +1) over 5 days; pinball 1"


def decision(hour, outcome, model_id="new", **more):
    checks = (
        Check(name="above ridge", passed=True, text="joint beats ridge"),
        Check(name="better than the champion", passed=False, text=LONG),
    )
    kept = Verdict(
        domain="roads", variable="count", published="joint", reasons=("joint beats ridge", "it stays"), model_id="old", checks=checks
    )
    taken = Verdict(domain="roads", variable="speed", published="joint", reasons=("joint is better",), checks=checks[:1])
    fields = {"world": "w", "as_of": f"2026-11-01T{hour:02}:00:00Z", "champion": "old", "verdicts": (kept, taken), "reason": "why"}
    return Decision(**(fields | {"model_id": model_id, "outcome": outcome} | more))


def test_what_spoke_against_a_candidate_is_named_target_by_target():
    [newest] = decided([decision(6, "kept")], NOON)
    assert newest["says"] == "kept back on the evidence"
    kept, taken = newest["targets"]
    assert (kept["takes"], kept["why"]) == (False, [LONG])
    assert kept["short"] == "joint is not surely better than champion old: MAE 2 against 2.1, 95 % interval -1 to +1 over 5 days"
    assert (taken["takes"], taken["why"], taken["model_id"]) == (True, ["joint is better"], "new")


def test_the_newest_comes_first_and_what_is_decided_later_than_now_is_not_known():
    found = decided([decision(6, "kept", "a"), decision(9, "promoted", "b"), decision(13, "kept", "c")], NOON)
    assert [row["model_id"] for row in found] == ["b", "a"]
    assert ["targets" in row for row in found] == [True, False]


@pytest.mark.parametrize(
    ("expires", "says"),
    [
        ("2026-11-02T06:00:00Z", "awaits a person's approval until 2026-11-02T06:00:00Z"),
        ("2026-11-01T12:00:00Z", "kept back: nobody answered until 2026-11-01T12:00:00Z"),
    ],
)
def test_a_proposal_waits_for_a_person_until_it_lapses(expires, says):
    assert decided([decision(6, "pending", expires=expires)], NOON)[0]["says"] == says


def test_the_answer_of_a_person_takes_the_place_of_the_proposal_with_who_gave_it():
    waits = decision(6, "pending", expires="2026-11-02T06:00:00Z")
    answered = waits.model_copy(update={"outcome": "rejected", "decided": "2026-11-01T08:00:00Z", "reason": "no (anna, in Airflow)"})
    [found] = decided([waits, answered], NOON)
    assert (found["says"], found["reason"]) == ("rejected by a person as of 2026-11-01T08:00:00Z", "no (anna, in Airflow)")


def test_every_outcome_has_its_words():
    assert set(SAYS) == {*Decision.model_fields["outcome"].annotation.__args__, "lapsed"}
