"""What `cubecast status` says."""

import io

from pipeline.api import Receipt, load_world
from pipeline.status import collect, headline_counts, receipt_line, show

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


def shown(*records, holes=NONE):
    state = collect(load_world("synthetic"), "/store", dict(records), holes)
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
    for words in ("roads count", "1.234", "persistence 1.5, average -", "11/12", "/elsewhere/page.html"):
        assert words in text


def test_counts_of_parts_are_added_up_and_only_the_first_few_are_said():
    assert headline_counts({"a.raw": 1, "b.raw": 2, "a.rejected": 3, "plain": 4}, most=2) == {"raw": 3, "rejected": 3}
    receipt = Receipt(step="observe", world="w", as_of=T, outcome="done", counts={"a.raw": 1000}, notes=("late",))
    assert receipt_line(receipt, 1.24) == "observe w: done, 1,000 raw; late (1.2 s)"


def test_holes_are_listed_also_where_every_provider_was_down_and_no_step_has_ended_yet():
    hole = {"source": "roads", "kind": "delivery", "what": "roads", "first": T, "cells": 0, "first_seen": T, "expires": T, "tries": 3}
    text = shown(holes=NONE | {"open": [hole]})[1]
    assert "no step has ended yet" in text
    assert "deliveries" in text
