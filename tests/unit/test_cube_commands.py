"""`cubecast cube`: what is in a cube, whether it is whole, its history, what changed, and a copy that others can read."""

import json
import math
import random
import shutil
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
import zarr

from pipeline import __main__ as cli
from pipeline.contracts.times import format_instant, from_seconds
from pipeline.stores.cubes import CubeStore
from pipeline.stores.repositories import open_repository
from tests.feeds import START, Place, Row, build, make_place, observe, random_rows

HOURS = 12
END = START + HOURS * 3600


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    place = make_place(tmp_path_factory.mktemp("built"))
    observe(place, "road", random_rows(np.random.default_rng(1), hours=HOURS))
    build(place, END)
    observe(place, "road", [Row("n9", START + 4 * 3600, END + 3600, {"speed": (40.0, 0), "count": (3.0, 0)})])
    observe(place, "shares", [Row("abc", START - 9 * 86400, START - 9 * 86400 + 60, {"close": (7.5, 0)})])
    build(place, END + 7200)
    return place


@pytest.fixture
def ask(built, monkeypatch, capsys):
    """Run a command on the built cube, or on the one of another place."""

    def run(*words, place: Place = built):
        monkeypatch.setenv("CUBECAST_STORE", place.settings.store)
        code = cli.main(["cube", *map(str, words), "--world", place.file])
        out, err = capsys.readouterr()
        return code, out, err

    return run


def copy_of(place: Place, folder: Path) -> Place:
    shutil.copytree(place.settings.store, folder / "store")
    return make_place(folder)


def test_info_tells_domains_sizes_clock_chunks_missing_bytes_and_provenance(ask, built):
    code, out, _ = ask("info", "--json")
    found = json.loads(out)
    state = CubeStore(built.settings.store, "little").state()
    traffic = found["domains"]["traffic"]
    assert code == 0
    assert (found["snapshot"], found["snapshots"], found["provenance"]["world_digest"]) == (state.snapshot, 2, built.world.digest)
    assert found["bytes_at_rest"] > 0
    assert (traffic["clock"], traffic["steps"], traffic["nodes"], traffic["chunks"]) == ("30min", 2 * HOURS + 5, 4, 3)
    assert (traffic["start"], traffic["end"]) == (format_instant(from_seconds(START)), format_instant(from_seconds(END + 7200)))
    assert {v: words["missing"] for v, words in traffic["variables"].items()} == state.domains["traffic"].missing
    assert found["domains"]["market"]["clock"] == "XNYS"
    code, out, _ = ask("info")
    assert code == 0
    assert [word in out for word in ("traffic: Roads: 29 steps of 30min", "km/h", "missing", state.snapshot, "code_version")] == [True] * 5


def test_history_names_each_snapshot_with_its_provenance(ask, built):
    found = json.loads(ask("history", "--json")[1])["snapshots"]
    assert [entry["provenance"]["observations"]["road"] for entry in found] == [2, 1]
    assert found[0]["snapshot"] == CubeStore(built.settings.store, "little").snapshot
    assert found[1]["snapshot"] in ask("history")[1]


def test_a_whole_cube_is_verified_with_progress_and_with_the_digests_that_were_written(ask, built):
    code, out, err = ask("verify", "--json")
    found = json.loads(out)
    state = CubeStore(built.settings.store, "little").state()
    assert (code, found["outcome"], found["snapshot"]) == (0, "whole", state.snapshot)
    assert {name: d["digest"] for name, d in found["domains"].items()} == {name: d.digest for name, d in state.domains.items()}
    end = json.loads(err.splitlines()[-1])
    assert (end["event"], end["stage"], end["done"]) == ("end", "verify", end["total"])
    assert "is whole" in ask("verify")[1]


def files_of(place: Place, kind: str) -> list[Path]:
    return sorted(p for p in (Path(place.settings.store) / "cubes/little" / kind).rglob("*") if p.is_file())


@pytest.mark.parametrize("kind", ["chunks", "manifests", "snapshots", "transactions", "refs", "seals"])
def test_a_flipped_bit_a_cut_and_a_loss_of_any_object_of_any_snapshot_is_found(ask, built, tmp_path, kind):
    place, rng = copy_of(built, tmp_path), random.Random(3)
    assert ask("verify", place=place)[0] == 0
    files = files_of(place, kind)
    if kind == "snapshots":
        files.remove(next(f for f in files if f.name.startswith("1CECHNKREP0F1")))  # the empty one, which every repository begins with
    for file in rng.sample(files, min(4, len(files))):
        good = file.read_bytes()
        bad = bytearray(good)
        bad[rng.randrange(len(bad))] ^= 1 << rng.randrange(8)
        for damage in (bytes(bad), good[: len(good) // 2], None):
            file.unlink() if damage is None else file.write_bytes(damage)
            code, out, err = ask("verify", "--json", place=place)
            assert code in (65, 74), (file, out)
            assert json.loads(err.splitlines()[-1])["error"] in ("StoreError", "ContractError")
        file.write_bytes(good)
    assert ask("verify", place=place)[0] == 0


def test_every_lost_chunk_is_named_at_once(ask, built, tmp_path):
    place = copy_of(built, tmp_path)
    for file in files_of(place, "chunks"):
        file.unlink()
    code, _, err = ask("verify", "--json", place=place)
    said = json.loads(err.splitlines()[-1])
    assert code == 74
    assert "market/valid_time: " in said["found"]
    assert said["found"].startswith("40 damaged: ")


def tampered(built: Place, folder: Path, change) -> Place:
    """The cube after a commit with sound checksums, proofs and seal that a build would never make."""
    import zarr

    from pipeline.stores.proved_store import ProvedStore
    from pipeline.stores.repositories import commit, open_repository

    place = copy_of(built, folder)
    url = f"{place.settings.store}/cubes/little"
    repository = open_repository(url, create=False)
    session = repository.writable_session("main")
    store = ProvedStore(session.store)
    root = zarr.open_group(store, mode="r+")
    store.learn("traffic", root["traffic"].attrs)
    change(root, session)
    root["traffic"].attrs["proofs"] = store.proofs("traffic")
    commit(repository, session, url, "tampered", {})
    return place


def write(path, place, value):
    def change(root, session):
        root[path][place] = value

    return change


def erase(path):
    def change(root, session):
        import asyncio

        asyncio.run(session.store.delete(path))

    return change


def forget(key):
    def change(root, session):
        book = dict(root["traffic"].attrs["cubecast"])
        del book[key]
        root["traffic"].attrs["cubecast"] = book

    return change


@pytest.mark.parametrize(
    ("change", "place"),
    [
        (write("traffic/speed", (12, 0), 1e6), "time chunk 1"),
        (write("traffic/count_latency", (3, 1), 77), "time chunk 0"),
        (write("traffic/latitude", 0, 12.0), "digest over coordinates"),
        (write("traffic/valid_time", 5, 1), "digest over coordinates"),
        (write("traffic/revisions/flag", 0, 99), "chunks/revision_digest"),
        (write("traffic/chunks/digest", (0, 3), 1), "time chunk 0"),
        (write("traffic/chunks/known_time", 0, 5), "known_time"),
        (write("traffic/chunks/present", (0, 1), 5), "chunks/present"),
        (write("traffic/chunks/revision_start", 1, 5), "chunks/revision_digest"),
        (write("traffic/node_known_time", 0, 10**11), "node_known_time"),
        (forget("digest"), "the attributes of a domain: KeyError: 'digest'"),
        (erase("traffic/speed/c/1/0"), "traffic/speed: chunk 1.0 is absent"),
        (erase("traffic/node_id/c/0"), "traffic/node_id: chunk 0 is absent"),
    ],
)
def test_what_checksums_cannot_see_is_found_by_digests_and_presence(ask, built, tmp_path, change, place):
    code, _, err = ask("verify", "--json", place=tampered(built, tmp_path, change))
    assert code == 74
    assert place in json.loads(err.splitlines()[-1])["found"]


def test_diff_tells_steps_nodes_chunks_and_revisions(ask):
    new, old = (entry["snapshot"] for entry in json.loads(ask("history", "--json")[1])["snapshots"])
    found = json.loads(ask("diff", old, new, "--json")[1])
    traffic = found["domains"]["traffic"]
    assert found["domains_added"] == ["market"]
    assert traffic["steps_added"] == [format_instant(from_seconds(END + k * 1800)) for k in range(1, 5)]
    assert (traffic["nodes_added"], traffic["nodes_gone"], traffic["steps_gone"]) == (["n9"], [], [])
    assert [c["chunk"] for c in traffic["chunks_changed"]] == [0, 1, 2]
    assert "1 nodes added: n9" in ask("diff", old[:8], new[:8])[1]
    assert "traffic: unchanged" in ask("diff", new, new)[1]
    assert json.loads(ask("diff", new, old, "--json")[1])["domains"]["traffic"]["nodes_gone"] == ["n9"]


def test_diff_of_a_late_revision_names_its_chunk_alone(ask, built, tmp_path):
    place = copy_of(built, tmp_path)
    old = CubeStore(place.settings.store, "little").snapshot
    observe(place, "road", [Row("n0", START + 600, END + 90000, {"speed": (99.0, 0), "count": (500.0, 0)})])
    build(place, END + 7200)
    new = CubeStore(place.settings.store, "little").snapshot
    traffic = json.loads(ask("diff", old, new, "--json", place=place)[1])["domains"]["traffic"]
    assert [c["chunk"] for c in traffic["chunks_changed"]] == [0]
    assert (traffic["steps_added"], traffic["nodes_added"], traffic["chunks_added"], traffic["rebuilt"]) == ([], [], [], False)
    assert traffic["revisions_added"] >= 1


def test_a_snapshot_that_is_not_there_is_refused(ask):
    code, _, err = ask("diff", "NOTHING", "NOTHING")
    assert code == 78
    assert "cube history" in err


def opened(path: Path, form: str) -> xr.Dataset:
    return xr.open_zarr(path, consolidated=False) if form == "zarr" else xr.open_dataset(path, engine="h5netcdf")


@pytest.mark.parametrize("form", ["zarr", "netcdf"])
@pytest.mark.parametrize("hours", [None, 6])
def test_an_export_opened_by_xarray_holds_the_values_of_that_instant(ask, built, tmp_path, form, hours):
    to = tmp_path / "copy"
    as_of = END + 7200 if hours is None else START + hours * 3600
    words = [] if hours is None else ["--as-of", format_instant(from_seconds(as_of))]
    code, out, err = ask("export", "--domain", "traffic", "--to", to, "--format", form, "--json", *words)
    assert code == 0, err
    assert json.loads(out)["path"] == str(to)
    cube = CubeStore(built.settings.store, "little").open(from_seconds(as_of), "traffic")
    with opened(to, form) as found:
        assert found["speed"].dims == ("valid_time", "node")
        assert found["node_id"].values.tolist() == list(cube.nodes.ids)
        np.testing.assert_array_equal(found["valid_time"].values.astype("datetime64[s]").astype(np.int64), cube.valid_time)
        for v, name in enumerate(cube.variables):
            np.testing.assert_array_equal(found[name].values, cube.values_TNV[..., v])
            np.testing.assert_array_equal(found[f"{name}_flag"].values, cube.flags_TNV[..., v])
            latency = cube.latency_TNV[..., v].astype(float)
            latency[latency == np.iinfo(np.int32).max] = math.nan
            np.testing.assert_array_equal(found[f"{name}_latency"].values, latency)
        assert found["speed"].attrs["units"] == "km/h"
        assert found.attrs["Conventions"] == "CF-1.11"
        assert found.attrs["snapshot"] == cube.snapshot
    assert [p.name for p in tmp_path.iterdir()] == ["copy"]


def test_an_export_never_overwrites_and_leaves_nothing_half_written(ask, tmp_path, monkeypatch):
    to = tmp_path / "copy.nc"
    to.write_text("mine")
    code, _, err = ask("export", "-d", "traffic", "--to", to)
    assert (code, to.read_text()) == (78, "mine")
    assert "there already" in err

    def full(self, path, *args, **more):
        Path(path).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(xr.Dataset, "to_netcdf", full)
    code, _, err = ask("export", "-d", "traffic", "--to", tmp_path / "other.nc")
    assert code == 74
    assert "No space left" in err
    assert [p.name for p in tmp_path.iterdir()] == ["copy.nc"]


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["-d", "trafic", "--to", "x.nc"], 78),
        (["-d", "traffic", "--to", "s3://bucket/x.zarr"], 78),
        (["-d", "traffic", "--to", "no/such/folder/x.nc"], 78),
        (["-d", "traffic", "--to", "x.nc", "--as-of", "2025-10-23T00:00Z"], 75),
    ],
)
def test_an_export_that_cannot_be_is_refused(ask, tmp_path, monkeypatch, words, code):
    monkeypatch.chdir(tmp_path)
    assert ask("export", *words)[0] == code
    assert list(tmp_path.iterdir()) == []


def test_every_command_says_when_there_is_no_cube_yet(ask, tmp_path):
    place = make_place(tmp_path)
    for words in (["info"], ["verify"], ["history"], ["diff", "a", "b"], ["export", "-d", "traffic", "--to", tmp_path / "x.nc"]):
        code, _, err = ask(*words, place=place)
        assert code == 75
        assert "run build-cube first" in err


def test_plan_states_sizes_and_memory_makes_nothing_and_refuses_what_does_not_fit(ask, built, monkeypatch):
    before = CubeStore(built.settings.store, "little").snapshot
    code, out, _ = ask("plan", "--as-of", format_instant(from_seconds(END + 86400)), "--json")
    found = json.loads(out)
    assert code == 0
    assert (found["tasks"], found["domains"]["traffic"]["regions"]) == (11, 6)
    assert 0 < found["peak_bytes"] < found["allowed_bytes"]
    assert found["codec"] == "blosc lz4 level 5 with bits shuffled, then crc32c"
    repository = open_repository(CubeStore(built.settings.store, "little").url, create=False)
    array = zarr.open_group(repository.readonly_session("main").store, mode="r")["traffic/speed"]
    assert [type(codec).__name__ for codec in array.compressors] == ["BloscCodec", "Crc32cCodec"]
    monkeypatch.setenv("CUBECAST_MEMORY", "10MiB")
    code, out, err = ask("plan", "--as-of", format_instant(from_seconds(END + 86400)))
    assert "each chunk: blosc lz4" in out
    assert (code, "at its peak" in out, "10 MiB are allowed" in err) == (78, True, True)
    monkeypatch.setenv("CUBECAST_MEMORY", "much")
    assert "CUBECAST_MEMORY = 'much'" in ask("plan")[2]
    assert CubeStore(built.settings.store, "little").snapshot == before


@pytest.mark.parametrize("words", [("verify",), ("info",), ("export", "--domain", "traffic", "--to", "copy")])
def test_a_cube_whose_first_build_never_finished_is_not_there_yet(ask, tmp_path, words):
    place = make_place(tmp_path)
    assert open_repository(CubeStore(place.settings.store, "little").url, create=True) is not None
    code, _, err = ask(*words, place=place)
    assert (code, "run build-cube first" in err) == (75, True)


def test_verifying_the_store_calls_a_cube_that_was_never_built_none_and_an_empty_store_empty(tmp_path, monkeypatch, capsys):
    place = make_place(tmp_path)
    monkeypatch.setenv("CUBECAST_STORE", place.settings.store)
    asked = ["store", "verify", "--world", place.file]
    assert (cli.main(asked), "nothing of world little" in capsys.readouterr().err) == (75, True)
    observe(place, "road", random_rows(np.random.default_rng(1), hours=1))
    assert open_repository(CubeStore(place.settings.store, "little").url, create=True) is not None
    assert cli.main(asked) == 0
    said = capsys.readouterr().out
    assert ("cubes/little: whole" in said, "cubes/little: a repository without a snapshot: no build has finished" in said) == (False, True)
