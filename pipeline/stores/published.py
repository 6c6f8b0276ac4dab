"""Published products: Zarr and Parquet per issue time, never overwritten, visible by one record; pages and latest.json."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import numpy as np

from pipeline.contracts.forecasts import QUANTILES, DomainForecast, Forecast
from pipeline.contracts.nodes import NodeSet
from pipeline.contracts.provenance import canonical_json
from pipeline.contracts.times import compact_instant, format_instant, from_seconds
from pipeline.stores.objects import ObjectStore
from pipeline.stores.sealed import SealedLog

_SECONDS = {"units": "seconds since 1970-01-01T00:00:00+00:00", "calendar": "proleptic_gregorian"}


class PublishedStore:
    """What a world has published, under `forecasts/<world>/published/`.

    Every product lies at a place named by its content; a reader follows the records (or `latest.json`), which are
    written last, so that it never sees half.
    """

    def __init__(self, objects: ObjectStore, world_name: str) -> None:
        self._objects, self._world = objects, world_name
        self._base = f"forecasts/{world_name}/published"

    def record(self, issue_time: int) -> dict[str, Any] | None:
        """The newest published record of an issue time: digest, revision, and the keys of its products; or None."""
        return self._log(issue_time).newest()

    def issue_times(self) -> list[int]:
        """All published issue times, ascending (int64 seconds UTC)."""
        prefix = f"{self._base}/issues"
        names = {key.removeprefix(prefix).split("/")[1] for key in self._objects.list(prefix)}
        return sorted(int(datetime.strptime(name + "+0000", "%Y%m%dT%H%M%SZ%z").timestamp()) for name in names)

    def put_zarr(self, forecast: Forecast, domain: str, places: NodeSet, *, revision: int, labels: Mapping[str, Mapping[str, str]]) -> str:
        """Write one domain as a Zarr v3 group with CF attributes; its key. `labels` are extra attributes per variable."""
        files = _zarr_files(forecast, domain, places, revision, labels)
        state = hashlib.sha256()
        for name in sorted(files):
            state.update(name.encode() + b"\0" + hashlib.sha256(files[name]).digest())
        stamp = compact_instant(from_seconds(forecast.issue_time))
        place = f"{self._base}/zarr/domain={domain}/{stamp}-r{revision}-{state.hexdigest()[:12]}.zarr"
        for name in sorted(files, key=lambda name: (name == "zarr.json", name)):
            self._objects.put_if_absent(f"{place}/{name}", files[name])
        return place

    def put_parquet(self, forecast: Forecast, domain: str, data: bytes, *, revision: int) -> str:
        """Write one domain's tidy table into its hive partition; its key."""
        moment = from_seconds(forecast.issue_time)
        name = f"{compact_instant(moment)}-r{revision}-{hashlib.sha256(data).hexdigest()[:12]}.parquet"
        key = f"{self._base}/parquet/domain={domain}/issue_date={moment:%Y-%m-%d}/{name}"
        self._objects.put_if_absent(key, data)
        return key

    def commit(self, issue_time: int, record: dict[str, Any]) -> bool:
        """Make products visible: one record; False where the newest says the same."""
        return self._log(issue_time).extend(record)[1]

    def renew_latest(self) -> bool:
        """Let `latest.json` show the newest issue time's record; False where it did already, or nothing is published."""
        times = self.issue_times()
        record = self.record(times[-1]) if times else None
        if record is None:
            return False
        return self.view(
            "latest.json", canonical_json({"world": self._world, "issue_time": format_instant(from_seconds(times[-1])), **record})
        )

    def view(self, name: str, data: bytes) -> bool:
        """Put a page or another view that can be derived again; False where it was the same already."""
        key = f"{self._base}/{name}"
        if self._objects.exists(key) and self._objects.get(key) == data:
            return False
        self._objects.replace(key, data)
        return True

    def url(self, name: str) -> str:
        """Where a view, or the products, lie."""
        return self._objects.url(f"{self._base}/{name}")

    def product_url(self, key: str) -> str:
        """The path or URL of a product by its key."""
        return self._objects.url(key)

    def _log(self, issue_time: int) -> SealedLog:
        return SealedLog(self._objects, f"{self._base}/issues/{compact_instant(from_seconds(issue_time))}")


def _zarr_files(
    forecast: Forecast, domain: str, places: NodeSet, revision: int, labels: Mapping[str, Mapping[str, str]]
) -> dict[str, bytes]:
    import xarray as xr
    from zarr.codecs import BytesCodec, ZstdCodec
    from zarr.core.buffer import Buffer
    from zarr.storage import MemoryStore

    d = forecast.domains[domain]
    dims = ("issue_time", "lead_time", "node", "quantile")
    values = {
        name: (dims, d.quantiles_LNVQ[None, :, :, v], {"units": d.units[v], "model": d.model_V[v], **labels.get(name, {})})
        for v, name in enumerate(d.variables)
    }
    attributes = {
        "Conventions": "CF-1.11",
        "title": f"Cubecast forecast of {domain}, world {forecast.world}",
        "issue_time": format_instant(from_seconds(forecast.issue_time)),
        "revision": revision,
        "provenance": canonical_json(forecast.provenance).decode(),
    }
    dataset = xr.Dataset(values, coords=_coordinates(forecast.issue_time, d, places), attrs=attributes)
    zstd = {"compressors": [ZstdCodec(level=3, checksum=True)]}
    encoding: dict[str, dict[str, Any]] = {
        str(name): {**zstd, "serializer": BytesCodec()} if dataset[name].dtype.kind in "fi" else zstd for name in dataset.variables
    }
    for name in ("latitude", "longitude", "quantile"):
        encoding[name]["_FillValue"] = None
    files: dict[str, Buffer] = {}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Consolidated metadata is currently not part")
        dataset.to_zarr(MemoryStore(files), zarr_format=3, consolidated=True, mode="w", encoding=encoding)
    return {name: buffer.to_bytes() for name, buffer in files.items()}


def _coordinates(issue_time: int, d: DomainForecast, places: NodeSet) -> dict[str, Any]:
    at = {node: i for i, node in enumerate(places.ids)}
    order = [at[node] for node in d.node_ids]
    return {
        "issue_time": (
            "issue_time",
            np.array([issue_time]),
            {"standard_name": "forecast_reference_time", "long_name": "issue time", **_SECONDS},
        ),
        "lead_time": ("lead_time", d.lead_time_L, {"standard_name": "forecast_period", "long_name": "lead time", "units": "s"}),
        "valid_time": (
            ("issue_time", "lead_time"),
            d.valid_time_L[None],
            {"standard_name": "time", "long_name": "valid time", **_SECONDS},
        ),
        "node": ("node", np.array(d.node_ids, dtype=np.dtypes.StringDType()), {"cf_role": "timeseries_id", "long_name": "node"}),
        "latitude": ("node", places.latitude[order], {"standard_name": "latitude", "units": "degrees_north"}),
        "longitude": ("node", places.longitude[order], {"standard_name": "longitude", "units": "degrees_east"}),
        "quantile": ("quantile", np.array(QUANTILES), {"long_name": "quantile level", "units": "1"}),
    }
