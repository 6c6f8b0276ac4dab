"""HDF5 without NetCDF's conventions, with known answers."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from pipeline.errors import ConfigError, ContractError
from pipeline.sources.adapter import Readings
from pipeline.sources.hdf5 import Hdf5Adapter
from pipeline.sources.netcdf import NetcdfAdapter
from tests.unit.sources.made import at, source

START = at("2012-03-01T00:00")
TABLE = {"time": "df/axis1", "time_format": "epoch_ns", "node": "df/axis0"}


def hdf5(attributes: dict[str, dict[str, Any]] | None = None, **arrays: Any) -> bytes:
    out = io.BytesIO()
    with h5py.File(out, "w") as file:
        for name, values in arrays.items():
            file[name.replace("__", "/")] = values
        for name, said in (attributes or {}).items():
            file[name].attrs.update(said)
    return out.getvalue()


def table(**more: Any) -> bytes:
    """What pandas writes for three rows of two sensors."""
    stamps = (START + 300 * np.arange(3)) * 10**9
    values = np.array([[64.0, 60.0], [63.0, 0.0], [62.0, 58.0]])
    return hdf5(**{"df__axis0": np.array([b"773869", b"767541"]), "df__axis1": stamps, "df__block0_values": values, **more})


def read(data: bytes, options: dict[str, Any], column: str = "df/block0_values", unit: str = "mph") -> Readings:
    made = source("hdf5", options, {"a": {"column": column, "unit": unit}}, timezone="Europe/London")
    Hdf5Adapter().check(made)
    return Hdf5Adapter().parse(made, {"x.h5": data})


def test_a_table_of_pandas_is_read_by_its_paths() -> None:
    found = read(table(), TABLE)
    assert found.node_ids == ("773869", "767541")
    assert found.valid_time.tolist() == [START] * 2 + [START + 300] * 2 + [START + 600] * 2
    assert found.values["a"].tolist() == [64, 60, 63, 0, 62, 58]


def test_a_grid_says_its_order_scale_and_what_is_missing() -> None:
    raw = (np.arange(12).reshape(2, 3, 2) * 10).astype("i2")  # latitude, longitude, time
    said = {"rain": {"scale_factor": 0.1, "add_offset": 1.0, "_FillValue": np.int16(110), "units": "mm/h"}}
    data = hdf5(said, rain=raw, lat=[51.0, 50.0], lon=[359.0, 0.0, 1.0], when=np.array([b"2020-03-01T00:00", b"2020-03-29T01:30"]))
    options: dict[str, Any] = {"layout": "grid", "time": "when", "time_format": "iso", "latitude": "lat", "longitude": "lon"}
    options |= {"order": ["latitude", "longitude", "time"]}
    found = read(data, options, "rain", "mm/h")
    assert found.values["a"][:6] == pytest.approx([1, 3, 5, 7, 9, 11])
    assert (found.rejected.row, found.raw_rows) == ((2,), 7)
    assert "Europe/London skips" in found.rejected.reason[0]
    places = Hdf5Adapter().parse_places(source("hdf5", options), {"x.h5": data})
    assert (places.shape, places.longitude[:3].tolist()) == ((2, 3), [-1, 0, 1])


def test_rows_without_stamps_follow_their_first_time_and_step() -> None:
    options = {"layout": "one", "node": "here", "first_time": "2012-03-01T00:00Z", "step": "5min"}
    found = read(hdf5(v=[1.0, 2.0]), options, "v", "count")
    assert (found.node_ids, found.valid_time.tolist()) == (("here",), [START, START + 300])


@pytest.mark.parametrize(
    ("stamp", "said"),
    [("epoch_s", "nonsense as epoch_s, sensible as epoch_ns"), ("epoch_ms", "sensible as epoch_ns"), ("epoch_us", "sensible as epoch_ns")],
)
def test_stamps_of_another_epoch_unit_are_rejected_by_name(stamp: str, said: str) -> None:
    found = read(table(), {**TABLE, "time_format": stamp})
    assert len(found) == 0
    assert said in found.rejected.reason[0]


def test_what_does_not_fit_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ContractError, match=r"column 'df/block1_values' of x\.h5.*block0_values"):
        read(table(), TABLE, "df/block1_values")
    with pytest.raises(ContractError, match="3 stamps of 2 values"):
        read(table(), {**TABLE, "order": ["node", "time"]})
    with pytest.raises(ContractError, match=r"over \['time'\]"):
        read(table(), {"layout": "one", "node": "x", "time": "df/axis1", "time_format": "epoch_ns"})
    with pytest.raises(ContractError, match=r"unit .*'km/h', not 'mph'"):
        read(hdf5({"v": {"units": "km/h"}}, v=[1.0], t=[START]), {"layout": "one", "node": "x", "time": "t"}, "v")
    with pytest.raises(ContractError, match="name twice"):
        read(table(df__axis0=np.array([b"a", b"a"])), TABLE)
    with pytest.raises(ConfigError, match="first_time"):
        Hdf5Adapter().check(source("hdf5", {"layout": "one", "node": "x"}))


@pytest.mark.parametrize("adapter", ["hdf5", "netcdf"])
def test_no_other_file_is_opened_that_this_one_names(adapter: str, tmp_path: Path) -> None:
    (tmp_path / "secret.h5").write_bytes(table())
    (tmp_path / "secret.raw").write_bytes(np.arange(4.0).tobytes())
    out, raw = io.BytesIO(), io.BytesIO()
    with h5py.File(out, "w") as file:
        file["df"] = h5py.ExternalLink(str(tmp_path / "secret.h5"), "df")
    with h5py.File(raw, "w") as file:
        file.create_dataset("v", shape=(4,), dtype="f8", external=[(str(tmp_path / "secret.raw"), 0, 32)])
    made = source("hdf5", TABLE) if adapter == "hdf5" else source("netcdf", {})
    for data, said in ((out.getvalue(), "another file, .*secret"), (raw.getvalue(), "lie in another file")):
        with pytest.raises(ContractError, match=said):
            (Hdf5Adapter() if adapter == "hdf5" else NetcdfAdapter()).parse(made, {"x.h5": data})
