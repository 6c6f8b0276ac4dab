"""Places to try the command line in: a world file and a store in a folder of their own."""

import json
from pathlib import Path

import pytest

import pipeline.__main__ as cli

STEPS = ("land", "observe", "build-cube", "train", "evaluate", "promote", "predict", "publish", "verify")
CSV = """
name = "roads"
title = "Two roads"
recipe = "tiny"
recipe_options = { epochs = 1, steps = 12 }
start = "2025-01-01T00:00Z"
[recorded]
end = "2025-01-11T00:00Z"
as_of = "2025-01-10T12:00Z"

[sources.road]
adapter = "csv"
locations = ["data://*.csv*"]
timezone = "Europe/Copenhagen"
options = { time = "time", node_column = "node" }
[sources.road.variables]
speed = { unit = "km/h" }

[domains.road]
title = "Roads"
clock = { step = "1h" }
context = 6
horizon = 3
graph = { kind = "none" }
[domains.road.variables]
speed = { source = "road" }
"""
RIVER = """
[sources.river]
adapter = "csv"
locations = ["data://river/*.csv"]
options = { time = "time", node_column = "node" }
[sources.river.variables]
level = { unit = "m" }

[domains.river]
title = "River"
clock = { step = "1h" }
context = 6
horizon = 3
graph = { kind = "none" }
[domains.river.variables]
level = { source = "river" }
"""


class Place:
    """A world file and a store in a folder of their own; commands run in this process, as the command line runs them."""

    def __init__(self, folder: Path, world: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self.store, self.world, self._capsys = folder / "store", world, capsys
        monkeypatch.setenv("CUBECAST_STORE", str(self.store))
        monkeypatch.setenv("CUBECAST_DATA", str(folder / "data"))

    def do(self, *words: str) -> tuple[int, str, str]:
        """Exit code, stdout, stderr."""
        self._capsys.readouterr()
        code = cli.main([*words, "--world", str(self.world)])
        out, err = self._capsys.readouterr()
        return code, out, err

    def fails(self, code: int, *words: str) -> str:
        """What the one message says, after it was seen to be one, whole and without a trace; with --json it is one line."""
        found, _, err = self.do(*words)
        assert found == code, err
        assert "Traceback" not in err
        assert [err.count(f"\n  {part}: ") for part in ("found", "mend")] == [1, 1], err
        found, _, lines = self.do(*words, "--json")
        said = json.loads(lines.splitlines()[-1])
        assert (found, said["event"], said["exit_code"]) == (code, "error", code)
        assert lines.count('"event": "error"') == 1
        assert all(json.loads(line) for line in lines.splitlines())
        return f"{said['error']}: {said['asked']}; {said['found']}; {said['mend']}"

    def ids(self, *words: str) -> dict[str, str]:
        """The ids of a step that succeeds; a snapshot's name is drawn at random."""
        code, out, err = self.do(*words, "--json")
        assert code == 0, err
        return {name: value for name, value in json.loads(out)["ids"].items() if name != "snapshot"}


def rows(nodes: str = "ab", hours: int = 240, silent: str = "") -> str:
    stamps = [f"2025-01-{1 + k // 24:02d}T{k % 24:02d}:00:00+01:00" for k in range(hours)]
    return "time,node,speed\n" + "".join(f"{t},{n},{'' if n in silent else 50 + k % 24}\n" for k, t in enumerate(stamps) for n in nodes)
