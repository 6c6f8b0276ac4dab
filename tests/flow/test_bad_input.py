"""Bad input, a full disk, a damaged store: one clear message, the fitting exit code, nothing lost, and the same command goes on."""

import contextlib
import copy
import gzip
import io
import json
import os
import resource
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

import pipeline.__main__ as cli
from pipeline.contracts.world_files import load_world
from pipeline.errors import StoreError
from pipeline.stores.objects import ObjectStore
from pipeline.stores.observations import ObservationStore
from tests.world import tiny_world

STEPS = ("land", "observe", "build-cube", "train", "evaluate", "promote", "predict", "publish", "verify")


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


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Path]]:
    """The tiny world's store before each step, and the ids that each step then gives."""
    folder = tmp_path_factory.mktemp("undisturbed")
    world = tiny_world(folder)
    world.write_text(world.read_text().replace('recipe = "tiny"\n', 'recipe = "tiny"\nrecipe_options = { epochs = 1, steps = 12 }\n'))
    store, ids = folder / "store", {}
    store.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CUBECAST_STORE", str(store))
        for step in STEPS:
            shutil.copytree(store, folder / f"before-{step}")
            with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
                assert cli.main([step, "--world", str(world)]) == 0
            ids[step] = _newest_ids(store, step)
    (folder / "ids.json").write_text(json.dumps(ids))
    return folder, world


def _newest_ids(store: Path, step: str) -> dict[str, str]:
    [receipt] = store.glob(f"receipts/tiny/*/*/{step.replace('-', '_')}.json")
    return {k: v for k, v in json.loads(receipt.read_text())["receipt"]["ids"].items() if k != "snapshot"}


@pytest.fixture
def tiny(undisturbed, tmp_path, monkeypatch, capsys):
    """The tiny world with the store as it is before a step: call with that step (or `done`)."""
    folder, world = undisturbed

    def at(step: str) -> Place:
        place = Place(tmp_path, world, monkeypatch, capsys)
        shutil.copytree(folder / ("store" if step == "done" else f"before-{step}"), place.store)
        return place

    at.ids = json.loads((folder / "ids.json").read_text())
    return at


# ---- What providers send -------------------------------------------------------------------------------------------

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


def _rows(nodes: str = "ab", hours: int = 240, silent: str = "") -> str:
    stamps = [f"2025-01-{1 + k // 24:02d}T{k % 24:02d}:00:00+01:00" for k in range(hours)]
    return "time,node,speed\n" + "".join(f"{t},{n},{'' if n in silent else 50 + k % 24}\n" for k, t in enumerate(stamps) for n in nodes)


@pytest.fixture
def csv(tmp_path, monkeypatch, capsys):
    """A world of CSV files: call with its file's content and name, changes to the world, more of the world."""

    def make(content: str | bytes, *changes: tuple[str, str], file: str = "r.csv", more: str = "") -> Place:
        (tmp_path / "data" / "river").mkdir(parents=True, exist_ok=True)
        (tmp_path / "data" / file).write_bytes(content if isinstance(content, bytes) else content.encode())
        text = CSV + more
        for old, new in changes:
            assert old in text
            text = text.replace(old, new, 1)
        world = tmp_path / "roads.toml"
        world.write_text(text)
        return Place(tmp_path, world, monkeypatch, capsys)

    return make


def test_malformed_rows_are_kept_with_file_row_and_reason_and_the_counts_add_up(csv):
    text = _rows(hours=48).replace("T03:00:00+01:00,a,53", "T03:00:00+01:00,a,fast", 1).replace("2025-01-02T", "2025-13-02T", 1) + "x,y\n"
    place = csv(text)
    assert place.do("land")[0] == 0
    code, out, err = place.do("observe", "--json")
    counts = json.loads(out)["counts"]
    assert (code, counts["road.raw"], counts["road.rejected"]) == (0, 97, 3), err
    assert counts["road.raw"] == counts["road.observations"] + counts["road.duplicates"] + counts["road.rejected"]
    kept = ObservationStore(ObjectStore(str(place.store)), load_world(str(place.world)), "road").rejections().to_pylist()
    assert [(r["file"], r["row"]) for r in kept] == [("r.csv", 7), ("r.csv", 49), ("r.csv", 97)]
    assert ["'fast' is no number" in kept[0]["reason"], "2025-13-02" in kept[1]["reason"], kept[2]["reason"]] == [
        True,
        True,
        "2 fields, not 3",
    ]
    assert kept[2]["raw"] == "x,y"


def test_a_truncated_gzip_names_the_file_and_a_whole_one_of_its_name_heals_it(csv):
    whole = gzip.compress(_rows().encode(), mtime=0)
    place = csv(whole[:-200], file="r.csv.gz")
    assert place.do("land")[0] == 0
    said = place.fails(65, "observe")
    assert "ContractError: source road: unpack r.csv.gz" in said
    assert "truncated gzip" in said
    csv(whole, file="r.csv.gz")
    assert place.do("land")[0] == 0
    code, out, _ = place.do("observe", "--json")
    assert (code, json.loads(out)["counts"]["road.observations"]) == (0, 480)
    assert "r.csv.gz (delivery 0) is unreadable; a newer one took its place" in out


@pytest.mark.parametrize(
    ("content", "change", "words"),
    [
        (_rows(), ('speed = { unit = "km/h" }', 'speed = { unit = "km/h", column = "sped" }'), ["column 'sped' of r.csv", "'speed'"]),
        ("", None, ["r.csv", "0 bytes"]),
        (bytes(range(128, 256)), None, ["header of r.csv", "utf-8", "options.encoding"]),
    ],
)
def test_a_file_that_cannot_be_read_breaks_the_contract_with_its_place(csv, content, change, words):
    place = csv(content, *([change] if change else []))
    assert place.do("land")[0] == 0
    said = place.fails(65, "observe")
    assert [word for word in ["ContractError: source road", *words] if word not in said] == []
    assert not list(place.store.glob("observations/*/*/*/commits/*"))


def test_a_missing_file_may_still_come(csv, tmp_path):
    place = csv(_rows(), more=RIVER)
    said = place.fails(75, "run")
    assert "location 'data://river/*.csv'" in said
    assert str(tmp_path / "data" / "river") in said
    (tmp_path / "data" / "river" / "late.csv").write_text("time,node,level\n")
    code, out, err = place.do("run")
    assert code == 0, err
    assert "domain river" in out


def test_a_node_that_never_says_anything_hinders_no_other(csv):
    place = csv(_rows(nodes="abc", silent="c"))
    code, out, err = place.do("run")
    assert code == 0, err
    assert "9 rows" in out


@pytest.mark.parametrize(
    ("content", "changes", "step", "words"),
    [
        (_rows(silent="ab"), [], "train", ["domain 'road' holds no value", "2025-01-10T12:00:00Z"]),
        (_rows(), [("horizon = 3", "horizon = 400")], "train", ["domain 'road' is not forecast", "shorten context and horizon"]),
        (_rows(hours=8), [], "predict", ["no domain of road has a value in its context", "2025-01-10T12:00:00Z"]),
        ("time,node,speed\n", [], "build_cube", ["no domain that has begun and has a node", "wait for readings"]),
    ],
)
def test_too_little_data_says_so_at_the_step_that_needs_it(csv, content, changes, step, words):
    place = csv(content, *changes)
    said = place.fails(75, "run")
    assert [word for word in ["NotYetAvailable", *words] if word not in said] == []
    assert place.do("run")[2].splitlines()[-3].startswith("NotYetAvailable")
    assert f"\n{step} " in place.do("run")[2]


# ---- What people write ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ([("Europe/Copenhagen", "Europe/Copenhagn")], ["sources.road.timezone = 'Europe/Copenhagn'", "did you mean 'Europe/Copenhagen'"]),
        (
            [("horizon = 3", "horzon = 3"), ('step = "1h"', 'step = "7h"'), ("context = 6", 'context = "six"'), ("unit =", "untit =")],
            [
                "6 fault(s)",
                "domains.road.horzon = 3: no such key; did you mean 'horizon'? allowed: title,",
                "domains.road.horizon: this key is missing",
                "7h does not divide a day",
                "domains.road.context = 'six'",
                "did you mean 'unit'",
            ],
        ),
        ([('source = "road"', 'source = "raod"')], ["domains.road.variables.speed.source = 'raod'", "did you mean 'road'"]),
        ([('adapter = "csv"', 'adapter = "cvs"')], ["sources.road.adapter = 'cvs'", "did you mean 'csv'"]),
        ([("node_column", "node_colum")], ["options.node_colum", "no such key; did you mean 'node_column'"]),
        ([('unit = "km/h"', 'unit = "kmh/h", to = "m s-1"')], ["sources.road.variables.speed.unit = 'kmh/h'", "no such unit"]),
        ([('step = "1h"', 'calendar = "XNYSE"')], ["domains.road.clock.calendar = 'XNYSE'", "did you mean 'XNYS'"]),
        ([('recipe = "tiny"', 'recipe = "tinny"')], ["recipe 'tinny'", "did you mean 'tiny'"]),
        ([("epochs", "epocs")], ["model option 'epocs'", "did you mean 'epochs'"]),
        ([("2025-01-10T12:00Z", "2026-01-10T12:00Z")], ["recorded", "is after end 2025-01-11T00:00:00Z"]),
        ([("2025-01-01T00:00Z", "2025-01-01T00:00")], ["start = '2025-01-01T00:00'", "no UTC offset"]),
        ([("horizon = 3", "horizon = = 3")], ["no valid TOML", "line"]),
    ],
)
def test_a_fault_of_a_world_file_is_told_before_anything_runs(csv, changes, words, capsys):
    place = csv(_rows(), *changes)
    said = place.fails(78, "run")
    assert [word for word in ["ConfigError: world", "roads", *words] if word not in said] == []
    assert not place.store.exists()
    assert cli.main(["worlds", "check", str(place.world)]) == 78
    err = capsys.readouterr().err
    assert [word for word in words if word not in err] == []


def test_a_world_file_that_is_no_text_is_named(csv):
    place = csv(_rows())
    place.world.write_bytes(b"\xff\xfe\x00")
    assert "no UTF-8 text" in place.fails(78, "land")


@pytest.mark.parametrize(
    ("code", "line", "words"),
    [
        (78, "land --source wether", ["source 'wether' of world tiny", "did you mean 'weather'"]),
        (78, "train --recipe tinny", ["recipe 'tinny'", "did you mean 'tiny'"]),
        (78, "train --set epocs=3", ["model option 'epocs'", "did you mean 'epochs'"]),
        (78, "train --set epochs=many", ["epochs = 'many'", "a whole number"]),
        (78, "predict --as-of 2025-10-30T12:00", ["--as-of 2025-10-30T12:00", "no UTC offset"]),
        (78, "run --as-of 2020-01-01T00:00Z", ["before it begins", "2025-10-22T00:00:00Z .. 2025-10-31T00:00:00Z"]),
        (78, "predict --as-of 2027-01-01T00:00Z", ["later than it reaches", "such as 2025-10-30T12:00:00Z"]),
        (75, "train --as-of 2025-10-22T02:00Z", ["no training window", "2025-10-22T02:00:00Z", "later --as-of"]),
        (75, "publish --as-of 2025-10-29T12:00Z", ["issued at 2025-10-29T12:00:00Z", "cubecast predict"]),
        (75, "verify --issue-time 2025-10-29T12:00Z", ["issued at 2025-10-29T12:00:00Z", "cubecast publish"]),
        (75, "evaluate --model-id abc", ["model abc of world tiny", "there are: "]),
    ],
)
def test_what_is_unknown_is_named_beside_what_there_is(tiny, code, line, words):
    said = tiny("done").fails(code, *line.split())
    assert [word for word in words if word not in said] == []


# ---- Storage -------------------------------------------------------------------------------------------------------


def _bytes_of(store: Path) -> dict[str, bytes]:
    """Everything a reader can see; unreferenced content lies beside it."""
    return {str(p.relative_to(store)): p.read_bytes() for p in store.rglob("*") if p.is_file()}


@contextlib.contextmanager
def _largest_file(size: int) -> Iterator[None]:
    """No file of this process can grow beyond `size` bytes: what a full disk looks like from inside."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextlib.contextmanager
def _mounted(folder: Path, size: str) -> Iterator[None]:
    """A file system of its own at a folder; skips where that is not allowed."""
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], capture_output=True)
    if done.returncode:
        pytest.skip("no right to mount a file system")
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def _remounted(folder: Path, options: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{options}", str(folder)], check=True)


@pytest.mark.parametrize("size", [1, 6000])
@pytest.mark.parametrize("step", ["land", "observe", "build-cube", "train", "publish"])
def test_a_file_that_cannot_grow_loses_nothing_and_the_same_command_goes_on(tiny, step, size):
    place = tiny(step)
    before = _bytes_of(place.store)
    with _largest_file(size):
        said = place.fails(74, step)
    assert "StoreError" in said
    assert str(place.store) in said
    assert "File too large" in said
    assert {name: data for name, data in _bytes_of(place.store).items() if name in before} == before
    assert not list(place.store.rglob(".staged-*"))
    assert place.ids(step) == tiny.ids[step]


@pytest.mark.parametrize("step", ["land", "build-cube", "train"])
def test_a_full_file_system_loses_nothing_and_the_same_command_goes_on(tiny, tmp_path, undisturbed, step):
    place = tiny(step)
    shutil.rmtree(place.store)
    place.store.mkdir()
    held = undisturbed[0] / f"before-{step}"
    with _mounted(place.store, "60m"):
        shutil.copytree(held, place.store, dirs_exist_ok=True)
        used = os.statvfs(place.store)
        _remounted(place.store, f"size={(used.f_blocks - used.f_bfree) * used.f_frsize // 1024 + 16}k")
        said = place.fails(74, step)
        assert "No space left on device" in said
        assert str(place.store) in said
        _remounted(place.store, "size=60m")
        assert place.ids(step) == tiny.ids[step]


@pytest.mark.parametrize("step", STEPS)
def test_a_read_only_store_is_told_by_its_first_write(tiny, undisturbed, step):
    place = tiny(step)
    shutil.rmtree(place.store)
    place.store.mkdir()
    with _mounted(place.store, "60m"):
        shutil.copytree(undisturbed[0] / f"before-{step}", place.store, dirs_exist_ok=True)
        _remounted(place.store, "ro")
        said = place.fails(74, step)
        assert "StoreError" in said
        assert "Read-only file system" in said
        _remounted(place.store, "rw")


DAMAGE = [
    ("landing/tiny/roads/files/*/*", "observe", "observe"),
    ("landing/tiny/roads/manifest/*", "observe", "land"),
    ("landing/tiny/roads/manifest/*", "observe", "observe"),
    ("observations/tiny/roads/*/data/*/*", "build-cube", "build-cube"),
    ("observations/tiny/roads/*/commits/*", "build-cube", "observe"),
    ("observations/tiny/roads/*/commits/*", "build-cube", "build-cube"),
    ("cubes/tiny/chunks/*", "train", "train"),
    ("cubes/tiny/snapshots/*", "train", "train"),
    ("cubes/tiny/refs/branch.main/ref.json", "train", "train"),
    ("registry/tiny/candidates/*", "evaluate", "train"),
    ("registry/tiny/files/*joint.safetensors", "evaluate", "evaluate"),
    ("registry/tiny/files/*statistics.json", "promote", "promote"),
    ("registry/tiny/champions/*", "predict", "predict"),
    ("forecasts/tiny/issues/*/*/*", "publish", "predict"),
    ("forecasts/tiny/artefacts/*.safetensors", "publish", "publish"),
    ("forecasts/tiny/published/issues/*/*/*", "done", "publish"),
    ("forecasts/tiny/issues/*/*/*", "verify", "verify"),
]
"""Which object is damaged, in the store as it is before which step, and the step that is run."""
LOGS = ("manifest", "commits", "candidates", "champions", "issues", "branch.main")


@pytest.mark.parametrize("harm", ["a flipped bit", "half of it", "gone"])
@pytest.mark.parametrize(("where", "at", "step"), DAMAGE)
def test_a_damaged_object_is_named_and_when_it_is_back_the_same_command_goes_on(tiny, where, at, step, harm):
    if harm == "gone" and any(f"/{log}/" in where for log in LOGS):
        return  # the last record of a log leaves no gap; the one before it does, and stores prove that
    place = tiny(at)
    [*_, file] = sorted((p for p in place.store.glob(where) if p.is_file()), key=lambda p: p.stat().st_size)
    good = file.read_bytes()
    bad = bytearray(good)
    bad[len(bad) // 2] ^= 0x10
    file.unlink() if harm == "gone" else file.write_bytes(bytes(bad) if harm == "a flipped bit" else good[: len(good) // 2])
    if "snapshots" in where and harm == "a flipped bit" and place.do(step, "--json")[0] == 0:
        assert place.ids(step) == tiny.ids[step]  # Icechunk seals no snapshot: the bit is one that nothing depends on
        return
    said = place.fails(74, step)
    assert "StoreError" in said
    assert str(place.store) in said
    assert "backup" in said
    file.write_bytes(good)
    assert place.ids(step) == tiny.ids[step]


def test_a_damaged_receipt_is_written_anew_by_its_step(tiny):
    place = tiny("done")
    [receipt] = place.store.glob("receipts/tiny/*/*/observe.json")
    receipt.write_bytes(receipt.read_bytes()[:40])
    assert cli.main(["status", "--world", str(place.world)]) == 74
    assert place.ids("observe") == tiny.ids["observe"]
    assert place.do("status")[0] == 0


def test_an_error_of_a_worker_process_arrives_whole():
    error = copy.copy(StoreError(asked="a", found="b", mend="c"))
    assert (type(error), error.asked, error.found, error.mend) == (StoreError, "a", "b", "c")
