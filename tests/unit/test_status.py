"""What `cubecast status` says."""

import io

from pipeline.api import Receipt, load_world
from pipeline.status import collect, headline_counts, receipt_line
from pipeline.status_view import show

T = "2025-11-01T12:00:00Z"
NONE = {"open": [], "expired": [], "days_given_up": {}}


def record(step, source=None, *, at="2026-01-01T00:00:00Z", **more):
    receipt = Receipt(**{"step": step, "world": "synthetic", "as_of": T, "outcome": "done", **more})
    return (step, source), {
        "receipt": receipt.model_dump(mode="json"),
        "source": source,
        "recorded_time": at,
        "confirmed_time": None,
        "seconds": 1.5,
    }


def observed(source, raw, rejected):
    return {f"{source}.raw": raw, f"{source}.observations": 70, f"{source}.duplicates": 1, f"{source}.rejected": rejected}


BESIDE = {
    "now": "2025-11-01T15:00:00Z",
    "inputs": {},
    "models": {"champion": None, "decisions": [], "candidates": [], "promotions": []},
    "running": [],
    "skill": [],
    "cost": {},
    "storage": {},
    "notes": [],
}
"""What stands beside the grid of a world in which nothing ran."""


def shown(*records, holes=NONE, **beside):
    state = collect(load_world("synthetic"), "/store", dict(records), holes) | BESIDE | beside
    stream = io.StringIO()
    show(state, stream)
    return state, stream.getvalue()


def test_every_raw_row_of_a_source_is_shown_by_what_became_of_it():
    state, text = shown(
        record("observe", "roads", counts=observed("roads", 73, 2)), record("observe", "prices", counts=observed("prices", 99, 0))
    )
    assert state["sources"]["roads"] == {"raw": 73, "observations": 70, "duplicates": 1, "rejected": 2}
    assert [("✓" in line, "does not add up" in line) for line in text.splitlines() if line.startswith(("roads", "prices"))] == [
        (False, True),
        (True, False),
    ]


def test_the_newer_of_the_receipts_of_all_sources_and_of_one_source_counts():
    older = record("observe", at="2026-01-01T00:00:00Z", counts=observed("roads", 1, 0))
    newer = record("observe", "roads", at="2026-01-02T00:00:00Z", counts=observed("roads", 73, 2))
    assert shown(newer, older)[0]["sources"]["roads"]["raw"] == 73


def test_the_model_the_scores_and_the_paths_of_the_products_are_named():
    headline = {
        "domain": "roads",
        "variable": "count",
        "mae": 1.2345,
        "baselines": {"persistence": 1.5, "average": None},
        "leads": 12,
        "leads_won": 11,
    }
    state, text = shown(
        record("evaluate", ids={"model_id": "m-71"}, details={"headline": [headline]}, paths={"scorecard": "registry/card.json"}),
        record("publish", paths={"page": "/elsewhere/page.html"}),
    )
    assert (state["model"], state["latest_issue_time"]) == ("m-71", T)
    assert state["paths"] == {"scorecard": "/store/registry/card.json", "page": "/elsewhere/page.html"}
    for words in ("roads count", "1.234", "persistence", "17.7 %", "11/12", "/elsewhere/page.html", "3.0 h old"):
        assert words in text


def test_counts_of_parts_are_added_up_and_only_the_first_few_are_said():
    assert headline_counts({"a.raw": 1, "b.raw": 2, "a.rejected": 3, "plain": 4}, most=2) == {"raw": 3, "rejected": 3}
    receipt = Receipt(step="observe", world="w", as_of=T, outcome="done", counts={"a.raw": 1000}, notes=("late",))
    assert receipt_line(receipt, 1.24) == "observe w: done, 1,000 raw; late (1.2 s)"


def test_holes_are_listed_also_where_every_provider_was_down_and_no_step_has_ended_yet():
    hole = {"source": "roads", "kind": "delivery", "what": "roads", "first": T, "cells": 0, "first_seen": T, "expires": T, "tries": 3}
    _, text = shown(holes=NONE | {"open": [hole]})
    assert "no step has ended yet" in text
    assert "deliveries" in text


def epochs(*values):
    return [{"validation": {"roads": {"relative_to_anchor": value}}} for value in values]


def test_champion_the_last_verdict_and_why_are_told_in_words():
    target = {"domain": "roads", "variable": "count", "published": "joint", "takes": False, "reasons": []}
    why = "joint is not surely better than champion old: MAE 2 against 2.1"
    last = {"as_of": T, "model_id": "new", "outcome": "pending", "says": "awaits a person's approval until T", "reason": "it takes 1 of 1"}
    before = {"as_of": T, "model_id": "older", "outcome": "kept", "says": "kept back on the evidence", "reason": "it loses"}
    candidate = {"model_id": "new", "as_of": T, "recipe": "tiny", "epochs": 2, "history": epochs(1.0, 0.5)}
    models = {
        "champion": {"model_id": "old", "as_of": T, "how": "hand", "reason": "storm", "verdicts": []},
        "decisions": [last | {"targets": [target | {"short": why, "why": [why, "and too narrow"]}]}, before],
        "candidates": [candidate],
        "promotions": [],
    }
    text = " ".join(shown(models=models)[1].split())
    assert "champion old since 2025-11-01 12:00 (hand): storm" in text
    assert "last verdict new as of 2025-11-01 12:00 awaits a person's approval until T: it takes 1 of 1" in text
    assert "cubecast models approve new --world synthetic --reason TEXT" in text
    assert "roads count joint kept back: joint is not surely better than champion old: MAE 2 against 2.1 (+1)" in text
    assert "older 2025-11-01 12:00 kept back on the evidence" in text
    assert "new 2025-11-01 12:00 tiny 2 roads █▁ 0.5" in text


def test_what_runs_how_good_the_days_were_what_it_cost_and_warnings_are_told():
    days = [
        {"day": "2025-10-31", "mae": 1.0, "skill": 0.5, "coverage": 0.8},
        {"day": "2025-11-01", "mae": 2.0, "skill": 0.25, "coverage": 0.9},
    ]
    text = shown(
        running=[{"model_id": "growing", "epoch": 3, "since": T, "history": epochs(1.0, 0.75, 0.5)}],
        skill=[{"domain": "roads", "variable": "count", "days": days}],
        inputs={"roads": {"age_seconds": 900, "share_present": 0.5}},
        cost={"2025-11-01": {"train": 90.0, "land": 10.0}},
        storage={"landing": 2_500_000, "cubes": 0},
        notes=[f"observe: {n}" for n in range(9)],
    )[1]
    text = " ".join(text.split())
    for words in (
        "growing 3 2025-11-01 12:00 roads █▅▁ 0.5",
        "roads count 2 - █▁ 25.0 % ▁█ 90.0 %",
        "roads 15 min 50.0 %",
        "2025-11-01: 100 s (train 90, land 10)",
        "storage 2.5 MB: landing 2.5 MB",
        "observe: 4 and 4 more: --json",
    ):
        assert words in text, words
