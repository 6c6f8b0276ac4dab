"""Observations at rest: reads are exact, proved, sorted and in the contract's schema."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.contracts.nodes import NodeSet
from pipeline.contracts.observations import REJECTION_SCHEMA, RowCounts
from pipeline.contracts.world_files import load_world
from pipeline.errors import ConflictError, StoreError
from pipeline.stores import observation_index, observation_tables
from pipeline.stores.objects import ObjectStore
from pipeline.stores.observation_index import DAY
from pipeline.stores.observation_tables import dictionary_column
from pipeline.stores.observations import ObservationStore, contract_digest
from tests.world import tiny_world

COUNTS = RowCounts(raw=1, observations=1, duplicates=0, rejected=0)


@pytest.fixture
def store(tmp_path: Path) -> ObservationStore:
    return ObservationStore(ObjectStore(str(tmp_path / "store")), load_world(str(tiny_world(tmp_path))), "prices")


def rows(*found: tuple[str, int, int, float]) -> pa.Table:
    """Rows (node, valid_time, available_time, price)."""
    names = sorted({r[0] for r in found}, reverse=True)
    stamp = pa.timestamp("s", tz="UTC")
    return pa.table(
        {
            "node": dictionary_column(np.array([names.index(r[0]) for r in found], np.int32), names),
            "valid_time": pa.array([r[1] for r in found], stamp),
            "available_time": pa.array([r[2] for r in found], stamp),
            "received_time": pa.array([0] * len(found), stamp),
            "delivery": dictionary_column(np.zeros(len(found), np.int32), ["d"]),
            "row": pa.array(range(1, len(found) + 1), pa.int64()),
            "price": pa.array([r[3] for r in found], pa.float32()),
            "price_flag": pa.array([0] * len(found), pa.uint16()),
        }
    )


def append(store: ObservationStore, table: pa.Table, expected: int, **more: object) -> None:
    store.append(table, REJECTION_SCHEMA.empty_table(), COUNTS, deliveries=[expected], expected=expected, **more)  # type: ignore[arg-type]


def keys(table: pa.Table) -> list[tuple[str, int, int]]:
    instants = [table[c].cast(pa.int64()).to_pylist() for c in ("valid_time", "available_time")]
    return list(zip(table["node"].to_pylist(), *instants, strict=True))


def test_a_read_is_open_at_the_start_closed_at_the_end_and_sorted(store: ObservationStore) -> None:
    append(store, rows(("b", 20, 25, 1.0), ("a", 20, 30, 2.0), ("a", 20, 25, 3.0), ("a", 10, 15, 4.0), ("a", 30, 35, 5.0)), 0)
    assert keys(store.read(10, 30)) == [("a", 20, 25), ("a", 20, 30), ("b", 20, 25), ("a", 30, 35)]
    assert keys(store.read(30, 30)) == []


def test_a_read_has_the_schema_of_the_contract_also_when_empty(store: ObservationStore) -> None:
    assert store.read(0, 10).schema == store.schema
    append(store, rows(("a", 5, 6, 1.0)), 0)
    assert store.read(0, 10).schema == store.schema
    assert store.read(0, 10, ["price", "node"]).schema.names == ["price", "node"]
    assert pa.types.is_dictionary(store.read(0, 10, ["node"], dictionaries=True).schema.field("node").type)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 5), st.integers(0, 3)), min_size=1, max_size=12), st.booleans())
@settings(deadline=None)
def test_rows_lie_by_day_and_node_and_time_whatever_their_order(drawn: list[tuple[str, int, int]], tidy: bool) -> None:
    found = [(name, half * DAY // 2, half * DAY // 2 + late, 1.0) for name, half, late in (sorted(set(drawn)) if tidy else drawn)]
    order, spans = observation_tables.by_day(rows(*found))
    kept = list(range(len(found))) if order is None else order.tolist()
    wanted = sorted((v // DAY * DAY, name, v, available) for name, v, available, _ in found)
    assert [(found[i][1] // DAY * DAY, *found[i][:3]) for i in kept] == wanted
    assert [day for day, begin, end in spans for _ in range(begin, end)] == [day for day, *_ in wanted]


def test_rows_may_come_as_they_lie(store: ObservationStore) -> None:
    append(store, rows(("b", 20, 25, 1.0), ("a", 20, 30, 2.0), ("a", 10, 15, 4.0), ("a", 30, 35, 5.0)), 0)
    found = store.read(10, 30, ["node", "valid_time", "available_time"], in_order=False)
    assert keys(found) == [("a", 20, 30), ("a", 30, 35), ("b", 20, 25)]


def test_rows_of_later_batches_are_merged_into_the_order(store: ObservationStore) -> None:
    append(store, rows(("a", 5, 6, 1.0), ("a", 2 * DAY, 2 * DAY, 2.0)), 0)
    append(store, rows(("a", 5, 9, 1.5), ("c", DAY, DAY, 3.0)), 1)
    assert keys(store.read(0, 9 * DAY)) == [("a", 5, 6), ("a", 5, 9), ("c", DAY, DAY), ("a", 2 * DAY, 2 * DAY)]


def test_days_since_names_the_days_that_later_batches_touched(store: ObservationStore) -> None:
    append(store, rows(("a", 5, 6, 1.0)), 0)
    append(store, rows(("a", DAY, DAY, 1.0), ("a", 40 * DAY + 7, 40 * DAY, 1.0)), 1)
    assert store.days_since(0) == {0, DAY, 40 * DAY}
    assert store.days_since(1) == {DAY, 40 * DAY}
    assert store.days_since(2) == set()


@pytest.mark.parametrize("rows_per_group", [1, 3, 16384])
def test_a_read_of_one_day_gives_that_day_whatever_the_row_groups(
    store: ObservationStore, monkeypatch: pytest.MonkeyPatch, rows_per_group: int
) -> None:
    monkeypatch.setattr(observation_tables, "GROUP_ROWS", rows_per_group)
    append(store, rows(*(("a", d * DAY + 1, d * DAY + 2, float(d)) for d in range(100))), 0)
    assert len(store.commits()[0].files) == 4
    assert store.read(50 * DAY, 51 * DAY)["price"].to_pylist() == [50.0]
    assert store.read(0, 100 * DAY).num_rows == 100


def test_an_append_reads_and_writes_as_much_after_many_batches_as_after_few(
    store: ObservationStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(observation_index, "_OPEN_FILES", 4)
    touched: list[str] = []
    for name in ("get", "put_if_absent"):
        real = getattr(ObjectStore, name)
        monkeypatch.setattr(ObjectStore, name, lambda self, key, *data, _real=real: (touched.append(key), _real(self, key, *data))[1])
    costs = []
    for number in range(60):
        append(store, rows(("a", number * DAY + 1, number * DAY + 2, float(number))), number)
        costs.append(len(touched))
    steps = np.diff(costs)
    assert sum(steps[30:]) <= 1.2 * sum(steps[:30])
    assert max(steps[30:]) <= 2 * max(steps[:30])
    assert store.read(0, 60 * DAY)["price"].to_pylist() == [float(n) for n in range(60)]
    assert store.totals().counts.raw == 60
    early = ObservationStore(store._objects, store_world(store), "prices", at=7)
    assert early.read(0, 60 * DAY).num_rows == 7
    assert [c.number for c in early.commits(5)] == [6, 7]


def store_world(store: ObservationStore) -> object:
    return load_world(str(tiny_world(Path(store._objects.root).parent)))


def test_a_new_node_comes_last_and_places_follow_the_newest_table(store: ObservationStore) -> None:
    table = NodeSet(ids=("x", "b", "a"), latitude=np.array([1.0, 2.0, np.nan]), longitude=np.array([4.0, 5.0, 6.0]))
    append(store, rows(("c", 5, 6, 1.0), ("b", 5, 6, 1.0)), 0, places=table)
    append(store, rows(("a", 5, 6, 1.0)), 1)
    nodes = store.nodes()
    assert nodes.ids == ("b", "c", "a")
    assert nodes.longitude[[0, 2]].tolist() == [5.0, 6.0]
    assert np.isnan(nodes.latitude[[1, 2]]).all()


def test_a_grid_lists_all_cells_row_by_row(store: ObservationStore) -> None:
    table = NodeSet(ids=("p", "o", "n", "m"), latitude=np.arange(4.0), longitude=np.arange(4.0), shape=(2, 2))
    append(store, rows(("m", 5, 6, 1.0)), 0, places=table)
    assert store.nodes().digest == table.digest


def test_of_two_writers_of_one_number_one_is_told_to_repeat(store: ObservationStore) -> None:
    append(store, rows(("a", 5, 6, 1.0)), 0)
    with pytest.raises(ConflictError):
        append(store, rows(("b", 5, 6, 1.0)), 0)
    assert keys(store.read(0, 10)) == [("a", 5, 6)]


@pytest.mark.parametrize("offset", [0, 4, 40, -1, -6, -100])
def test_a_flipped_bit_anywhere_in_a_stored_file_is_found(store: ObservationStore, offset: int) -> None:
    append(store, rows(("a", 5, 6, 1.0)), 0)
    path = Path(store._objects.url(store.commits()[0].files[0].key))
    data = bytearray(path.read_bytes())
    data[offset] ^= 16
    path.write_bytes(bytes(data))
    with pytest.raises(StoreError, match=path.name):
        store.read(0, 10)
    with pytest.raises(StoreError, match=path.name):
        store.verify()


def test_a_deleted_file_is_an_error_and_no_empty_answer(store: ObservationStore) -> None:
    append(store, rows(("a", 5, 6, 1.0)), 0)
    Path(store._objects.url(store.commits()[0].files[0].key)).unlink()
    with pytest.raises(StoreError, match="it is gone"):
        store.read(0, 10)


def test_the_contract_changes_with_the_rules_and_not_with_the_place(tmp_path: Path) -> None:
    source = load_world(str(tiny_world(tmp_path))).sources["roads"]
    assert contract_digest(source.model_copy(update={"locations": ("elsewhere",), "licence": "x"})) == contract_digest(source)
    assert contract_digest(source.model_copy(update={"timezone": "Asia/Tokyo"})) != contract_digest(source)
