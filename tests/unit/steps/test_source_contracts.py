"""What a source's contract promises, broken in every way by its provider: found, named, flagged or refused, and never taken as it is."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from pipeline.api import LandRequest, ObserveRequest, Receipt
from pipeline.contracts.flags import Flag
from pipeline.contracts.world_files import load_world
from pipeline.contracts.worlds import World
from pipeline.errors import ContractError
from pipeline.settings import Settings
from pipeline.steps import land, observe
from pipeline.stores.objects import ObjectStore
from pipeline.stores.observations import ObservationStore
from pipeline.telemetry import QUIET
from tests.unit.sources.made import at, netcdf, parquet

NOW = datetime(2020, 7, 1, tzinfo=UTC)
AIR = {"temperature": {"column": "t", "unit": "degC", "valid_min": -60.0, "valid_max": 60.0}}
ROWS = {"time": "time", "node_column": "id"}


class Place:
    """A world of one source whose files lie in a folder."""

    def __init__(self, folder: Path, adapter: str = "csv", options: dict[str, Any] | None = None, **fields: Any) -> None:
        self.data = folder / "data"
        self.data.mkdir()
        self.settings = Settings(store=str(folder / "store"), data=self.data, dask=None)
        source = {
            "adapter": adapter,
            "locations": ["data://*"],
            "options": ROWS if options is None else options,
            "variables": AIR,
            **fields,
        }
        variable = next(iter(source["variables"]))
        domain = {"title": "D", "clock": {"step": "5min"}, "context": 1, "horizon": 1, "variables": {variable: {"source": "air"}}}
        world = {"name": "w", "title": "W", "start": "2020-01-01T00:00Z", "sources": {"air": source}, "domains": {"d": domain}}
        self.path = folder / "w.toml"
        self.path.write_text(toml(World.model_validate(world).model_dump(mode="json", exclude_none=True)))

    def write(self, name: str, content: str | bytes) -> None:
        (self.data / name).write_bytes(content.encode() if isinstance(content, str) else content)

    def observe(self) -> Receipt:
        land.run(LandRequest(world=str(self.path), as_of=NOW, received_time=NOW), self.settings, QUIET)
        return observe.run(ObserveRequest(world=str(self.path), as_of=NOW), self.settings, QUIET)

    @property
    def store(self) -> ObservationStore:
        return ObservationStore(ObjectStore(self.settings.store), load_world(str(self.path)), "air")

    def flags(self, variable: str = "temperature") -> dict[tuple[str, int], int]:
        table = self.store.read(0, 2**33)
        valid = table["valid_time"].cast(pa.int64()).to_pylist()
        return dict(zip(zip(table["node"].to_pylist(), valid, strict=True), table[f"{variable}_flag"].to_pylist(), strict=True))

    def reasons(self) -> list[str]:
        return [str(r) for r in self.store.rejections()["reason"].to_pylist()]


def toml(content: dict[str, Any], prefix: str = "") -> str:
    plain = {k: v for k, v in content.items() if not isinstance(v, dict)}
    lines = [f"{k} = {json.dumps(v)}" for k, v in plain.items()]
    for key, inner in content.items():
        if isinstance(inner, dict):
            name = f"{prefix}{json.dumps(key)}"
            lines.append(f"[{name}]\n{toml(inner, f'{name}.')}")
    return "\n".join(lines)


def series(values: Any, node: str = "x", step: int = 10, start: str = "2020-06-01T00:00") -> list[str]:
    begin = np.datetime64(start)
    return [f"{begin + np.timedelta64(k * step, 'm')},{node},{v}" for k, v in enumerate(np.asarray(values).tolist())]


def table(*rows: list[str], header: str = "time,id,t") -> str:
    return "\n".join([header, *(line for part in rows for line in part)]) + "\n"


def test_a_unit_mixed_up_at_one_node_is_flagged_there_and_named_in_the_receipt(tmp_path: Path) -> None:
    place = Place(tmp_path)
    true = 12 + np.sin(np.arange(30))
    mixed = np.r_[true[:10], true[10:20] * 1.8 + 32, true[20:] + 273.15]
    place.write("a.csv", table(series(true, "x"), series(mixed, "y")))
    place.write("b.csv", table(series(true + 273.15, "x", start="2020-06-02T00:00")))
    receipt = place.observe()
    flags = place.flags()
    suspect = {key for key, flag in flags.items() if flag & Flag.UNIT_SUSPECT}
    kelvin = {("y", at("2020-06-01T00:00") + 600 * k) for k in range(20, 30)}
    assert suspect >= kelvin
    assert {node for node, valid in suspect if valid < at("2020-06-02T00:00")} == {"y"}
    assert "air, a.csv: temperature of node y: 10 readings look like K, not degC" in receipt.notes
    assert "air, b.csv: temperature of node x: 30 readings look like K, not degC" in receipt.notes
    assert receipt.counts["air.raw"] == receipt.counts["air.observations"] == 90


def test_fahrenheit_that_could_be_celsius_is_found_with_a_spike_declared(tmp_path: Path) -> None:
    place = Place(tmp_path, variables={"temperature": {**AIR["temperature"], "spike": 8.0}})
    true = 12 + np.sin(np.arange(20))
    place.write("a.csv", table(series(np.r_[true, true * 1.8 + 32, true])))
    assert "air, a.csv: temperature of node x: 20 readings look like degF, not degC" in place.observe().notes
    assert sum(flag & Flag.UNIT_SUSPECT > 0 for flag in place.flags().values()) == 20


def test_knots_for_metres_a_second_are_found_where_the_usual_is_declared(tmp_path: Path) -> None:
    wind = {"wind": {"column": "t", "unit": "m s-1", "valid_min": 0.0, "valid_max": 60.0, "usual": [2.0, 6.0]}}
    place = Place(tmp_path, variables=wind)
    true = 4 + np.sin(np.arange(40))
    place.write("a.csv", table(series(true, "x"), series(true * 1.9438, "y")))
    assert place.observe().notes == ("air, a.csv: wind of node y: 17 readings look like knot, not m s-1",)


def test_a_fill_code_that_is_not_listed_is_flagged_as_one_and_named(tmp_path: Path) -> None:
    place = Place(tmp_path)
    place.write("a.csv", table(series([10.0, -9999, 11.0, 999])))
    notes = place.observe().notes
    assert [flag & Flag.FILL_CODE > 0 for flag in place.flags().values()] == [False, True, False, True]
    assert "air, a.csv: temperature: 1 readings of -9999, out of bounds and a usual code for none: list it in missing" in notes


def test_a_stamp_ahead_of_its_reception_is_flagged_and_told(tmp_path: Path) -> None:
    place = Place(tmp_path)
    place.write("a.csv", table(series([10.0, 11.0], start="2020-06-30T23:55")))
    assert place.observe().notes == ("air, a.csv: 1 readings stamped later than received, the first of node x",)
    assert [flag & Flag.FUTURE > 0 for flag in place.flags().values()] == [False, True]


def test_readings_faster_than_the_declared_cadence_are_flagged_and_told(tmp_path: Path) -> None:
    place = Place(tmp_path, cadence="10min")
    place.write("a.csv", table(series([10.0, 11.0, 12.0]), series([50.0], start="2020-06-01T00:21"), series([1.0, 2.0], "y", step=30)))
    notes = place.observe().notes
    assert notes == ("air, a.csv: 1 readings sooner after the last than the declared cadence allows, the first of node x",)
    assert [key for key, flag in place.flags().items() if flag & Flag.CADENCE] == [("x", at("2020-06-01T00:21"))]


@pytest.mark.parametrize(
    ("form", "factor", "said"),
    [("epoch_s", 1000, "epoch_ms"), ("epoch_s", 10**6, "epoch_us"), ("epoch_ms", 1, "epoch_s"), ("epoch_us", 1000, "epoch_ms")],
)
def test_epochs_of_another_unit_are_rejected_by_name(tmp_path: Path, form: str, factor: int, said: str) -> None:
    place = Place(tmp_path, options={**ROWS, "time_format": form})
    place.write("a.csv", table([f"{at('2020-06-01T00:00') * factor},x,1"]))
    place.observe()
    assert place.reasons() == [f"nonsense as {form}, sensible as {said}: correct options.time_format"]


@pytest.mark.parametrize(("form", "factor", "said"), [("epoch_s", 1000, "epoch_ms"), ("epoch_ms", 1, "epoch_s")])
def test_epochs_of_another_unit_are_rejected_by_name_where_they_say_when_a_row_was_published(
    tmp_path: Path, form: str, factor: int, said: str
) -> None:
    place = Place(tmp_path, options={**ROWS, "published": "p", "published_format": form})
    when = at("2020-06-01T00:05")
    rows = [f"2020-06-01T00:00,x,1,{when * factor}", f"2020-06-01T00:10,x,1,{when * {'epoch_s': 1, 'epoch_ms': 1000}[form]}"]
    place.write("a.csv", table(rows, header="time,id,t,p"))
    assert place.observe().counts["air.observations"] == 1
    assert place.reasons() == [f"column 'p': nonsense as {form}, sensible as {said}: correct options.published_format"]


def test_a_row_published_before_1970_or_after_2100_is_rejected_and_one_published_after_it_came_is_told(tmp_path: Path) -> None:
    place = Place(tmp_path, options={**ROWS, "published": "p"})
    when = ["0020-06-01T00:05Z", "2220-06-01T00:05Z", "2020-06-01T00:05Z", "2020-07-01T00:05Z", ""]
    rows = [f"2020-06-01T00:{10 * k:02d},x,{k},{published}" for k, published in enumerate(when)]
    place.write("a.csv", table(rows, header="time,id,t,p"))
    receipt = place.observe()
    assert place.reasons() == ["column 'p': a stamp outside 1970 .. 2100"] * 2
    assert receipt.counts["air.observations"] == 3
    assert "air, a.csv: 1 readings published later than received, the first of node x" in receipt.notes


def test_the_hour_that_clocks_skip_and_the_one_they_pass_twice_are_rejected_by_name(tmp_path: Path) -> None:
    place = Place(tmp_path, timezone="Europe/London")
    place.write("a.csv", table(series([1.0], start="2020-03-29T01:30"), series([2.0], start="2019-10-27T01:30"), series([3.0])))
    assert place.observe().counts["air.observations"] == 1
    skipped, twice = place.reasons()
    assert "Europe/London skips" in skipped
    assert "Europe/London passes twice" in twice


@pytest.mark.parametrize(
    ("rows", "area", "words"),
    [
        ("a,56.1,10.2\nb,10.2,56.1\n", [54.0, 8.0, 58.0, 13.0], "node b: 10.2, 56.1 is where latitude and longitude are swapped"),
        ("a,56.1,10.2\nb,56.1,30\n", [54.0, 8.0, 58.0, 13.0], r"node b: 56\.1, 30 is outside"),
        ("a,10.2,156.1\nb,156.1,10.2\n", None, "node b: 156.1, 10.2 is where latitude and longitude are swapped"),
        ("".join(f"n{k},56.{k},10.{k}\n" for k in range(6)) + "b,10.2,56.1\n", None, "node b: 10.2, 56.1 is where"),
    ],
)
def test_a_node_whose_coordinates_are_swapped_is_refused_by_name(tmp_path: Path, rows: str, area: list[float] | None, words: str) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "places").mkdir()
    (tmp_path / "data" / "places" / "nodes.csv").write_text("id,latitude,longitude\n" + rows)
    (tmp_path / "data").rename(tmp_path / "held")
    place = Place(tmp_path, locations=["data://a.csv"], nodes={"location": "data://places/nodes.csv", **({"area": area} if area else {})})
    (tmp_path / "held" / "places").rename(place.data / "places")
    place.write("a.csv", table(series([1.0], "a")))
    with pytest.raises(ContractError, match=words):
        place.observe()


def test_longitudes_from_0_to_360_are_the_same_places(tmp_path: Path) -> None:
    place = Place(tmp_path, locations=["data://a.csv"], nodes={"location": "data://nodes.csv"})
    place.write("nodes.csv", "id,latitude,longitude\na,56.1,350.0\nb,56.2,10.0\n")
    place.write("a.csv", table(series([1.0], "a"), series([1.0], "b")))
    place.observe()
    assert place.store.nodes().longitude.tolist() == [-10.0, 10.0]


def test_a_grid_that_moved_is_refused_with_both_grids(tmp_path: Path) -> None:
    place = Place(tmp_path, "netcdf", {}, variables={"a": {"column": "t2m", "unit": "K"}}, locations=["data://*.nc"])
    place.write("a.nc", netcdf("NETCDF3_64BIT"))
    import io

    import xarray as xr

    moved = xr.open_dataset(io.BytesIO(netcdf("NETCDF3_64BIT")), engine="scipy").assign_coords(latitude=[53.0, 52.0])
    place.write("b.nc", bytes(moved.to_netcdf(None, engine="scipy")))
    with pytest.raises(
        ContractError, match=r"grid of b\.nc of source air: 2 x 3 cells from 52, -1 to 51, 1: 2 x 3 cells from 53, -1 to 52, 1"
    ):
        place.observe()


# ---- Schema drift --------------------------------------------------------------------------------------------------

GOOD = ["2020-06-01T00:00", "x", 1.0]


def written(form: str, names: list[str], rows: list[list[Any]]) -> bytes:
    if form == "csv":
        return "\n".join([",".join(names), *(",".join(map(str, row)) for row in rows)]).encode() + b"\n"
    if form == "json":
        return json.dumps([dict(zip(names, row, strict=True)) for row in rows]).encode()
    return parquet(**{name: [row[i] for row in rows] for i, name in enumerate(names)})


@pytest.mark.parametrize("form", ["csv", "json", "parquet"])
def test_a_renamed_column_is_refused_or_absorbed_as_the_contract_says(tmp_path: Path, form: str) -> None:
    for number, (options, words) in enumerate([(ROWS, "column 't'"), ({**ROWS, "renamed": {"temp": "t"}}, None)]):
        (tmp_path / str(number)).mkdir()
        place = Place(tmp_path / str(number), form, options)
        place.write(f"a.{form}", written(form, ["time", "id", "temp"], [GOOD]))
        if words:
            with pytest.raises(ContractError, match=words):
                place.observe()
        else:
            place.write(f"b.{form}", written(form, ["time", "id", "t"], [["2020-06-01T00:10", "x", 2.0]]))
            assert place.observe().counts["air.observations"] == 2
    both = written(form, ["time", "id", "temp", "t"], [[*GOOD, 2.0]])
    place.write(f"c.{form}", both)
    with pytest.raises(ContractError, match="old and its new name"):
        place.observe()


@pytest.mark.parametrize("form", ["csv", "json", "parquet"])
def test_a_column_that_nobody_knows_is_passed_over_or_refused_as_the_contract_says(tmp_path: Path, form: str) -> None:
    strict = {**ROWS, "extra_columns": "refuse"}
    for number, (options, taken) in enumerate([(ROWS, True), (strict, False), ({**strict, "known": ["quality"]}, True)]):
        (tmp_path / str(number)).mkdir()
        place = Place(tmp_path / str(number), form, options)
        place.write(f"a.{form}", written(form, ["time", "id", "quality", "t"], [[*GOOD[:2], "A", 1.0]]))
        if taken:
            assert place.observe().counts["air.observations"] == 1
        else:
            with pytest.raises(ContractError, match=r"columns of a\..* that the contract knows: column 'quality'"):
                place.observe()


def test_a_column_of_another_type_rejects_its_rows_or_refuses_the_delivery_as_the_contract_says(tmp_path: Path) -> None:
    text = table(series([1.0, 2.0]), ["2020-06-01T00:30,x,12 degC", "2020-06-01T00:40,x,warm"])
    for number, (share, taken) in enumerate([(1.0, True), (0.5, True), (0.4, False)]):
        (tmp_path / str(number)).mkdir()
        place = Place(tmp_path / str(number), most_rejected=share)
        place.write("a.csv", text)
        if taken:
            counts = place.observe().counts
            assert (counts["air.observations"], counts["air.rejected"]) == (2, 2)
        else:
            with pytest.raises(
                ContractError, match=r"a\.csv of source air, at most 40% rejected: 2 of 4 rows rejected, 1 of them for: column 't'"
            ):
                place.observe()
