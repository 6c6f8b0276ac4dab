"""One appendable Zarr group per domain, opened by xarray over all issue times."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import icechunk
import numpy as np
import pytest
import xarray as xr

from pipeline.contracts.forecasts import Forecast
from pipeline.errors import NotYetAvailable, StoreError
from pipeline.stores.forecast_arrays import ForecastArrays
from tests.browser.demo import ISSUE_TIME, demo_page
from tests.unit.stores.published_demo import FORECAST, rows_of

TRAFFIC = FORECAST.domains["traffic"]
HOUR = 3600


@pytest.fixture
def arrays(tmp_path: Path) -> ForecastArrays:
    return ForecastArrays(str(tmp_path), "demo")


def _at(hours: int, **domains) -> Forecast:
    return replace(FORECAST, issue_time=ISSUE_TIME + hours * HOUR, domains={**FORECAST.domains, **domains})


def test_a_user_opens_all_issue_times_with_icechunk_and_xarray(arrays: ForecastArrays) -> None:
    for hours in (0, 1, 2):
        arrays.put(rows_of(_at(hours)))
    repository = icechunk.Repository.open(icechunk.local_filesystem_storage(arrays.url))
    found = xr.open_zarr(repository.readonly_session("main").store, group="traffic", consolidated=False, chunks=None)
    assert found["vehicle_count"].dims == ("issue_time", "lead_time", "node", "quantile")
    assert found.sizes["issue_time"] == 3
    assert found["issue_time"].attrs["standard_name"] == "forecast_reference_time"
    assert found["forecast_period"].attrs["standard_name"] == "forecast_period"
    assert found.attrs["Conventions"] == "CF-1.11"
    assert found.valid_time.values[0, 0] == np.datetime64("2014-09-30T16:05:00")
    median = found["average_speed"].sel(issue_time="2014-09-30T17:00", quantile=0.5, node=TRAFFIC.node_ids[4]).isel(lead_time=2)
    assert float(median) == float(TRAFFIC.quantiles_LNVQ[2, 4, 1, 3])
    assert json.loads(str(found.provenance.values[1]))["model_id"] == FORECAST.provenance["model_id"]
    assert list(found.vehicle_count_model.values) == ["joint"] * 3
    assert np.array_equal(found.average_speed.values[0], TRAFFIC.quantiles_LNVQ[:, :, 1], equal_nan=True)


def test_issue_times_published_out_of_order_are_all_there_and_can_be_sorted(arrays: ForecastArrays) -> None:
    for hours in (5, 1, 3):
        arrays.put(rows_of(_at(hours)))
    found = arrays.open("weather")
    assert list(np.diff(found.issue_time.values).astype("timedelta64[h]").astype(int)) == [-4, 2]
    assert list(np.diff(found.sortby("issue_time").issue_time.values).astype("timedelta64[h]").astype(int)) == [2, 2]


def test_a_revision_replaces_its_row_and_the_snapshot_before_keeps_the_old_one(arrays: ForecastArrays) -> None:
    first, _ = arrays.put(rows_of(FORECAST))
    assert arrays.put(rows_of(FORECAST)) == (first, False)
    other = _at(0, traffic=replace(TRAFFIC, quantiles_LNVQ=TRAFFIC.quantiles_LNVQ + np.float32(2)))
    second, made = arrays.put(rows_of(other, revision=1))
    assert made
    assert second != first
    now, before = arrays.open("traffic"), arrays.open("traffic", snapshot=first)
    assert now.sizes["issue_time"] == 1
    assert (int(now.revision[0]), int(before.revision[0])) == (1, 0)
    assert np.allclose(now.vehicle_count.values - before.vehicle_count.values, 2, atol=1e-4)
    assert [(c["revision"], c["issue_time"]) for c in arrays.history()] == [(1, "2014-09-30T16:00:00Z"), (0, "2014-09-30T16:00:00Z")]


def test_a_revision_without_a_domain_leaves_nothing_of_the_one_before(arrays: ForecastArrays) -> None:
    arrays.put(rows_of(FORECAST))
    fewer = replace(FORECAST, domains={k: v for k, v in FORECAST.domains.items() if k != "weather"})
    arrays.put(rows_of(fewer, revision=1))
    weather = arrays.open("weather")
    assert np.isnan(weather.temperature.values).all()
    assert int(weather.revision[0]) == 1
    assert arrays.put(rows_of(fewer, revision=1))[1] is False


def test_new_nodes_and_variables_widen_the_group_and_rows_before_hold_no_value_there(arrays: ForecastArrays) -> None:
    few = [4, 1]
    small = replace(
        TRAFFIC,
        node_ids=tuple(TRAFFIC.node_ids[i] for i in few),
        variables=TRAFFIC.variables[:1],
        units=TRAFFIC.units[:1],
        model_V=TRAFFIC.model_V[:1],
        quantiles_LNVQ=TRAFFIC.quantiles_LNVQ[:, few, :1],
        events={"rush": TRAFFIC.events["rush"][:, few]},
    )
    arrays.put(rows_of(_at(0, traffic=small)))
    arrays.put(rows_of(_at(1)))
    found = arrays.open("traffic")
    assert found.sizes["node"] == 7
    assert list(found.node.values[:2]) == list(small.node_ids)
    counts = found.vehicle_count.sel(node=list(TRAFFIC.node_ids)).values
    assert np.array_equal(counts[1], TRAFFIC.quantiles_LNVQ[:, :, 0])
    assert np.isnan(counts[0][:, [0, 2, 3, 5, 6]]).all()
    assert np.isnan(found.average_speed.values[0]).all()
    rush = found.probability_of_rush.sel(node=list(TRAFFIC.node_ids)).values
    assert np.array_equal(rush[0][:, few], small.events["rush"])
    assert np.isnan(rush[0][:, [0, 2, 3, 5, 6]]).all()
    assert found.latitude.sel(node=TRAFFIC.node_ids[6]) == pytest.approx(rows_of(FORECAST).places["traffic"].latitude[6])


def test_another_unit_or_horizon_begins_the_group_anew_and_a_tag_keeps_the_old_one(arrays: ForecastArrays) -> None:
    before, _ = arrays.put(rows_of(FORECAST))
    arrays.put(rows_of(_at(1, traffic=replace(TRAFFIC, units=("count", "mile/h")))))
    assert arrays.open("traffic").sizes["issue_time"] == 1
    assert arrays.open("weather").sizes["issue_time"] == 2
    repository = icechunk.Repository.open(icechunk.local_filesystem_storage(arrays.url))
    assert repository.lookup_tag("traffic-before-20140930T170000Z") == before


def _flip(path: Path) -> None:
    whole = bytearray(path.read_bytes())
    whole[len(whole) // 2] ^= 1
    path.write_bytes(bytes(whole))


@pytest.mark.parametrize("harm", [_flip, Path.unlink, lambda p: p.write_bytes(p.read_bytes()[:50])])
def test_a_damaged_or_lost_chunk_is_refused_by_readers_and_written_anew_by_the_next_put(
    tmp_path: Path, harm: Callable[[Path], object]
) -> None:
    many = {"traffic": 40, "weather": 1, "parking": 3, "market": 4}
    page = demo_page(nodes=many)
    arrays, rows = ForecastArrays(str(tmp_path), "demo"), rows_of(page.forecast)
    rows = replace(rows, places={name: page.cubes[name].nodes for name in many})
    arrays.put(rows)
    chunk = max((p for p in Path(arrays.url, "chunks").iterdir()), key=lambda p: p.stat().st_size)
    harm(chunk)
    with pytest.raises((icechunk.IcechunkError, ValueError, RuntimeError, OSError)):
        arrays.open("traffic").load()
    assert arrays.put(rows)[1] is True
    for name, d in page.forecast.domains.items():
        assert np.array_equal(arrays.open(name)[d.variables[0]].values[0], d.quantiles_LNVQ[:, :, 0])


def test_a_damaged_repository_is_named_with_the_command_that_makes_it_anew(arrays: ForecastArrays) -> None:
    arrays.put(rows_of(FORECAST))
    (Path(arrays.url) / "refs" / "branch.main" / "ref.json").write_bytes(b"{")
    with pytest.raises(StoreError, match="forecasts rebuild --world demo"):
        arrays.put(rows_of(_at(1)))


def test_what_was_never_published_is_told(arrays: ForecastArrays) -> None:
    with pytest.raises(NotYetAvailable, match="none yet"):
        arrays.open("traffic")
    arrays.put(rows_of(FORECAST))
    with pytest.raises(NotYetAvailable, match="market, parking, traffic, weather"):
        arrays.open("trafic")


def test_a_writer_that_dies_before_its_commit_leaves_what_was_there(arrays: ForecastArrays, monkeypatch: pytest.MonkeyPatch) -> None:
    arrays.put(rows_of(FORECAST))

    class Killed(BaseException):
        pass

    def die(*args: object, **kwargs: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(icechunk.Session, "flush", die)
        with pytest.raises(Killed):
            arrays.put(rows_of(_at(1)))
    assert arrays.open("traffic").sizes["issue_time"] == 1
    assert arrays.put(rows_of(_at(1)))[1] is True
    assert arrays.open("traffic").sizes["issue_time"] == 2
