from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipeline.contracts.cubes import NEVER
from pipeline.contracts.flags import Flag
from pipeline.contracts.nodes import NodeSet
from pipeline.contracts.observations import REJECTION_SCHEMA, RowCounts
from pipeline.contracts.times import from_seconds
from pipeline.errors import ConfigError, NotYetAvailable
from pipeline.stores.cubes import CubeStore
from pipeline.stores.holes import HoleStore
from pipeline.stores.objects import ObjectStore
from pipeline.stores.observations import ObservationStore
from pipeline.telemetry import QUIET
from tests.feeds import START, WORLD, Place, Row, build, make_place, observe, random_rows

HOURS = 40
END = START + HOURS * 3600


def ready(folder: Path, seed: int = 1, *, dask: str | None = None) -> Place:
    place = make_place(folder, dask=dask)
    observe(place, "road", random_rows(np.random.default_rng(seed), hours=HOURS))
    return place


def test_a_world_without_observations_is_not_yet_available(tmp_path: Path) -> None:
    with pytest.raises(NotYetAvailable, match="run land and observe first"):
        build(make_place(tmp_path), END)


def test_a_time_before_the_world_begins_is_not_yet_available(tmp_path: Path) -> None:
    with pytest.raises(NotYetAvailable, match="no domain that has begun"):
        build(ready(tmp_path), START - 40 * 86400)
    assert not (tmp_path / "store" / "cubes").exists()


def test_a_second_run_changes_nothing_and_has_the_same_ids(tmp_path: Path) -> None:
    place = ready(tmp_path)
    first, second = build(place, END), build(place, END)
    assert (first.outcome, second.outcome) == ("done", "unchanged")
    assert first.ids == second.ids
    assert len(CubeStore(place.settings.store, "little").history()) == 1


def test_the_receipt_counts_cells_regions_and_missing_shares(tmp_path: Path) -> None:
    receipt = build(ready(tmp_path), END)
    assert receipt.counts["cells"] == (2 * HOURS + 1) * 3 * 2 + (HOURS + 1) * 3
    assert receipt.counts["regions"] == 9 + 6
    assert 0 < receipt.details["missing_share"]["traffic"]["speed"] < 0.5
    assert receipt.counts["revisions"] > 0
    assert set(receipt.ids) == {"snapshot", "digest.traffic", "digest.slow"}


def test_an_earlier_as_of_leaves_the_axis_as_long_as_it_is(tmp_path: Path) -> None:
    place = ready(tmp_path)
    build(place, END)
    assert build(place, START + 7200).outcome == "unchanged"


def test_a_later_as_of_makes_the_last_chunk_and_the_new_ones_only(tmp_path: Path) -> None:
    place = ready(tmp_path)
    build(place, START + 10 * 3600)
    receipt = build(place, START + 11 * 3600)
    assert receipt.counts["regions"] == 1 + 1
    assert CubeStore(place.settings.store, "little").state().domains["traffic"].steps == 23


def test_a_late_row_touches_the_chunks_of_its_day_only(tmp_path: Path) -> None:
    place = ready(tmp_path)
    build(place, END)
    observe(place, "road", [Row("n1", START + 30 * 3600, END + 100, {"speed": (1.0, 0), "count": (2.0, 0)})])
    receipt = build(place, END)
    assert receipt.outcome == "done"
    # 30 h in lies on the second day: traffic steps 48 .. 80 are in chunks 4 .. 8, hours 24 .. 40 in chunks 3 .. 5.
    assert receipt.counts["regions"] == 5 + 3


def test_a_new_node_extends_the_cube_its_history_is_missing_and_nothing_else_is_made_again(tmp_path: Path) -> None:
    place = ready(tmp_path)
    build(place, END)
    late = END - 3600
    observe(place, "road", [Row("a_new_one", late, late, {"speed": (1.0, 0), "count": (2.0, 0)})])
    receipt = build(place, END)
    assert receipt.counts["regions"] == 5 + 3  # those of its day, as for any late row
    store = CubeStore(place.settings.store, "little")
    cube = store.open(from_seconds(END), "traffic")
    assert cube.nodes.ids == ("n0", "n1", "n2", "a_new_one")
    assert np.isnan(cube.values_TNV[:-3, 3]).all()
    assert (cube.flags_TNV[:-3, 3] == Flag.MISSING).all()
    assert (cube.latency_TNV[:-3, 3] == NEVER).all()
    assert not np.isnan(cube.values_TNV[-3, 3]).any()
    assert store.open(from_seconds(late - 1), "traffic").nodes.ids == ("n0", "n1", "n2")
    assert store.verify(QUIET)["traffic"].digest == receipt.ids["digest.traffic"]


def test_nodes_keep_their_index_when_sensors_come_and_go(tmp_path: Path) -> None:
    place = make_place(tmp_path)
    value = {"speed": (1.0, 0), "count": (2.0, 0)}
    seen = []
    for day, nodes in enumerate((("b",), ("c", "a"), ("c",), ("0", "b"))):
        stamp = START + day * 86400 + 3600
        observe(place, "road", [Row(n, stamp, stamp, value) for n in nodes])
        build(place, stamp + 3600)
        seen.append(CubeStore(place.settings.store, "little").nodes("traffic").ids)
    assert seen == [("b",), ("b", "a", "c"), ("b", "a", "c"), ("b", "a", "c", "0")]
    cube = CubeStore(place.settings.store, "little").open(from_seconds(START + 4 * 86400), "traffic")
    assert [int(day) for day in np.flatnonzero(~np.isnan(cube.values_TNV[:, 0, 0])) // 48] == [0, 3]
    CubeStore(place.settings.store, "little").verify(QUIET)


def test_places_that_moved_are_written_and_no_region_is(tmp_path: Path) -> None:
    place = ready(tmp_path)
    first = build(place, END)
    places = NodeSet(ids=("n0", "n1", "n2"), latitude=np.array([56.0, 57.0, 58.0]), longitude=np.array([10.0, 11.0, 12.0]))
    store = ObservationStore(ObjectStore(place.settings.store), place.world, "road")
    nothing = RowCounts(raw=0, observations=0, duplicates=0, rejected=0)
    store.append(store.schema.empty_table(), REJECTION_SCHEMA.empty_table(), nothing, deliveries=[], places=places, expected=1)
    second = build(place, END)
    assert (second.outcome, second.counts["regions"]) == ("done", 0)
    assert first.ids["digest.traffic"] != second.ids["digest.traffic"]
    held = CubeStore(place.settings.store, "little")
    assert held.nodes("traffic").latitude.tolist() == [56.0, 57.0, 58.0]
    held.verify(QUIET)
    assert build(place, END).outcome == "unchanged"


def test_other_settings_of_a_domain_make_all_its_regions_again_and_leave_the_others(tmp_path: Path) -> None:
    place = ready(tmp_path)
    first = build(place, END)
    changed = make_place(tmp_path, WORLD.replace('aggregate = "last", max_age = "3h"', 'aggregate = "last", max_age = "10min"'))
    second = build(changed, END)
    assert second.counts["regions"] == 6
    assert first.ids["digest.traffic"] == second.ids["digest.traffic"]
    assert first.ids["digest.slow"] != second.ids["digest.slow"]


def test_a_plan_that_does_not_fit_is_refused_with_its_numbers_and_nothing_is_there_afterwards(tmp_path: Path) -> None:
    place = ready(tmp_path)
    with pytest.raises(ConfigError, match=r"15 regions, 609 cells from [\d,]+ rows.*1 MiB are allowed.*CUBECAST_MEMORY"):
        build(replace(place, settings=replace(place.settings, memory=2**20)), END)
    assert not (tmp_path / "store" / "cubes").exists()


def test_a_variable_that_comes_later_than_the_others_of_its_source_is_known_and_owed_by_its_own_latency(tmp_path: Path) -> None:
    text = WORLD.replace('count = { unit = "count" }', 'count = { unit = "count", latency = "3h" }')
    place = make_place(tmp_path, text)
    stamps = [START + 1800 * k for k in range(1, 25)]
    observe(
        place, "road", [Row("a", t, t + 1200, {"speed": (50.0, 0)} | ({"count": (2.0, 0)} if k < 16 else {})) for k, t in enumerate(stamps)]
    )
    build(place, START + 12 * 3600)
    store = CubeStore(place.settings.store, "little")
    seen = store.open(from_seconds(START + 6 * 3600), "traffic")
    newest = [int(seen.valid_time[np.flatnonzero(~np.isnan(seen.values_TNV[:, 0, v]))[-1]]) for v in range(2)]
    assert seen.variables == ("speed", "count")
    assert newest == [START + 5 * 3600 + 1800, START + 3 * 3600]
    [owed] = HoleStore(ObjectStore(place.settings.store), place.world).report(START + 12 * 3600)["open"]
    assert (owed["first"], owed["last"], owed["cells"]) == ("2025-10-24T08:30:00Z", "2025-10-24T08:30:00Z", 1)


def test_nothing_is_owed_before_a_source_first_spoke(tmp_path: Path) -> None:
    place = make_place(tmp_path)
    value = {"speed": (50.0, 0), "count": (2.0, 0)}
    observe(place, "road", [Row("a", START + 1800 * k, START + 1800 * k, value) for k in range(20, 48) if k != 30])
    build(place, START + 86400)
    owed = HoleStore(ObjectStore(place.settings.store), place.world).report(START + 86400)["open"]
    assert [(hole["first"], hole["cells"]) for hole in owed] == [("2025-10-24T15:00:00Z", 2)]


def test_a_variable_cannot_be_known_before_its_source(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"variables\.count\.latency is under the source's, 20min"):
        make_place(tmp_path, WORLD.replace('count = { unit = "count" }', 'count = { unit = "count", latency = "3min" }'))
