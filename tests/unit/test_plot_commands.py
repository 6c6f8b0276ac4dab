"""`cubecast plot` as people ask it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from pipeline import __main__ as cli
from pipeline import clock
from pipeline.api import EvaluateRequest, PredictRequest, PromoteRequest, PublishRequest
from pipeline.steps import evaluate, predict, promote, publish
from pipeline.telemetry import QUIET
from tests.unit.steps.evidence_world import CUTOFF, ISSUE, LATER, Town, make_town


@pytest.fixture
def town(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Town:
    town = make_town(tmp_path, monkeypatch)
    monkeypatch.setenv("CUBECAST_STORE", town.settings.store)
    monkeypatch.setattr(clock, "now", lambda: LATER)
    evaluate.run(EvaluateRequest(world=town.file, as_of=CUTOFF), town.settings, QUIET)
    promote.run(PromoteRequest(world=town.file, as_of=CUTOFF), town.settings, QUIET)
    predict.run(PredictRequest(world=town.file, as_of=ISSUE), town.settings, QUIET)
    publish.run(PublishRequest(world=town.file, as_of=ISSUE), town.settings, QUIET)
    return town


def test_each_plot_is_a_file_of_the_kind_that_its_name_says(town: Town, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for kind, more in (
        ("maps", ()),
        ("fan", ("--node", "c")),
        ("skill", ()),
        ("calibration", ()),
        ("explanation", ("--node", "b", "--lead", "2")),
    ):
        to = tmp_path / f"{kind}.{'svg' if kind == 'fan' else 'png'}"
        assert cli.main(["plot", kind, "--world", town.file, "--to", str(to), "--variable", "speed", *more, "--json"]) == 0
        told = json.loads(capsys.readouterr().out)
        assert (told["plot"], told["domain"], told["variable"], told["path"]) == (kind, "road", "speed", str(to))
        assert to.read_bytes()[:5] in (b"\x89PNG\r", b"<?xml")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("fan", "--to", "{}/a.pdf"), ".png or .svg"),
        (("fan", "--to", "{}/a.png", "--node", "f"), "5 others: a, b, c, d, e"),
        (("fan", "--to", "{}/a.png", "--domain", "rod"), "did you mean 'road'?"),
        (("explanation", "--to", "{}/a.png", "--lead", "9"), "leads 1 to 4"),
        (("maps", "--to", "{}/no/such/a.png"), "no folder"),
    ],
)
def test_what_cannot_be_drawn_is_told_and_leaves_no_file(town: Town, tmp_path: Path, words: tuple[str, ...], said: str, capsys) -> None:
    before = set(tmp_path.iterdir())
    assert cli.main(["plot", *(w.format(tmp_path) for w in words), "--world", town.file]) == 78
    assert said in " ".join(capsys.readouterr().err.split())
    assert set(tmp_path.iterdir()) == before


def test_without_matplotlib_the_command_that_installs_it_is_told(
    town: Town, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert cli.main(["plot", "maps", "--world", town.file, "--to", str(tmp_path / "a.png")]) == 78
    assert "pip install 'cubecast[plots]'" in capsys.readouterr().err
