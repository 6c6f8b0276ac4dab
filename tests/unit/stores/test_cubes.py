import json
import random
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest

from pipeline.contracts.times import from_seconds
from pipeline.errors import ConflictError, ContractError, NotYetAvailable, StoreError
from pipeline.stores.cube_format import GroupTemplate, VariableTemplate, check_aligned
from pipeline.stores.cube_writer import CubeWriter
from pipeline.stores.cubes import CubeStore
from tests.feeds import START, Place, Row, build, make_place, observe, random_rows

HOURS = 12
END = START + HOURS * 3600


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Place:
    place = make_place(tmp_path_factory.mktemp("built"))
    observe(place, "road", random_rows(np.random.default_rng(1), hours=HOURS))
    build(place, END)
    return place


def copy_of(place: Place, folder: Path) -> Place:
    shutil.copytree(place.settings.store, folder / "store")
    return make_place(folder)


def arrays_of(place: Place, as_of: int, domain: str = "traffic") -> dict[str, bytes]:
    cube = CubeStore(place.settings.store, "little").open(from_seconds(as_of), domain)
    return {name: getattr(cube, name).tobytes() for name in ("valid_time", "values_TNV", "flags_TNV", "latency_TNV")}


def read_or_refusal(place: Place) -> dict[str, bytes] | str:
    try:
        return arrays_of(place, 10**10)
    except StoreError as error:
        return str(error)


def test_a_cube_never_built_is_not_yet_available(tmp_path: Path) -> None:
    store = CubeStore(str(tmp_path), "little")
    for ask in (lambda: store.open(from_seconds(END), "traffic"), store.state, store.history):
        with pytest.raises(NotYetAvailable, match="run build-cube first"):
            ask()
    assert not (tmp_path / "cubes").exists()


def test_a_domain_never_built_is_not_yet_available_and_says_what_there_is(built: Place) -> None:
    with pytest.raises(NotYetAvailable, match="slow, traffic"):
        CubeStore(built.settings.store, "little").open(from_seconds(END), "market")


def test_reading_from_a_start_gives_the_tail_of_the_whole(built: Place) -> None:
    store = CubeStore(built.settings.store, "little")
    whole, tail = (store.open(from_seconds(END), "traffic", start=s) for s in (None, START + 5 * 3600 + 1))
    skip = int(np.searchsorted(whole.valid_time, START + 5 * 3600 + 1))
    np.testing.assert_array_equal(tail.valid_time, whole.valid_time[skip:])
    np.testing.assert_array_equal(tail.values_TNV, whole.values_TNV[skip:])
    kept = whole.revisions.step >= skip
    assert kept.any()
    np.testing.assert_array_equal(tail.revisions.step, whole.revisions.step[kept] - skip)
    np.testing.assert_array_equal(tail.revisions.value, whole.revisions.value[kept])


def test_state_and_history_tell_what_is_there_and_where_it_came_from(built: Place) -> None:
    store = CubeStore(built.settings.store, "little")
    traffic = store.state().domains["traffic"]
    assert (traffic.steps, traffic.nodes, traffic.start, traffic.end) == (2 * HOURS + 1, 3, START, END)
    cube = store.open(from_seconds(10**10), "traffic")
    assert traffic.missing == {v: float(np.isnan(cube.values_TNV[..., i]).mean()) for i, v in enumerate(("speed", "count"))}
    (entry,) = store.history()
    assert entry["snapshot"] == store.snapshot
    assert entry["provenance"]["observations"] == {"road": 1, "shares": 0}
    assert entry["provenance"]["world_digest"] == built.world.digest
    assert entry["provenance"]["digest"]["traffic"] == traffic.digest


@pytest.mark.parametrize(("start", "stop"), [(1, 10), (0, 9), (10, 15), (0, 0), (20, 30), (-10, 0)])
def test_a_misaligned_region_is_refused_before_a_byte_is_written(built: Place, tmp_path: Path, start: int, stop: int) -> None:
    place = copy_of(built, tmp_path)
    writer = CubeWriter(place.settings.store, "little")
    template = _template(place)
    writer.prepare(template, fresh=False)
    before = sorted(p.as_posix() for p in Path(place.settings.store).rglob("*"))
    with pytest.raises(ContractError, match=r"write whole chunks, here \d+:\d+"):
        check_aligned(template, start, stop)
    if start >= 0 and stop > start:
        zeros = np.zeros((stop - start, 3))
        arrays = {"speed": zeros.astype(np.float32), "speed_flag": zeros.astype(np.uint16), "speed_latency": zeros.astype(np.int32)}
        with pytest.raises(ContractError, match="cuts a chunk or lies outside"):
            writer.regions(isolated=False).write("traffic", start, arrays)
    assert sorted(p.as_posix() for p in Path(place.settings.store).rglob("*")) == before


def test_arrays_that_are_absent_or_of_another_shape_are_refused(built: Place, tmp_path: Path) -> None:
    writer = CubeWriter(copy_of(built, tmp_path).settings.store, "little")
    writer.prepare(_template(built), fresh=False)
    with pytest.raises(ContractError, match="hand over exactly speed, speed_flag"):
        writer.regions(isolated=False).write("traffic", 0, {"speed": np.zeros((10, 3), np.float32)})


def test_of_two_builds_from_one_state_the_second_is_told_and_changes_nothing(built: Place, tmp_path: Path) -> None:
    place = copy_of(built, tmp_path)
    writers = [CubeWriter(place.settings.store, "little") for _ in range(2)]
    for writer in writers:
        writer.prepare(_template(place, longer=4), fresh=False)
        writer.merge([])
    first = writers[0].commit("one", {})
    with pytest.raises(ConflictError, match="run the same command again"):
        writers[1].commit("two", {})
    assert CubeStore(place.settings.store, "little").snapshot == first


def test_readers_during_builds_see_an_old_or_a_new_state_whole(tmp_path: Path) -> None:
    place, rng = make_place(tmp_path), np.random.default_rng(5)
    rows = random_rows(rng, hours=HOURS)
    observe(place, "road", rows)
    build(place, END)
    seen: set[str] = set()
    wrong: list[Exception] = []
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            try:
                store = CubeStore(place.settings.store, "little")
                cube = store.open(from_seconds(10**10), "traffic")
                levels = np.unique(cube.values_TNV[..., 0][cube.latency_TNV[..., 0] > 3600 * 24])
                assert len(levels[~np.isnan(levels)]) <= 1, "a mixed state"
                seen.add(store.snapshot)
            except Exception as error:
                wrong.append(error)

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    for k in range(5):
        # Every cell of the cube is revised to one new level at once.
        level = 1000.0 + k
        late = [
            Row(f"n{n}", t, END + 86400 * (3 + k), {"speed": (level, 0), "count": (level, 0)}) for n in range(3) for t in _stamps(rows, n)
        ]
        observe(place, "road", late)
        build(place, END)
    done.set()
    for reader in readers:
        reader.join()
    assert not wrong
    assert len(seen) > 1


def _stamps(rows: list[Row], node: int) -> list[int]:
    return sorted({r.valid_time for r in rows if r.node == f"n{node}"})


def test_every_flipped_bit_and_every_lost_object_of_the_cube_is_detected(built: Place, tmp_path: Path) -> None:
    place, rng = copy_of(built, tmp_path), random.Random(0)
    clean = arrays_of(place, 10**10)
    files = sorted(
        p for kind in ("chunks", "manifests") for p in (Path(place.settings.store) / "cubes/little" / kind).rglob("*") if p.is_file()
    )
    touched = 0
    for file in rng.sample(files, 8):
        good = file.read_bytes()
        bad = bytearray(good)
        bad[rng.randrange(len(bad))] ^= 1 << rng.randrange(8)
        for damage in (bytes(bad), good[: len(good) // 2], None):
            file.unlink() if damage is None else file.write_bytes(damage)
            found = read_or_refusal(place)
            assert found == clean or "run build-cube" in str(found)  # unharmed: an object of another domain
            touched += found != clean
        file.write_bytes(good)
    assert touched >= 3
    assert arrays_of(place, 10**10) == clean


def test_a_plain_zarr_reader_finds_labelled_dimensions_and_checksums(built: Place) -> None:
    store = CubeStore(built.settings.store, "little")
    metadata = store._group("traffic")["speed"].metadata.to_dict()
    assert metadata["dimension_names"] == ("valid_time", "node")
    assert [c["name"] for c in metadata["codecs"]] == ["bytes", "blosc", "crc32c"]
    json.dumps(store._group("traffic").attrs.asdict())


def _template(place: Place, longer: int = 0) -> GroupTemplate:
    store = CubeStore(place.settings.store, "little")
    axis = np.arange(START, END + 1 + longer * 1800, 1800)
    variables = tuple(VariableTemplate(name=n, units="1", aggregate="mean") for n in ("speed", "count"))
    nodes = store.nodes("traffic")
    return GroupTemplate(
        domain="traffic",
        title="",
        axis_T=axis,
        even_step=1800,
        nodes=nodes,
        variables=variables,
        chunk_steps=10,
        chunk_nodes=len(nodes),
        recipe="",
    )
