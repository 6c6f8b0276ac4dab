"""Zarr stores of both versions, with known answers, on disk, in a zip, over https and on a real S3 server (moto)."""

from __future__ import annotations

import io
import json
import warnings
import zipfile
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from pipeline.contracts.worlds import Source
from pipeline.errors import ConfigError, ContractError, NotYetAvailable
from pipeline.settings import Settings
from pipeline.sources.adapter import Readings
from pipeline.sources.zarr import ZarrAdapter
from pipeline.stores.landing import LandingStore
from pipeline.stores.objects import ObjectStore
from tests.unit.sources.made import at, source, zarr_store
from tests.unit.sources.server import Answer, Asked, provider

VARIABLES = {"a": {"column": "t2m", "unit": "K"}}
NOW = datetime(2020, 3, 2, tzinfo=UTC)
ADAPTER = ZarrAdapter()


def made(options: dict[str, Any] | None = None, **fields: Any) -> Source:
    found = source("zarr", options or {}, VARIABLES, **{"locations": ["data://x.zarr"], **fields})
    ADAPTER.check(found)
    return found


def write(folder: Path, objects: Mapping[str, bytes]) -> None:
    for key, data in objects.items():
        path = folder / "x.zarr" / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def landed(read: Source, folder: Path, moment: datetime = NOW) -> list[Readings]:
    store = LandingStore(ObjectStore(str(folder / "store")), "w", "s")
    offered = ADAPTER.deliveries(read, Settings(store="", data=folder, dask=None), moment)
    return [ADAPTER.parse(read, store.read(d)) for d in store.land(offered, int(moment.timestamp())) if d.role == "readings"]


PACKED: dict[str, dict[str, Any]] = {
    "2": {"version": 2},
    "2, two hours a chunk": {"version": 2, "chunk": 2},
    "3": {"version": 3},
    "3, sharded": {"version": 3, "chunk": 1, "shards": (2, 2, 3), "hours": 4},
}


@pytest.mark.parametrize("fields", PACKED.values(), ids=PACKED)
def test_a_grid_is_read_cell_by_cell_with_its_places(tmp_path: Path, fields: dict[str, Any]) -> None:
    write(tmp_path, zarr_store(**fields))
    hours = fields.get("hours", 3)
    [found] = landed(made(), tmp_path)
    assert found.raw_rows == len(found) == 6 * hours
    assert found.valid_time[::6].tolist() == [at(f"2020-03-01T{h:02d}:00") for h in range(hours)]
    assert found.values["a"][6:12].tolist() == [100, 101, 102, 110, 111, 112]
    assert np.isnan(found.values["a"][-1])
    *_, grid = ADAPTER.deliveries(made(), Settings(store="", data=tmp_path, dask=None), NOW)
    places = ADAPTER.parse_places(made(), {p.name: p.read() for p in grid.parts})
    assert (grid.role, places.shape, places.ids) == ("nodes", (2, 3), found.node_ids)
    assert places.longitude.tolist() == [-1, 0, 1] * 2


def test_scaled_integers_and_an_area_are_read() -> None:
    objects = zarr_store(2, dtype="i2", scale_factor=0.5, _FillValue=-1)
    found = ADAPTER.parse(made({"area": [50.0, -0.5, 51.5, 2.0]}), objects)
    assert found.node_ids == ("y001x001", "y001x002")
    assert found.values["a"][:4].tolist() == [11, 12, 111, 112]
    assert np.isnan(found.values["a"][-1])


def test_a_chunk_without_an_object_is_missing_and_a_step_without_any_was_not_delivered(tmp_path: Path) -> None:
    objects = zarr_store(2, hours=4)
    split = {k: v for k, v in zarr_store(2, hours=4).items() if k != "t2m/1.0.0"}
    description = json.loads(split["t2m/.zarray"])
    split["t2m/.zarray"] = json.dumps({**description, "fill_value": 0.0}).encode()
    found = ADAPTER.parse(made(), split)
    assert found.valid_time[::6].tolist() == [at(f"2020-03-01T{h}:00") for h in ("00", "02", "03")]
    west = zarr_store(2, hours=4)
    for key in [k for k in objects if k.startswith("t2m/") and k[4].isdigit()]:
        del west[key]
    assert ADAPTER.parse(made(), west).raw_rows == 0


def test_a_store_that_grows_is_asked_for_what_is_young_and_what_is_old_is_left_alone(tmp_path: Path) -> None:
    options = {"start": "2020-03-01T01:00Z", "span": "2h", "revised": "1h"}
    objects = zarr_store(2, hours=6)
    write(tmp_path, {k: v for k, v in objects.items() if k not in ("t2m/4.0.0", "t2m/5.0.0")})
    read = made(options, latency="1h")
    first = landed(read, tmp_path, datetime(2020, 3, 1, 4, tzinfo=UTC))
    assert [len(f) for f in first] == [12, 12, 0]
    write(tmp_path, objects)
    (tmp_path / "x.zarr" / "t2m" / "0.0.0").write_bytes(objects["t2m/1.0.0"])  # settled: not seen again
    second = landed(read, tmp_path, datetime(2020, 3, 1, 5, tzinfo=UTC))
    assert [len(f) for f in second] == [12]
    assert second[0].valid_time[-1] == at("2020-03-01T05:00")


@pytest.mark.parametrize("version", [2, 3])
def test_series_of_nodes_with_texts_as_names_are_read(tmp_path: Path, version: int) -> None:
    data = xr.Dataset({"t2m": (("station", "time"), [[1.5, 2.5], [3.0, np.nan]])}, coords={"station": ["p", "q"], "time": [0, 1]})
    data["time"].attrs["units"] = "hours since 2020-03-01"
    with warnings.catch_warnings(action="ignore"):
        data.to_zarr(tmp_path / "x.zarr", zarr_format=version, consolidated=False)
    [found] = landed(made({"layout": "nodes", "node": "station"}), tmp_path)
    assert found.node_ids == ("p", "q")
    assert found.values["a"][:3].tolist() == [1.5, 3.0, 2.5]


def test_a_store_in_a_zip_is_one_delivery(tmp_path: Path) -> None:
    for name, root in (("a.zarr.zip", ""), ("b.zarr.zip", "b.zarr/")):
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w") as packed:
            for key, data in zarr_store(3).items():
                packed.writestr(root + key, data)
        (tmp_path / name).write_bytes(out.getvalue())
    found = landed(made(locations=["data://*.zarr.zip"]), tmp_path)
    assert [f.raw_rows for f in found] == [18, 18]
    with pytest.raises(ConfigError, match="span"):
        made({"start": "2020-01-01T00:00Z", "span": "1d"}, locations=["data://*.zarr.zip"])


def changed(key: str, **fields: Any) -> dict[str, bytes]:
    objects = zarr_store(3 if key.endswith("zarr.json") else 2)
    return {**objects, key: json.dumps({**json.loads(objects[key]), **fields}).encode()}


@pytest.mark.parametrize(
    ("objects", "words"),
    [
        (changed("t2m/.zarray", filters=[{"id": "pickle"}]), "array 't2m' of the Zarr store.*codec 'pickle'"),
        (changed("t2m/zarr.json", codecs=[{"name": "bytes"}, {"name": "numcodecs.pickle"}]), "codec 'numcodecs.pickle'"),
        (changed("t2m/.zarray", chunks=[2**20, 2**10, 2**10]), "chunks of .* more than"),
        (changed("t2m/.zarray", dtype="|O"), "array 't2m'"),
        (changed("t2m/.zattrs", units="degC"), "unit of variable 't2m'.*'degC', not 'K'"),
        (changed("t2m/.zattrs", _ARRAY_DIMENSIONS=["t", "y", "x"]), "variable 't2m' .*over"),
        (changed("t2m/.zattrs", scale_factor="x"), "attribute 'scale_factor'"),
        (changed("time/.zattrs", units="hours"), "times 'time'"),
        ({**zarr_store(2), "latitude/0": b""}, "axis 'latitude'"),
        ({**zarr_store(2), "t2m/1.0.0": zarr_store(2)["t2m/1.0.0"][:-3]}, "object 't2m/1.0.0'.*cut"),
    ],
    ids=range(10),
)
def test_what_does_not_fit_is_refused_by_its_object(objects: dict[str, bytes], words: str) -> None:
    with pytest.raises(ContractError, match=words) as caught:
        ADAPTER.parse(made(), objects)
    assert caught.value.mend


def test_a_store_or_an_array_that_is_not_there_may_come_later(tmp_path: Path) -> None:
    with pytest.raises(NotYetAvailable, match=r"x\.zarr/time"):
        landed(made(), tmp_path)
    write(tmp_path, {k: v for k, v in zarr_store(2).items() if not k.startswith("t2m")})
    with pytest.raises(NotYetAvailable, match=r"t2m/\.zarray"):
        landed(made(), tmp_path)


def test_over_https_an_overload_stops_and_an_absent_chunk_does_not(tmp_path: Path, hurried: None) -> None:
    objects = {k: v for k, v in zarr_store(2).items() if k != "t2m/1.0.0"}
    fault: list[Answer] = [Answer(status=503)]

    def answer(asked: Asked, _: int) -> Answer:
        key = asked.path.removeprefix("/ar/x.zarr/")
        if key == "t2m/2.0.0" and fault:
            return fault[0]
        return Answer(body=objects[key], headers={"ETag": f'"{len(objects[key])}"'}) if key in objects else Answer(status=404)

    with provider(answer) as p:
        read = made(locations=[p.url("/ar/x.zarr")], allowed_hosts=[p.host])
        for kind in (Answer(status=503), Answer(status=429, headers={"Retry-After": "0"}), Answer(body=b"cut", declared=500)):
            fault[0] = kind
            with pytest.raises(NotYetAvailable):
                landed(read, tmp_path)
        fault.clear()
        assert landed(read, tmp_path)[0].raw_rows == 12


@pytest.mark.parametrize("account", ["", "anonymous@"])
def test_era5_is_read_from_a_public_bucket_by_the_hour(bucket: str, tmp_path: Path, account: str) -> None:
    import boto3

    client = boto3.client("s3", endpoint_url=bucket, region_name="eu-west-1")
    for key, data in zarr_store(2, hours=5).items():
        if key != "t2m/4.0.0":  # reserved, and not yet there
            client.put_object(Bucket="feeds", Key=f"ar/era5.zarr/{key}", Body=data, ACL="public-read")
    options = {"start": "2020-03-01T00:00Z", "span": "2h", "area": [51.5, -2.0, 53.0, 0.5]}
    found = landed(made(options, locations=[f"s3://{account}feeds/ar/era5.zarr"], latency="5d"), tmp_path)
    assert [f.raw_rows for f in found] == [4, 4, 0]
    assert found[0].values["a"].tolist() == [0, 1, 100, 101]
