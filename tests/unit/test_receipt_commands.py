"""`cubecast receipts show`: a receipt as people and programs read it."""

import json
from datetime import UTC, datetime

import pytest

from pipeline import __main__ as cli
from pipeline.contracts.times import parse_instant
from pipeline.stores.objects import ObjectStore
from pipeline.stores.receipts import Receipts

RECEIPT = {
    "step": "build_cube",
    "world": "synthetic",
    "as_of": "2025-11-01T12:00:00Z",
    "outcome": "done",
    "ids": {"snapshot": "S71"},
    "counts": {"cells": 71},
    "paths": {},
    "notes": ["one", "two", "three of them"],
    "details": {"missing_share": {"traffic": 0.25}},
}


@pytest.fixture
def words(tmp_path, monkeypatch):
    """How to ask for the receipt that lies in the store."""
    monkeypatch.setenv("CUBECAST_STORE", str(tmp_path))
    Receipts(ObjectStore(str(tmp_path))).save(
        RECEIPT, as_of=parse_instant(RECEIPT["as_of"]), source=None, recorded_time=datetime.now(UTC), seconds=1.5
    )
    return ["receipts", "show", "build-cube", "--world", "synthetic", "--as-of", "2025-11-01T12:00Z"]


def test_a_receipt_is_shown_with_all_its_notes_and_details(words, capsys):
    assert cli.main(words) == 0
    said = capsys.readouterr().out
    for word in ("build_cube synthetic: done, 71 cells (1.5 s)", "three of them", "snapshot: S71", '"traffic": 0.25'):
        assert word in said


def test_a_program_gets_the_receipt_as_one_object(words, capsys):
    assert cli.main([*words, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == RECEIPT


def test_receipts_are_read_where_a_step_says_that_they_lie_and_nowhere_else(words, tmp_path, capsys):
    place = str(tmp_path / "receipts" / "synthetic" / "2025-11" / "20251101T120000Z" / "build_cube.json")
    assert cli.main(["receipts", "read", place, place]) == 0
    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == [RECEIPT, RECEIPT]
    assert cli.main(["receipts", "read", f"/elsewhere{place}"]) == 74
    assert f"the store is {tmp_path}" in capsys.readouterr().err
    assert cli.main(["receipts", "read", place, place.replace("build_cube", "train")]) in (74, 75)
    assert capsys.readouterr().out == ""


def test_a_step_that_has_not_run_has_no_receipt_and_the_error_says_where_to_look(words, capsys):
    assert cli.main([*words, "--source", "roads"]) == 75
    assert "cubecast status --world synthetic" in capsys.readouterr().err
