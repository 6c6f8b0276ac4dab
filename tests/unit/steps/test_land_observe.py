"""Land and observe as steps: idempotent, every row accounted for, bad input told with place and mend, nothing half done."""

from __future__ import annotations

import gzip
import shutil
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from pipeline.api import LandRequest, ObserveRequest, Receipt
from pipeline.contracts.flags import Flag
from pipeline.contracts.times import to_seconds
from pipeline.contracts.world_files import load_world
from pipeline.errors import ConfigError, ContractError, CubecastError, NotYetAvailable, StoreError
from pipeline.settings import Settings, read_settings
from pipeline.sources.synthetic import SyntheticOptions, made
from pipeline.steps import joining, land, observe
from pipeline.stores.landing import LandingStore
from pipeline.stores.objects import ObjectStore
from pipeline.stores.observations import ObservationStore
from pipeline.telemetry import QUIET
from tests.world import MEASURED, tiny_world

END = datetime(2025, 10, 31, tzinfo=UTC)
RECEIVED = datetime(2026, 1, 1, tzinfo=UTC)

CSV_WORLD = """
name = "w"
title = "W"
start = "2020-01-01T00:00Z"
[sources.s]
adapter = "csv"
locations = ["data://*.csv*"]
latency = "10min"
options = {{ time = "t", node_column = "n"{options} }}
[sources.s.variables]
v = {{ unit = "count" }}
[domains.d]
title = "D"
clock = {{ step = "1h" }}
context = 2
horizon = 1
[domains.d.variables]
v = {{ source = "s" }}
"""


class Place:
    """A CSV world of its own in a folder, with its data and store."""

    def __init__(self, folder: Path, options: str = "") -> None:
        self.data = folder / "data"
        self.data.mkdir(parents=True)
        self.world = folder / "w.toml"
        self.world.write_text(CSV_WORLD.format(options=options))
        self.settings = Settings(store=str(folder / "store"), data=self.data, dask=None)

    def land(self, received: datetime = RECEIVED) -> Receipt:
        return land.run(LandRequest(world=str(self.world), as_of=END, received_time=received), self.settings, QUIET)

    def observe(self) -> Receipt:
        return observe.run(ObserveRequest(world=str(self.world), as_of=END), self.settings, QUIET)

    def store(self) -> ObservationStore:
        return ObservationStore(ObjectStore(self.settings.store), load_world(str(self.world)), "s")

    def rows(self) -> list[tuple[str, int, int, float]]:
        table = self.store().read(0, 2**35)
        times = [table[c].cast(pa.int64()).to_pylist() for c in ("valid_time", "available_time")]
        return list(zip(table["node"].to_pylist(), *times, table["v"].to_pylist(), strict=True))


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def at(text: str) -> int:
    return to_seconds(datetime.fromisoformat(text).replace(tzinfo=UTC))


def tree(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Settings, Receipt, Receipt]:
    folder = tmp_path_factory.mktemp("tiny")
    world, settings = tiny_world(folder), Settings(store=str(folder / "store"), data=None, dask=None)
    landed = land.run(LandRequest(world=str(world), as_of=END, received_time=RECEIVED), settings, QUIET)
    return world, settings, landed, observe.run(ObserveRequest(world=str(world), as_of=END), settings, QUIET)


def test_the_same_request_again_changes_nothing(tiny: tuple[Path, Settings, Receipt, Receipt]) -> None:
    world, settings, landed, observed = tiny
    before = tree(Path(settings.store))
    again = land.run(LandRequest(world=str(world), as_of=END, received_time=RECEIVED + timedelta(days=1)), settings, QUIET)
    repeated = observe.run(ObserveRequest(world=str(world), as_of=END), settings, QUIET)
    assert (landed.outcome, observed.outcome, again.outcome, repeated.outcome) == ("done", "done", "unchanged", "unchanged")
    assert (repeated.ids, repeated.counts) == (observed.ids, observed.counts)
    assert tree(Path(settings.store)) == before


def test_another_store_gets_the_same_bytes(tiny: tuple[Path, Settings, Receipt, Receipt], tmp_path: Path) -> None:
    world, settings, _, observed = tiny
    other = Settings(store=str(tmp_path), data=None, dask=None)
    land.run(LandRequest(world=str(world), as_of=END, received_time=RECEIVED), other, QUIET)
    assert observe.run(ObserveRequest(world=str(world), as_of=END), other, QUIET).ids == observed.ids
    assert tree(tmp_path) == tree(Path(settings.store))


def test_every_row_of_the_made_up_world_is_accounted_for(tiny: tuple[Path, Settings, Receipt, Receipt]) -> None:
    world, settings, _, observed = tiny
    counts = observed.counts
    for name, source in ((n, load_world(str(world)).sources[n]) for n in MEASURED):
        store = ObservationStore(ObjectStore(settings.store), load_world(str(world)), name)
        made_up = made(SyntheticOptions.model_validate(source.options), int(source.latency.total_seconds()))
        raw = int((made_up.reports.published <= to_seconds(END)).sum()) * (16 if name == "weather" else 1) + len(
            [line for row, lines in made_up.reports.garbage.items() for line in lines if made_up.reports.published[row] <= to_seconds(END)]
        )
        reasons = Counter("duplicate" if r == "duplicate" else "rejected" for r in store.rejections()["reason"].to_pylist())
        assert counts[f"{name}.raw"] == raw
        assert counts[f"{name}.observations"] == store.read(0, 2**35).num_rows
        assert counts[f"{name}.duplicates"] == reasons["duplicate"] > 0
        assert counts[f"{name}.rejected"] == reasons["rejected"]
        assert raw == sum(counts[f"{name}.{key}"] for key in ("observations", "duplicates", "rejected"))


def test_every_planted_fault_is_found_in_the_observations(tiny: tuple[Path, Settings, Receipt, Receipt]) -> None:
    world = load_world(str(tiny[0]))
    for name, source in ((n, world.sources[n]) for n in MEASURED):
        latency = int(source.latency.total_seconds())
        table = ObservationStore(ObjectStore(tiny[1].store), world, name).read(0, 2**35)
        node = np.array(table["node"].to_pylist())
        valid, available = (table[c].cast(pa.int64()).to_numpy() for c in ("valid_time", "available_time"))
        for fault in made(SyntheticOptions.model_validate(source.options), latency).faults:
            inside = (valid >= fault.start) & (valid <= fault.end) & ((node == fault.node) if fault.node and name != "weather" else True)
            flags = table[f"{fault.variable or source_variable(name)}_flag"].to_numpy()[inside]
            on_time = (available == valid + latency)[inside]
            match fault.kind:
                case "outage":
                    assert not inside.any()
                case "late":
                    assert inside.any()
                    assert not on_time.any()
                case "revision":
                    assert on_time.any()
                    assert on_time.sum() - 1 <= (~on_time).sum() <= on_time.sum()  # a corrected 0 may be 0
                case "spike":
                    assert flags[0] & (Flag.SPIKE | Flag.OUT_OF_RANGE)
                case "stuck":
                    assert (flags & Flag.STUCK).astype(bool).sum() == inside.sum() - 5
                case "fill_code":
                    assert (flags == Flag.FILL_CODE).all()
                case "unit":
                    assert (flags & Flag.UNIT_SUSPECT).all()
                case "duplicate":
                    assert inside.any()


def source_variable(name: str) -> str:
    return {"weather": "temperature", "roads": "speed", "prices": "price"}[name]


def test_few_good_readings_are_flagged(tiny: tuple[Path, Settings, Receipt, Receipt]) -> None:
    world = load_world(str(tiny[0]))
    for name, source in ((n, world.sources[n]) for n in MEASURED):
        store = ObservationStore(ObjectStore(tiny[1].store), world, name)
        table = store.read(0, 2**35)
        listed = made(SyntheticOptions.model_validate(source.options), 60).faults
        valid, node = table["valid_time"].cast(pa.int64()).to_numpy(), np.array(table["node"].to_pylist())
        planted = np.zeros(len(valid), bool)
        for fault in listed:
            planted |= (valid >= fault.start) & (valid <= fault.end) & ((node == fault.node) if fault.node and name != "weather" else True)
        for variable in store.variables:
            assert (table[f"{variable}_flag"].to_numpy()[~planted] != 0).mean() < 0.002


def test_daily_landing_gives_the_same_observations_as_landing_once(tiny: tuple[Path, Settings, Receipt, Receipt], tmp_path: Path) -> None:
    world, settings, _, observed = tiny
    daily = Settings(store=str(tmp_path), data=None, dask=None)
    for day in range(1, 10):
        moment = datetime(2025, 10, 22, tzinfo=UTC) + timedelta(days=day)
        land.run(LandRequest(world=str(world), as_of=moment, received_time=RECEIVED), daily, QUIET)
        receipt = observe.run(ObserveRequest(world=str(world), as_of=moment), daily, QUIET)
    assert receipt.counts == observed.counts
    for name in load_world(str(world)).sources:
        one, many = (ObservationStore(ObjectStore(s.store), load_world(str(world)), name) for s in (settings, daily))
        assert len(many.commits()) >= 9
        assert many.read(0, 2**35).equals(one.read(0, 2**35))
        assert many.nodes().digest == one.nodes().digest


def test_a_correction_in_a_later_file_is_a_version_known_when_it_came(place: Place) -> None:
    (place.data / "a.csv").write_text("t,n,v\n2020-01-01T00:00:00,x,1\n2020-01-01T01:00:00,x,2\n")
    place.land(datetime(2020, 2, 1, tzinfo=UTC))
    place.observe()
    (place.data / "a.csv").write_text("t,n,v\n2020-01-01T00:00:00,x,1\n2020-01-01T01:00:00,x,5\n")
    place.land(datetime(2020, 3, 1, tzinfo=UTC))
    counts = place.observe().counts
    assert place.rows() == [
        ("x", at("2020-01-01T00:00"), at("2020-01-01T00:10"), 1.0),
        ("x", at("2020-01-01T01:00"), at("2020-01-01T01:10"), 2.0),
        ("x", at("2020-01-01T01:00"), at("2020-03-01T00:00"), 5.0),
    ]
    assert (counts["s.raw"], counts["s.observations"], counts["s.duplicates"], counts["s.rejected"]) == (4, 3, 1, 0)
    assert place.store().rejections().to_pylist()[0]["raw"] == "x 2020-01-01 00:00:00Z v=1"
    assert place.store().days_since(1) == {at("2020-01-01T00:00")}


def test_what_arrives_after_the_first_landing_is_known_no_earlier_than_it_came(place: Place) -> None:
    (place.data / "a.csv").write_text("t,n,v\n2020-01-31T00:00:00,x,1\n")
    place.land(datetime(2020, 2, 1, tzinfo=UTC))
    (place.data / "b.csv").write_text("t,n,v\n2020-01-31T01:00:00,x,1\n2020-02-01T02:00:00,x,1\n")
    place.land(datetime(2020, 2, 2, tzinfo=UTC))
    place.observe()
    assert [r[2] for r in place.rows()] == [at("2020-01-31T00:10"), at("2020-01-31T01:10"), at("2020-02-02T00:00")]


def test_a_reading_stamped_after_it_was_received_is_kept_and_flagged(place: Place) -> None:
    (place.data / "a.csv").write_text("t,n,v\n2020-02-01T02:00:00,x,1\n")
    place.land(datetime(2020, 2, 1, tzinfo=UTC))
    place.observe()
    assert place.store().read(0, 2**35)["v_flag"].to_pylist() == [Flag.FUTURE]


def test_a_reading_that_came_too_early_is_taken_when_it_comes_again_in_time_with_the_same_value(place: Place) -> None:
    for day, one, counted in ((1, "1", (2, 2, 0)), (2, "1.0", (4, 3, 1)), (3, "1.00", (6, 3, 3))):  # other bytes, the same values
        (place.data / "a.csv").write_text(f"t,n,v\n2020-01-31T22:00:00,x,{one}\n2020-02-01T02:00:00,x,{one}\n")
        place.land(datetime(2020, 2, day, tzinfo=UTC))
        counts = place.observe().counts
        assert (counts["s.raw"], counts["s.observations"], counts["s.duplicates"]) == counted
    flags = place.store().read(0, 2**35)["v_flag"].to_pylist()
    assert [(row[1], row[2], flag) for row, flag in zip(place.rows(), flags, strict=True)] == [
        (at("2020-01-31T22:00"), at("2020-01-31T22:10"), 0),
        (at("2020-02-01T02:00"), at("2020-02-01T02:10"), Flag.FUTURE),
        (at("2020-02-01T02:00"), at("2020-02-02T00:00"), 0),
    ]


def test_rejected_rows_are_kept_with_file_row_reason_and_text(place: Place) -> None:
    (place.data / "a.csv").write_text("t,n,v\n2020-01-01T00:00:00,x,1\n2020-01-01T00:00:00,x,one\nnonsense\n")
    place.land()
    counts = place.observe().counts
    assert (counts["s.raw"], counts["s.observations"], counts["s.rejected"]) == (3, 1, 2)
    found = place.store().rejections().to_pylist()
    assert [(r["file"], r["row"], r["raw"]) for r in found] == [("a.csv", 2, "2020-01-01T00:00:00,x,one"), ("a.csv", 3, "nonsense")]
    assert found[0]["reason"] == "column 'v': 'one' is no number"


def test_rows_not_taken_come_delivery_by_delivery_the_rejected_before_the_repeats(place: Place) -> None:
    rows = {"a": ("x,1", "x,1", "x,2"), "b": ("y,one", "y,3", "y,3"), "c": ("y,4", "x,5", "y,4"), "d": ("z,6",)}
    for file, said in rows.items():
        (place.data / f"{file}.csv").write_text("\n".join(["t,n,v", *(f"2020-01-0{ord(file) - 96}T00:00:00,{row}" for row in said)]))
    place.land()
    assert place.observe().counts == {"s.raw": 10, "s.observations": 5, "s.duplicates": 4, "s.rejected": 1}
    found = place.store().rejections().to_pylist()
    assert [(r["file"], r["row"], r["raw"].split(" ")[0]) for r in found] == [
        ("a.csv", 1, "x"),
        ("a.csv", 2, "x"),
        ("b.csv", 1, "2020-01-02T00:00:00,y,one"),
        ("b.csv", 2, "y"),
        ("c.csv", 1, "y"),
    ]
    assert len({r["delivery"] for r in found}) == 3


def test_a_truncated_file_stops_observe_and_a_newer_delivery_of_its_name_mends_it(place: Place) -> None:
    whole = gzip.compress(b"t,n,v\n2020-01-01T00:00:00,x,1\n")
    (place.data / "a.csv.gz").write_bytes(whole[:-4])
    (place.data / "b.csv").write_text("t,n,v\n2020-01-01T00:00:00,y,1\n")
    place.land()
    before = tree(Path(place.settings.store))
    with pytest.raises(ContractError, match=r"a\.csv\.gz.*truncated gzip.*fetch the file again"):
        place.observe()
    assert tree(Path(place.settings.store)) == before
    (place.data / "a.csv.gz").write_bytes(whole)
    place.land()
    receipt = place.observe()
    assert [r[0] for r in place.rows()] == ["x", "y"]
    assert "a newer one took its place" in receipt.notes[0]
    assert place.observe().outcome == "unchanged"


def test_a_changed_contract_derives_everything_again_beside_the_old(place: Place) -> None:
    (place.data / "a.csv").write_text("t,n,v\n2020-01-01T00:00:00,x,1\n")
    place.land()
    place.observe()
    old = place.store()
    place.world.write_text(place.world.read_text().replace('"10min"', '"20min"'))
    assert place.observe().outcome == "done"
    assert place.rows()[0][2] == at("2020-01-01T00:20")
    assert old.read(0, 2**35).num_rows == 1


def test_batches_bound_memory_and_change_nothing(place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(6):
        (place.data / f"{number}.csv").write_text(f"t,n,v\n2020-01-0{number % 3 + 1}T00:00:00,x,{number % 2}\n")
    place.land()
    place.observe()
    assert len(place.store().commits()) == 1
    whole = place.rows()
    other = Settings(store=str(tmp_path / "other"), data=place.data, dask=None)
    land.run(LandRequest(world=str(place.world), as_of=END, received_time=RECEIVED), other, QUIET)
    monkeypatch.setattr(observe, "BATCH_BYTES", 1)
    observe.run(ObserveRequest(world=str(place.world), as_of=END), other, QUIET)
    place.settings = other
    assert len(place.store().commits()) == 6
    assert place.rows() == whole


def test_rows_that_move_in_stretches_are_those_that_move_one_by_one(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    for number, node in enumerate("zyx"):
        steps = range(40) if number else [*range(20, 40), 3, *range(20)]  # one of them out of order, with an instant twice
        lines = [f"2020-01-0{1 + n // 24}T{n % 24:02}:00:00,{node},{n * number}" for n in steps]
        (place.data / f"{number}.csv").write_text("\n".join(["t,n,v", *lines, "2020-01-01T05:00:00," + node + ","]) + "\n")
    place.land()
    landed, stores = place.settings.store, []
    for folder, long in (("whole", 1), ("single", 10**6)):
        shutil.copytree(landed, place.data.parent / folder)
        monkeypatch.setattr(joining, "_LONG", long)
        place.settings = Settings(store=str(place.data.parent / folder), data=place.data, dask=None)
        assert place.observe().counts == {"s.raw": 124, "s.observations": 120, "s.duplicates": 4, "s.rejected": 0}
        stores.append(place.store())
    assert stores[0].digest == stores[1].digest
    assert [row[:2] for row in place.rows()] == [(n, at("2020-01-01T00:00") + 3600 * k) for k in range(40) for n in "xyz"]


def test_a_missing_feed_is_to_come_and_one_source_can_be_asked_for(place: Place) -> None:
    with pytest.raises(NotYetAvailable, match=r"data://\*\.csv"):
        place.land()
    with pytest.raises(ConfigError, match="did you mean 's'"):
        land.run(LandRequest(world=str(place.world), as_of=END, received_time=RECEIVED, source="ss"), place.settings, QUIET)
    assert place.observe().counts == {"s.raw": 0, "s.observations": 0, "s.duplicates": 0, "s.rejected": 0}


def test_a_damaged_landed_file_stops_observe(place: Place) -> None:
    (place.data / "a.csv").write_text("t,n,v\n2020-01-01T00:00:00,x,1\n")
    place.land()
    [landed] = LandingStore(ObjectStore(place.settings.store), "w", "s").manifest()
    (Path(place.settings.store) / landed.parts[0].key).write_text("t,n,v\n2020-01-01T00:00:00,x,9\n")
    with pytest.raises(StoreError, match="sha256 differs"):
        place.observe()


def test_errors_of_steps_have_the_exit_codes_that_airflow_reads() -> None:
    assert (NotYetAvailable.exit_code, ContractError.exit_code, ConfigError.exit_code, StoreError.exit_code) == (75, 65, 78, 74)
    assert issubclass(StoreError, CubecastError)


SHARED = read_settings().data
needs_data = pytest.mark.skipif(SHARED is None, reason="no shared data")
FACTS = {
    ("aarhus", "traffic"): (7_137_361, 1_392),
    ("aarhus", "weather"): (4_357, None),
    ("aarhus", "parking"): (55_264, None),
    ("aarhus", "market"): (608_160, 2),
    ("us", "weather"): (8_737 * 36, 0),
    ("us", "traffic"): (48_204, 7_629),
    ("us", "crypto"): (92_066, None),
    ("los_loop", "speed"): (2_016 * 207, 0),
}


@pytest.mark.shared
@needs_data
@pytest.mark.parametrize(("world", "source"), FACTS)
def test_every_row_of_the_real_feeds_is_accounted_for(tmp_path: Path, world: str, source: str) -> None:
    settings = Settings(store=str(tmp_path), data=SHARED, dask=None)
    land.run(LandRequest(world=world, as_of=RECEIVED, received_time=RECEIVED, source=source), settings, QUIET)
    receipt = observe.run(ObserveRequest(world=world, as_of=RECEIVED, source=source), settings, QUIET)
    counts = receipt.counts
    assert all(" rows rejected: " in note for note in receipt.notes)
    raw, duplicates = FACTS[world, source]
    assert counts[f"{source}.raw"] == raw
    assert raw == sum(counts[f"{source}.{key}"] for key in ("observations", "duplicates", "rejected"))
    assert counts[f"{source}.rejected"] == 0
    assert duplicates in (None, counts[f"{source}.duplicates"])
    store = ObservationStore(ObjectStore(settings.store), load_world(world), source)
    assert store.rejections().num_rows == counts[f"{source}.duplicates"]
    assert store.read(0, 2**35, ["row"]).num_rows == counts[f"{source}.observations"]


@pytest.mark.shared
@needs_data
def test_aarhus_traffic_stamps_are_utc_weather_stamps_local_and_zero_speed_is_no_speed(tmp_path: Path) -> None:
    settings = Settings(store=str(tmp_path), data=SHARED, dask=None)
    land.run(LandRequest(world="aarhus", as_of=RECEIVED, received_time=RECEIVED, source="weather"), settings, QUIET)
    observe.run(ObserveRequest(world="aarhus", as_of=RECEIVED, source="weather"), settings, QUIET)
    first = ObservationStore(ObjectStore(settings.store), load_world("aarhus"), "weather").read(0, 2**35).slice(0, 1).to_pylist()[0]
    assert first["valid_time"] == datetime(2014, 7, 31, 22, tzinfo=UTC)
    assert first["wind_speed"] == pytest.approx(7.4 / 3.6, rel=1e-6)
