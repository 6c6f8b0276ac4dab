"""What the command line answers to each mistake that providers make: found, named, flagged or refused."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.__main__ import main
from pipeline.contracts.flags import Flag
from tests.unit.sources.made import at
from tests.unit.steps.test_source_contracts import AIR, ROWS, Place, series, table

WARM = 12 + np.sin(np.arange(30))
PRESSURE = {"p": {"column": "t", "unit": "hPa", "valid_min": 850.0, "valid_max": 1100.0}}
PASCAL = {"p": {"column": "t", "unit": "Pa", "valid_min": 85_000.0, "valid_max": 110_000.0}}
WIND = {"wind": {"column": "t", "unit": "m s-1", "valid_min": 0.0, "valid_max": 60.0, "usual": [2.0, 6.0]}}
NODES = {"locations": ["data://a.csv"], "nodes": {"location": "data://nodes.csv", "area": [54.0, -15.0, 58.0, 13.0]}}


@dataclass(frozen=True, kw_only=True)
class Case:
    """A delivery, the contract it breaks (fields of the source), and what is answered to it.

    Attributes:
        says: In a note of the receipt, or, where it is refused, in the error.
        flags: How many readings carry which flag.
    """

    rows: list[str]
    says: str = ""
    flag: Flag | None = None
    flagged: int = 0
    refused: bool = False
    fields: dict[str, Any] = field(default_factory=dict)
    places: str = ""


def mixed(values: Any, **fields: Any) -> dict[str, Any]:
    return {"rows": series(values), "flag": Flag.UNIT_SUSPECT, "fields": fields}


def epoch(form: str, factor: int, says: str = "") -> Case:
    rows = [f"{at('2020-06-01T00:00') * factor},x,1"]
    return Case(rows=rows, says=says, fields={"options": {**ROWS, "time_format": form}})


CASES = {
    "K for °C": Case(**mixed(np.r_[WARM, WARM + 273.15]), says="30 readings look like K, not degC", flagged=30),
    "°F for °C, hot": Case(**mixed(np.r_[WARM, (WARM + 20) * 1.8 + 32]), says="look like degF, not degC", flagged=30),
    "°F for °C, plausible": Case(
        **mixed(np.r_[WARM, WARM * 1.8 + 32, WARM], variables={"temperature": {**AIR["temperature"], "spike": 8.0}}),
        says="30 readings look like degF, not degC",
        flagged=30,
    ),
    "Pa for hPa": Case(**mixed(np.r_[1000 + WARM, (1000 + WARM) * 100], variables=PRESSURE), says="look like Pa, not hPa", flagged=30),
    "hPa for Pa": Case(**mixed(np.r_[(1000 + WARM) * 100, 1000 + WARM], variables=PASCAL), says="look like hPa, not Pa", flagged=30),
    "km/h for m/s": Case(**mixed((4.5 + np.sin(np.arange(40))) * 3.6, variables=WIND), says="look like km/h, not m s-1", flagged=17),
    "knots for m/s": Case(**mixed((4 + np.sin(np.arange(40))) * 1.9438, variables=WIND), says="look like knot, not m s-1", flagged=17),
    "a fill code": Case(rows=series([10.0, -9999, 11.0]), says="1 readings of -9999", flag=Flag.FILL_CODE, flagged=1),
    "a listed fill code": Case(
        rows=series([10.0, -1, 11.0]),
        flag=Flag.FILL_CODE,
        flagged=1,
        fields={"variables": {"temperature": {**AIR["temperature"], "missing": [-1.0]}}},
    ),
    "a skipped hour": Case(
        rows=series([1.0], start="2020-03-29T01:30"),
        says="1 rows rejected: a stamp that Europe/London skips",
        fields={"timezone": "Europe/London"},
    ),
    "an hour that comes twice": Case(
        rows=series([1.0], start="2019-10-27T01:30"), says="Europe/London passes twice", fields={"timezone": "Europe/London"}
    ),
    "epochs in ms for s": epoch("epoch_s", 1000, "1 rows rejected: nonsense as epoch_s, sensible as epoch_ms"),
    "epochs in µs for s": epoch("epoch_s", 10**6, "nonsense as epoch_s, sensible as epoch_us"),
    "epochs in s for ms": epoch("epoch_ms", 1, "nonsense as epoch_ms, sensible as epoch_s"),
    "epochs in µs for ms": epoch("epoch_ms", 10**6, "nonsense as epoch_ms, sensible as epoch_us"),
    "epochs in ms for µs": epoch("epoch_us", 1000, "nonsense as epoch_us, sensible as epoch_ms"),
    "epochs as declared": epoch("epoch_us", 10**6),
    "swapped coordinates": Case(
        rows=series([1.0]),
        says="node x: 10.2, 56.1 is where latitude and longitude are swapped",
        refused=True,
        fields=NODES,
        places="x,10.2,56.1",
    ),
    "longitudes 0 to 360": Case(rows=series([1.0]), fields=NODES, places="x,56.1,350.0"),
    "a place elsewhere": Case(rows=series([1.0]), says="node x: 56.1, 30 is outside", refused=True, fields=NODES, places="x,56.1,30"),
    "a stamp in the future": Case(
        rows=series([1.0, 2.0], start="2020-06-30T23:55"), says="1 readings stamped later than received", flag=Flag.FUTURE, flagged=1
    ),
    "nothing": Case(rows=series(WARM)),
}


@pytest.mark.parametrize("name", CASES)
def test_each_mistake_is_answered_by_name(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    case = CASES[name]
    place = Place(tmp_path, **case.fields)
    place.write("a.csv", table(case.rows))
    if case.places:
        place.write("nodes.csv", f"id,latitude,longitude\n{case.places}\n")
    monkeypatch.setenv("CUBECAST_STORE", place.settings.store)
    monkeypatch.setenv("CUBECAST_DATA", str(place.data))
    now = ["--world", str(place.path), "--as-of", "2020-07-01T00:00Z"]
    assert main(["land", *now, "--received-time", "2020-07-01T00:00Z"]) == 0
    capsys.readouterr()
    code = main(["observe", *now, "--json"])
    said = capsys.readouterr()
    if case.refused:
        assert code == 65
        assert case.says in said.err
        return
    assert code == 0, said.err
    notes = json.loads(said.out.splitlines()[-1])["notes"]
    assert any(case.says in note for note in notes) if case.says else notes == []
    variable = next(iter(case.fields.get("variables", AIR)))
    flags = list(place.flags(variable).values())
    assert sum(bool(flag & case.flag) for flag in flags) == case.flagged if case.flag else not any(flags)
