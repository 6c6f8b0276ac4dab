"""`cubecast models`: what it shows, and the champion changed by hand, never losing an entry of the log."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load

from models.portable import Program
from pipeline import __main__ as cli
from pipeline import clock
from pipeline.api import EvaluateRequest, PromoteRequest
from pipeline.contracts.times import format_instant
from pipeline.contracts.windows import WindowSet
from pipeline.steps import evaluate, promote
from pipeline.stores.objects import ObjectStore
from pipeline.stores.registry import Registry
from pipeline.telemetry import QUIET
from tests.unit.steps.evidence_world import CUTOFF, ISSUE, LATER, Town, make_town

REASON = ("--reason", "the harbour looks wrong")


@dataclass
class Desk:
    """A town, and the command line over its store at LATER o'clock."""

    town: Town
    patch: pytest.MonkeyPatch
    capsys: pytest.CaptureFixture[str]
    registry: Registry = field(init=False)

    def __post_init__(self) -> None:
        self.registry = Registry(ObjectStore(self.town.settings.store), "tiny")

    def say(self, *words: str) -> tuple[int, str, str]:
        code = cli.main(["models", *words, "--world", self.town.file])
        out, err = self.capsys.readouterr()
        return code, out, err

    def json(self, *words: str) -> Any:
        code, out, err = self.say(*words, "--json")
        assert code == 0, err
        assert out.count("\n") == 1
        return json.loads(out)

    def evaluate(self, model_id: str, **errors: float) -> None:
        self.town.errors(self.patch, model_id, **({"persistence": 3.0, "historical_average": 2.0, "ridge": 1.5} | errors))
        self._evaluate(model_id, CUTOFF)

    def _evaluate(self, model_id: str, as_of: datetime) -> None:
        evaluate.run(EvaluateRequest(world=self.town.file, as_of=as_of, model_id=model_id), self.town.settings, QUIET)

    def promote(self, model_id: str, as_of: datetime) -> str:
        """Evaluate against the champion of that instant, then promote."""
        self._evaluate(model_id, as_of)
        request = PromoteRequest(world=self.town.file, as_of=as_of, model_id=model_id)
        return promote.run(request, self.town.settings, QUIET).outcome


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Desk:
    """Model m1 errs by 1.0, m2 by 0.5, both evaluated; m3 was not."""
    town = make_town(tmp_path, monkeypatch)
    monkeypatch.setenv("CUBECAST_STORE", town.settings.store)
    monkeypatch.setattr(clock, "now", lambda: LATER)
    desk = Desk(town=town, patch=monkeypatch, capsys=capsys)
    first = desk.registry.candidate("m1")
    files = {name: first.read(name) for name in first.file_names}
    for number in (2, 3):
        desk.registry.add_candidate(f"m{number}", files, first.card | {"seed": number})
    desk.evaluate("m1", joint=1.0)
    desk.evaluate("m2", joint=0.5)
    return desk


def test_the_list_tells_cut_offs_scores_the_champion_and_what_is_published(desk: Desk) -> None:
    desk.promote("m1", CUTOFF)
    found = desk.json("list")
    assert found["champion"] == "m1"
    assert [(m["model_id"], m["champion"], m["evaluated"]) for m in found["models"]] == [
        ("m1", True, True),
        ("m2", False, True),
        ("m3", False, False),
    ]
    assert found["models"][1]["headline"][0]["mae"] == pytest.approx(0.5, rel=1e-5)
    assert (found["models"][0]["as_of"], found["models"][0]["recipe"]) == (format_instant(CUTOFF), "stub")
    assert found["published"] == [{"domain": "road", "variable": v, "published": "joint", "model_id": "m1"} for v in ("flow", "speed")]
    assert [p["how"] for p in found["promotions"]] == ["evidence"]
    text = " ".join(desk.say("list")[1].split())
    assert "champion m1" in text
    assert "road flow 0.5 (1.5)" in text
    assert "never evaluated" in text


def test_the_list_of_an_earlier_instant_knows_neither_later_models_nor_later_champions(desk: Desk) -> None:
    desk.promote("m1", ISSUE)
    assert desk.json("list", "--as-of", format_instant(CUTOFF))["champion"] is None
    code, out, _ = desk.say("list", "--as-of", "2024-03-05T00:00Z")
    assert code == 0
    assert "cubecast train" in out


def test_a_model_explains_how_it_mixes_and_the_champion_is_meant_by_default(desk: Desk) -> None:
    found = desk.json("explain", "m2")
    assert found["model_id"] == "m2"
    assert found["domains"]["road"]["alpha"] == [0.5] * 5
    text = " ".join(desk.say("explain", "m2")[1].split())
    assert "alpha 0.5 (a) to 0.5 (e)" in text
    assert "lead 4" in text
    assert found["domains"]["road"]["outages"] == {}
    assert desk.say("explain")[0] == 75
    desk.promote("m1", CUTOFF)
    assert desk.json("explain")["model_id"] == "m1"


class Exporting:
    """A model whose program is a stand-in."""

    leading = ("road",)

    def modalities(self, domain: str) -> tuple[str, ...]:
        return ("rain", "text_notes")

    def portable(self, windows: WindowSet, domain: str, index: np.ndarray) -> Program:
        one = np.ones((len(index), 2), np.float32)
        return Program(program=b"program", inputs={"context": one}, outputs={"quantiles": one}, interface={"units": ["km/h"]})


def test_a_model_is_exported_with_its_example_and_how_to_use_it(desk: Desk, tmp_path: Path) -> None:
    desk.registry.add_candidate(
        "m4", dict.fromkeys(("joint.json", "joint.safetensors"), b'{"domains": {}}') | scalers_of(desk), {"as_of": format_instant(CUTOFF)}
    )
    desk.patch.setattr("models.api.load", lambda state, meta: Exporting())
    found = desk.json("export", "m4", "--out", str(tmp_path / "out"))
    assert found["domains"] == {"road": {"bytes": 7, "files": ["road.example.safetensors", "road.json", "road.pt2", "road.txt"]}}
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == found["domains"]["road"]["files"]
    assert (tmp_path / "out" / "road.pt2").read_bytes() == b"program"
    assert set(load((tmp_path / "out" / "road.example.safetensors").read_bytes())) == {"in/context", "out/quantiles"}
    told = (tmp_path / "out" / "road.txt").read_text()
    assert "model m4" in told
    assert "before calibration" in told
    assert (json.loads((tmp_path / "out" / "road.json").read_text())["calibrated"], found["model_id"]) == (False, "m4")
    assert "road.pt2" in desk.say("export", "m4", "--out", str(tmp_path / "out"))[1]


def scalers_of(desk: Desk) -> dict[str, bytes]:
    return {"scalers.safetensors": desk.registry.candidate("m1").read("scalers.safetensors")}


def test_a_model_is_shown_with_its_scorecard_and_every_reason(desk: Desk) -> None:
    desk.town.told = ("rain",)
    desk.evaluate("m3", joint=1.0, ridge=0.5)
    found = desk.json("show", "m3")
    assert found["card"]["seed"] == 3
    assert {v["published"] for v in found["verdicts"]} == {"ridge"}
    assert {r["lead"] for r in found["scorecard"]["rows"]} == {0, 1, 2, 3, 4}
    off = found["outages"]["road"]["rain"]
    assert [off[v][k] for v in ("flow", "speed") for k in ("mae", "mae_without")] == pytest.approx([1, 2, 1, 2], rel=1e-5)
    assert desk.json("explain", "m3")["domains"]["road"]["outages"]["rain"] == off
    text = " ".join(desk.say("show", "m3")[1].split())
    assert "road, MAE on the held-out windows, and with each switched off" in text
    assert "all no rain flow 1 2 speed 1 2" in text
    assert "all no rain flow 1 2 speed 1 2" in " ".join(desk.say("explain", "m3")[1].split())
    assert "joint does not beat ridge: MAE 1 against 0.5 count" in text
    assert "road flow: ridge is published" in text


def test_a_model_never_evaluated_is_shown_with_the_mend(desk: Desk) -> None:
    assert desk.json("show", "m3")["verdicts"] == []
    assert "--model-id m3" in desk.say("show", "m3")[1]


def test_two_models_are_compared_on_the_windows_of_both(desk: Desk) -> None:
    found = desk.json("compare", "m1", "m2")
    assert [(t["domain"], t["variable"]) for t in found["targets"]] == [("road", "flow"), ("road", "speed")]
    flow = found["targets"][0]
    assert flow["first"] == pytest.approx(1.0, rel=1e-5)
    assert flow["second"] == pytest.approx(0.5, rel=1e-5)
    assert flow["difference"]["value"] == pytest.approx(0.5, rel=1e-5)
    assert flow["days"] >= 1
    assert flow["left_out"] == 0
    assert found["notes"] == []
    assert flow["p_holm"] == min(1.0, 2 * min(t["difference"]["p"] for t in found["targets"])) >= flow["difference"]["p"]
    sure = flow["difference"]
    assert flow["all_low"] <= sure["dm_low"] <= sure["value"] <= sure["dm_high"] <= flow["all_high"]
    text = desk.say("compare", "m1", "m2")[1]
    assert "p (Holm)" in text
    assert "95 % of all (DM)" in text
    assert "road flow (count)" in text
    assert "+0.5" in text


def test_a_model_is_promoted_by_hand_with_the_verdicts_of_its_own_scorecard_once(desk: Desk) -> None:
    desk.promote("m2", CUTOFF)
    words = ("promote", "m1", "--as-of", format_instant(ISSUE), *REASON)
    first, again = desk.json(*words), desk.json(*words)
    assert (first["outcome"], again["outcome"]) == ("done", "unchanged")
    entry = first["promotion"]
    assert (entry["model_id"], entry["previous"], entry["how"], entry["reason"]) == ("m1", "m2", "hand", REASON[1])
    assert "MAE 1 against" in entry["verdicts"][0]["reasons"][0]
    assert "(Diebold-Mariano " in entry["verdicts"][0]["reasons"][0]
    assert desk.registry.champion(CUTOFF).model_id == "m2"
    assert len(desk.registry.promotions()) == 2


def test_a_rollback_names_the_previous_champion_and_earlier_instants_keep_theirs(desk: Desk) -> None:
    desk.promote("m1", CUTOFF)
    desk.promote("m2", ISSUE)
    before = desk.registry.promotions()
    first, again = desk.json("rollback", *REASON), desk.json("rollback", *REASON)
    assert (first["outcome"], again["outcome"]) == ("done", "unchanged")
    entry = first["promotion"]
    assert (entry["as_of"], entry["model_id"], entry["previous"], entry["how"]) == (format_instant(LATER), "m1", "m2", "rollback")
    assert entry["verdicts"] == [v.model_dump(mode="json") for v in before[0].verdicts]
    assert [desk.registry.champion(t).model_id for t in (CUTOFF, ISSUE, LATER)] == ["m1", "m2", "m1"]
    assert desk.registry.promotions()[:2] == before
    assert "unchanged" not in desk.say("list")[1]


def test_the_daily_promotion_does_not_undo_a_rollback_but_a_person_may(desk: Desk) -> None:
    desk.promote("m1", CUTOFF)
    desk.promote("m2", ISSUE)
    desk.json("rollback", "--as-of", format_instant(ISSUE), *REASON)
    assert [desk.promote("m2", ISSUE) for _ in range(2)] == ["done", "unchanged"]  # the decision says why, once
    assert "only a person undoes that" in desk.registry.decisions.read()[-1].reason
    assert desk.registry.champion(ISSUE).model_id == "m1"
    assert desk.json("promote", "m2", "--as-of", format_instant(ISSUE), *REASON)["outcome"] == "done"
    assert desk.registry.champion(ISSUE).model_id == "m2"


def test_two_rollbacks_go_back_two_champions_and_never_forth_again(desk: Desk) -> None:
    desk.evaluate("m3", joint=0.4)
    for number, hour in enumerate((0, 1, 2), start=1):
        desk.promote(f"m{number}", CUTOFF.replace(hour=hour))
    for hour, champion in ((3, "m2"), (4, "m1")):
        entry = desk.json("rollback", "--as-of", format_instant(CUTOFF.replace(hour=hour)), *REASON)["promotion"]
        assert entry["model_id"] == champion
    code, _, err = desk.say("rollback", *REASON)
    assert code == 75
    assert "no other champion before m1" in err
    assert len(desk.registry.promotions()) == 5


@pytest.mark.parametrize(
    ("words", "code", "found"),
    [
        (("show", "m9"), 75, "did you mean 'm"),
        (("show", "m"), 75, "3 such models; there are: m1, m2, m3"),
        (("compare", "m1", "m3"), 75, "cubecast evaluate"),
        (("promote", "m3", *REASON), 75, "cubecast evaluate"),
        (("promote", "m1", "--reason", " "), 78, "say why"),
        (("promote", "m1"), 78, "--reason"),
        (("promote", "m1", "--as-of", "2024-03-08T00:00Z", *REASON), 65, "trained on data until"),
        (("promote", "m1", "--as-of", "2030-01-01T00:00Z", *REASON), 78, "later than it reaches"),
        (("promote", "m1", "--as-of", "yesterday", *REASON), 78, "Invalid isoformat"),
        (("rollback", *REASON), 75, "no promotion by then"),
        (("approve", "m1", *REASON), 75, "waiting are: none"),
        (("reject", "m9", *REASON), 75, "did you mean 'm"),
    ],
)
def test_what_cannot_be_done_is_said_with_the_mend_and_changes_nothing(desk: Desk, words: tuple[str, ...], code: int, found: str) -> None:
    said, out, err = desk.say(*words)
    assert (said, out) == (code, "")
    assert found in " ".join(err.split())
    assert desk.registry.promotions() == []


def test_a_proposal_is_listed_with_the_ways_on_and_approved_or_rejected_by_command(desk: Desk) -> None:
    file = Path(desk.town.file)
    file.write_text(file.read_text().replace("[promotion]", '[promotion]\napproval = "human"\ntime_out = "12h"'))
    desk.promote("m1", CUTOFF)
    found = desk.json("list")
    assert found["champion"] is None
    assert [(p["model_id"], p["takes"]) for p in found["proposals"]] == [("m1", {"road.flow": "joint", "road.speed": "joint"})]
    assert "cubecast models approve|reject m1" in " ".join(desk.say("list")[1].split())
    entry = desk.json("approve", "m1", *REASON)["promotion"]
    assert (entry["model_id"], entry["how"], entry["as_of"]) == ("m1", "approval", format_instant(LATER))
    assert desk.say("approve", "m1", *REASON)[0] == 75
    desk.promote("m2", LATER)
    assert desk.json("reject", "m2", *REASON)["decision"]["outcome"] == "rejected"
    assert desk.json("list")["champion"] == "m1"
    text = " ".join(desk.say("show", "m2")[1].split())
    assert "rejected" in text
    assert REASON[1] in text


@pytest.mark.parametrize("command", ["list", "show", "compare", "promote", "rollback", "approve", "reject"])
def test_the_help_has_an_example(capsys: pytest.CaptureFixture[str], command: str) -> None:
    assert cli.main(["models", command, "--help"]) == 0
    assert f"Example: cubecast models {command}" in " ".join(capsys.readouterr().out.split())
