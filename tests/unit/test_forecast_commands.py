"""`cubecast forecasts`: list, show, export, verify, rebuild, on a town with one forecast issued twice."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from pipeline import __main__ as cli
from pipeline import clock
from pipeline.api import EvaluateRequest, PredictRequest, PromoteRequest, PublishRequest
from pipeline.contracts.times import format_instant
from pipeline.steps import evaluate, predict, promote, publish
from pipeline.telemetry import QUIET
from tests.unit.steps.evidence_world import CUTOFF, ISSUE, LATER, Town, make_town


@dataclass
class Desk:
    town: Town
    capsys: pytest.CaptureFixture[str]

    def say(self, *words: str) -> tuple[int, str, str]:
        code = cli.main(["forecasts", *words, "--world", self.town.file])
        said = self.capsys.readouterr()
        return code, said.out, said.err

    def json(self, *words: str) -> dict[str, Any]:
        code, out, err = self.say(*words, "--json")
        assert code == 0, err
        found: dict[str, Any] = json.loads(out)
        return found

    def issue(self, moment: Any) -> Any:
        predict.run(PredictRequest(world=self.town.file, as_of=moment), self.town.settings, QUIET)
        return publish.run(PublishRequest(world=self.town.file, as_of=moment), self.town.settings, QUIET)


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Desk:
    town = make_town(tmp_path, monkeypatch)
    monkeypatch.setenv("CUBECAST_STORE", town.settings.store)
    monkeypatch.setattr(clock, "now", lambda: LATER)
    evaluate.run(EvaluateRequest(world=town.file, as_of=CUTOFF), town.settings, QUIET)
    promote.run(PromoteRequest(world=town.file, as_of=CUTOFF), town.settings, QUIET)
    desk = Desk(town=town, capsys=capsys)
    desk.issue(ISSUE)
    return desk


def test_a_world_without_forecasts_names_the_command_that_makes_one(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.setenv("CUBECAST_STORE", str(tmp_path / "empty"))
    desk = Desk(town=make_town(tmp_path, monkeypatch), capsys=capsys)
    for words in (("list",), ("show",), ("verify",), ("rebuild",), ("export", "-d", "road", "--to", str(tmp_path / "a.nc"))):
        code, _, err = desk.say(*words)
        assert code == 75, words
        assert "cubecast run --world tiny" in err


def test_a_re_issue_is_a_revision_and_says_what_changed(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.town.errors(monkeypatch, joint=1.5, persistence=3.0, historical_average=2.0, ridge=1.5)
    receipt = desk.issue(ISSUE)
    assert receipt.counts["revision"] == 1
    changed = receipt.details["changes"]["values"]["road/flow"]
    assert changed["largest"] == pytest.approx(0.5, rel=1e-4)
    assert changed["units"] == "count"
    found = desk.json("show")
    assert (found["revision"], found["revisions"], found["issue_time"]) == (1, 2, format_instant(ISSUE))
    assert found["changes"]["values"].keys() == {"road/flow", "road/speed"}
    assert found["provenance"]["inputs"]["road"]["age_seconds"] == 900
    assert desk.json("show", "--revision", "0")["changes"] == {}
    text = desk.say("show")[1]
    assert "changed: road/flow: median changed by 0.5 count" in text
    assert "newest value 15 min old" in text
    assert [f["revision"] for f in desk.json("list")["forecasts"]] == [1]
    assert desk.issue(ISSUE).outcome == "unchanged"


def test_an_instant_without_forecast_is_answered_with_the_nearest(desk: Desk) -> None:
    code, _, err = desk.say("show", "--issue-time", "2024-03-09T05:00Z")
    assert code == 75
    assert f"the nearest {format_instant(ISSUE)}" in err
    assert desk.say("show", "--revision", "4")[0] == 75
    assert desk.say("show", "--issue-time", "yesterday")[0] == 78


def test_a_world_that_declares_no_event_has_no_warning(desk: Desk) -> None:
    found = desk.json("warnings")
    assert found["warnings"] == []
    assert "none is declared" in desk.say("warnings")[1]


def test_exports_are_written_once_and_named(desk: Desk, tmp_path: Path) -> None:
    to = tmp_path / "road.nc"
    found = desk.json("export", "--domain", "road", "--to", str(to))
    assert found["sizes"] == {"issue_time": 1, "lead_time": 4, "node": 5, "quantile": 7}
    with xr.open_dataset(to) as opened:
        assert np.isfinite(opened.flow.values).all()
    assert desk.say("export", "--domain", "road", "--to", str(to))[0] == 78
    code, _, err = desk.say("export", "--domain", "rod", "--to", str(tmp_path / "b.nc"))
    assert (code, "did you mean 'road'" in err) == (78, True)
    words = ("export", "--domain", "road", "--to", str(tmp_path / "wb.zarr"), "--names", "weatherbench", "--rename", "flow=q")
    assert desk.json(*words, "--median")["sizes"] == {"time": 1, "prediction_timedelta": 4, "station": 5}
    assert desk.say("export", "--domain", "road", "--to", str(tmp_path / "c.nc"), "--median")[0] == 78


def test_damage_is_named_by_verify_and_mended_by_rebuild_and_by_publish(desk: Desk) -> None:
    assert desk.json("verify")["files"] == 1
    [parquet] = Path(desk.town.settings.store).rglob("*.parquet")
    good = parquet.read_bytes()
    parquet.write_bytes(good[:-1])
    code, _, err = desk.say("verify")
    assert code == 74
    assert parquet.name in err
    assert "cubecast forecasts rebuild" in err
    assert desk.json("rebuild") == {"world": "tiny", "issue_times": 1, "mended": 1}
    assert parquet.read_bytes() == good
    parquet.unlink()
    receipt = desk.issue(ISSUE)
    assert (receipt.outcome, receipt.notes) == ("done", ("Parquet of road was damaged or gone and is written anew",))
    assert desk.json("rebuild")["mended"] == 0
    [artefact] = Path(desk.town.settings.store).rglob("artefacts/*.safetensors")
    artefact.write_bytes(artefact.read_bytes()[:-1])
    assert artefact.name in desk.say("verify")[2]
    assert desk.say("rebuild")[0] == 74
