"""What `cubecast sources` says of rows that were not taken."""

import json
from pathlib import Path

import pytest

from pipeline.__main__ import main
from tests.unit.steps.test_land_observe import Place

ROWS = "t,n,v\n2020-01-01T00:00:00,x,1\n2020-01-01T00:00:00,x,one\nnonsense\n2020-01-01T00:00:00,x,1\n"


def test_rejected_rows_are_shown_with_file_place_rule_mend_and_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    place = Place(tmp_path)
    (place.data / "a.csv").write_text(ROWS)
    place.land()
    notes = place.observe().notes
    assert any("column 'v': 'one' is no number; mend: list the text in options.nulls" in note for note in notes)
    monkeypatch.setenv("CUBECAST_STORE", place.settings.store)
    assert main(["sources", "rejected", "--world", str(place.world)]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "s: 2 rows rejected",
        "  a.csv row 2: column 'v': 'one' is no number. Mend: list the text in options.nulls if it stands for a missing value; "
        "correct options.decimal if it is a number",
        "    2020-01-01T00:00:00,x,one",
        "  a.csv row 3: 1 fields, not 3. Mend: if all rows are so, correct options.separator; else ask the provider for that row again",
        "    nonsense",
    ]
    assert main(["sources", "rejected", "--world", str(place.world), "--source", "s", "--most", "1", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["sources"]["s"]
    assert (found["rejected"], [row["row"] for row in found["rows"]]) == (2, [3])
