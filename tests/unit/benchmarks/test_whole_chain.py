"""What the whole chain's run says of its own cost."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from benchmarks import whole_chain
from benchmarks.whole_chain import FEEDING, ISSUING, LEARNING, STEPS, Ran, costs, sizes

CUBE = {
    "domains": {
        "city": {"nodes": 50, "steps": 2880, "start": "2025-01-01T00:00:00Z", "end": "2025-01-11T00:00:00Z"},
        "shares": {"nodes": 400, "steps": 7, "start": "2020-01-01T00:00:00Z", "end": "2025-01-11T00:00:00Z"},
    }
}


def _ran(step: str, processor: float) -> Ran:
    return {"step": step, "processor": processor, "receipt": {"counts": {"values": 100}}}


def test_what_was_delivered_is_counted_as_it_came_and_without_gzip_and_books_are_not(tmp_path: Path) -> None:
    for name, content in {"a/files/x/1.csv.gz": gzip.compress(b"1" * 5000), "b/files/2.csv": b"22", "a/manifest/0.json": b"{}"}.items():
        (tmp_path / "w" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "w" / name).write_bytes(content)
    assert sizes(tmp_path) == (len(gzip.compress(b"1" * 5000)) + 2, 5002)


def test_a_day_is_its_readings_24_forecasts_and_a_model_and_a_node_hour_its_share(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "landing" / "w" / "city" / "files" / "1.csv"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"1" * 10_000_000)
    monkeypatch.setattr(whole_chain, "command", lambda *_: json.dumps(CUBE))
    nine = [_ran(step, 10.0 if step in FEEDING else 100.0) for step in STEPS]
    hourly = [_ran(step, 1.0 if step in FEEDING else 2.0) for _ in range(4) for step in (*FEEDING, *ISSUING)]
    rows = [line.split(" | ") for line in costs("w", nine, hourly, [_ran(step, 20.0) for step in LEARNING], str(tmp_path)).splitlines()]
    found = {row[0].removeprefix("| "): row[1] for row in rows if len(row) == 3}
    assert found["a GB of raw text, from the feed to the cube"] == "3000.0"
    assert found["a node-hour of readings, from the feed to the cube"] == f"{30 / (50 * 240):.2g}"
    assert found["a forecast, issued, published and verified"] == "6.0"
    assert found["a forecast value"] == "0.06"
    day = 3 + 24 * (3 + 6)
    assert found["a day: a day's readings, 24 forecasts, a model (from the champion, from nothing)"] == f"{day + 60}, {day + 300}"
    assert found["**a node-hour, everything included**"] == f"{(day + 60) / 1200:.2g}, {(day + 300) / 1200:.2g}"
    short = costs("w", nine, hourly, [_ran(step, 20.0) for step in LEARNING], str(tmp_path), brief=True)
    assert "from nothing" not in short
    assert f"| **a node-hour, everything included** | {(day + 60) / 1200:.2g} |" in short
