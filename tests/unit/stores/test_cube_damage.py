"""What a plain reader makes of damage to a cube at rest: the right data, or an error that names the file."""

import itertools
import json
import random
import shutil
from pathlib import Path

import icechunk
import numpy as np
import pytest
import zarr

from pipeline.contracts.times import from_seconds
from pipeline.errors import ContractError, StoreError
from pipeline.stores.cube_writer import CubeWriter
from pipeline.stores.cubes import CubeStore
from pipeline.stores.repositories import BRANCH
from pipeline.stores.time_chunks import TimeChunks
from tests.feeds import START, Place, build, make_place, observe, random_rows

HOURS = 8
END = START + HOURS * 3600


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Place:
    place = make_place(tmp_path_factory.mktemp("built"))
    for seed in (1, 2):
        observe(place, "road", random_rows(np.random.default_rng(seed), hours=HOURS))
        build(place, END)
    return place


@pytest.fixture
def place(built: Place, tmp_path: Path) -> Place:
    shutil.copytree(built.settings.store, tmp_path / "store")
    return make_place(tmp_path)


def root_of(place: Place) -> Path:
    return Path(place.settings.store) / "cubes/little"


def read(place: Place, domain: str = "slow") -> list[bytes]:
    cube = CubeStore(place.settings.store, "little").open(from_seconds(10**10), domain)
    arrays = [cube.valid_time, cube.values_TNV, cube.flags_TNV, cube.latency_TNV, cube.node_known_time_N, *vars(cube.revisions).values()]
    return [*(a.tobytes() for a in arrays), cube.nodes.digest.encode(), repr((cube.variables, cube.units)).encode()]


def read_or_refusal(place: Place, domain: str = "slow") -> list[bytes] | str:
    try:
        return read(place, domain)
    except StoreError as error:
        return str(error)


def manifests(place: Place) -> dict[str, str]:
    """Array -> the index of its chunks in the newest snapshot."""
    repository = icechunk.Repository.open(icechunk.local_filesystem_storage(str(root_of(place))))
    nodes = json.loads(repository.inspect_snapshot(repository.lookup_branch(BRANCH)))["nodes"]
    return {n["path"]: n["manifest_refs"][0]["id"] for n in nodes if n.get("manifest_refs")}


def test_a_flipped_bit_in_any_index_or_snapshot_gives_the_right_data_or_an_error_that_names_the_file(place: Place) -> None:
    clean, rng = read(place), random.Random(1)
    snapshot = CubeStore(place.settings.store, "little").snapshot
    used = [f"manifests/{m}" for path, m in manifests(place).items() if path.startswith("/slow/")]
    refused = 0
    for name in [*used * 4, *[f"snapshots/{snapshot}"] * 30, *["refs/branch.main/ref.json"] * 10]:
        file = root_of(place) / name
        good = file.read_bytes()
        bad = bytearray(good)
        bad[rng.randrange(len(bad))] ^= 1 << rng.randrange(8)
        file.write_bytes(bytes(bad))
        found = read_or_refusal(place)
        assert found == clean or name in str(found), (name, found)
        refused += found != clean
        file.write_bytes(good)
    assert refused > len(used)
    assert read(place) == clean


@pytest.mark.parametrize("path", ["/slow/speed", "/slow/latitude", "/slow/chunks/proof", "/slow/revisions/value", "/slow/node_known_time"])
def test_an_index_that_leads_elsewhere_is_refused_by_name(place: Place, path: str) -> None:
    other = {
        "/slow/latitude": "/slow/longitude",
        "/slow/chunks/proof": "/slow/chunks/digest",
        "/slow/revisions/value": "/slow/revisions/node",
    }
    there, found = root_of(place) / "manifests", manifests(place)
    elsewhere = found[other.get(path, "/traffic" + path.removeprefix("/slow"))]
    (there / found[path]).write_bytes((there / elsewhere).read_bytes())
    with pytest.raises(StoreError, match=found[path]):
        read(place)


def test_a_chunk_that_was_exchanged_for_another_whole_one_is_refused(place: Place) -> None:
    chunks = [f for f in (root_of(place) / "chunks").iterdir() if f.stat().st_size > 200]
    clean, refused = read(place, "traffic"), 0
    for one, other in itertools.pairwise(chunks):
        good = one.read_bytes()
        one.write_bytes(other.read_bytes()[: len(good)].ljust(len(good), b"\0"))
        found = read_or_refusal(place, "traffic")
        assert found == clean or isinstance(found, str)
        refused += found != clean
        one.write_bytes(good)
    assert refused


def test_a_writer_does_not_build_upon_a_damaged_book(place: Place) -> None:
    there, found = root_of(place) / "manifests", manifests(place)
    (there / found["/slow/chunks/known_time"]).write_bytes((there / found["/slow/chunks/nodes"]).read_bytes())
    before = CubeStore(place.settings.store, "little").snapshot
    with pytest.raises(StoreError):
        build(place, END + 30 * 3600)
    assert CubeStore(place.settings.store, "little").snapshot == before


def test_a_cube_of_an_earlier_layout_is_refused_with_the_way_out_and_built_anew(place: Place) -> None:
    clean, writer = read(place), CubeWriter(place.settings.store, "little")
    writer.merge([])
    group = zarr.open_group(writer.store, mode="r+", path="slow")
    attributes = dict(group.attrs)
    group.attrs.put({"title": attributes["title"], "cubecast": attributes["cubecast"] | {"recipe": "earlier"}})
    writer.commit("earlier", {})
    with pytest.raises(ContractError, match="run build-cube: it makes it anew"):
        read(place)
    assert build(place, END).outcome == "done"
    assert read(place) == clean


def test_what_is_stored_is_what_zarr_itself_would_store(tmp_path: Path) -> None:
    rng, store = np.random.default_rng(1), zarr.storage.MemoryStore()
    values = rng.normal(50, 9, (5, 7)).astype(np.float32).round(1)
    arrays = {"v": values, "v_flag": (values > 50).astype(np.uint16), "v_latency": (values * 10).astype(np.int32)}
    layout = TimeChunks(domain="d", variables=("v",), steps=8, width=4, grid=False)
    proof = layout.write(store, 0, arrays)
    blosc, crc = zarr.codecs.BloscCodec(cname="lz4", clevel=5, shuffle="bitshuffle"), zarr.codecs.Crc32cCodec()
    for name, array in arrays.items():
        fill = {"v": float("nan"), "v_flag": 1, "v_latency": 2**31 - 1}[name]
        made = zarr.create_array(
            store, name=f"other/{name}", shape=(5, 7), chunks=(8, 4), dtype=array.dtype, compressors=[blosc, crc], fill_value=fill
        )
        made[:] = array
        for chunk in ("0/0", "0/1"):
            assert store._store_dict[f"d/{name}/c/{chunk}"].to_bytes() == store._store_dict[f"other/{name}/c/{chunk}"].to_bytes()
    stored = [np.frombuffer(store._store_dict[key].to_bytes(), np.uint8) for key in layout.keys(0, 7)]
    layout.prove(stored, proof, 0, 7)
    found = [np.zeros((3, 6), a.dtype) for a in arrays.values()]
    heard = np.array([0, 1, 3, 4, 5, 6])
    layout.decode(stored, found, slice(1, 4), nodes=7, heard=heard)
    for array, given in zip(found, arrays.values(), strict=True):
        np.testing.assert_array_equal(array, given[1:4, heard])
