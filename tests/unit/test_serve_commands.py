"""`cubecast serve` as it is started and ended."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from pipeline import __main__ as cli
from pipeline.stores.objects import ObjectStore
from tests.browser.demo import WORLD
from tests.unit.stores.published_demo import FORECAST, publish

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("CUBECAST_STORE", str(tmp_path / "store"))
    monkeypatch.delenv("CUBECAST_TOKENS", raising=False)
    (tmp_path / "demo.toml").write_text(WORLD.lstrip())
    return str(tmp_path / "demo.toml")


def test_it_listens_on_loopback_answers_and_ends_with_ctrl_c(world: str, tmp_path: Path) -> None:
    publish(ObjectStore(str(tmp_path / "store")))
    words = [sys.executable, "-m", "pipeline", "serve", "--world", world, "--port", "0", "--json"]
    with subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=dict(os.environ)) as process:
        try:
            assert process.stdout is not None
            url = json.loads(process.stdout.readline())["url"]
            assert url.startswith("http://127.0.0.1:")
            node = FORECAST.domains["weather"].node_ids[0]
            answer = httpx.get(f"{url}/worlds/demo/forecasts/latest/weather/{node}", timeout=30)
            assert len(answer.json()["rows"]) == 24
        finally:
            process.send_signal(signal.SIGINT)
            _, said = process.communicate(timeout=90)
    assert process.returncode == 130, said
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--host", "192.0.2.1"), "CUBECAST_TOKENS"),
        (("--world", "nowhere"), "no file"),
        (("--host", "127.0.0.1", "--port", "99999"), "99999"),
    ],
)
def test_what_cannot_be_served_is_told_before_anything_listens(world: str, words: tuple[str, ...], said: str, capsys) -> None:
    assert cli.main(["serve", "--world", world, *words]) == 78
    assert said in capsys.readouterr().err


def test_a_port_that_is_taken_is_told_with_the_mend(world: str, capsys) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert cli.main(["serve", "--world", world, "--port", str(taken.getsockname()[1])]) == 78
    assert "--port" in capsys.readouterr().err


def test_without_the_libraries_the_command_that_installs_them_is_told(world: str, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    for name in [m for m in sys.modules if m.startswith("pipeline.serving")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "fastapi", None)
    assert cli.main(["serve", "--world", world]) == 78
    assert "pip install 'cubecast[serve]'" in capsys.readouterr().err
