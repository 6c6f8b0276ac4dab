"""A domain's cube as a labelled dataset in a folder (Zarr) or file (NetCDF) of its own, for readers without Cubecast."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from pipeline.contracts.cubes import NEVER, DomainCube
from pipeline.contracts.nodes import NodeSet
from pipeline.contracts.times import format_instant, from_seconds
from pipeline.cube.differences import DomainBook
from pipeline.errors import NotYetAvailable
from pipeline.stores.exports import appearing, cf_units

if TYPE_CHECKING:
    import xarray as xr

Format = Literal["zarr", "netcdf"]
_AXES = ("valid_time", "init_time")

Edges = tuple[NDArray[np.int32], NDArray[np.float32]]


def to_dataset(cube: DomainCube, book: DomainBook, facts: Mapping[str, str], graph: Edges | None = None) -> xr.Dataset:
    """The cube as a CF dataset: values, flags and latencies by `valid_time` and `node`, or by `valid_time`, `y` and `x`; what
    others forecast by `init_time`, `step` and `place`.

    Nothing is decoded: `valid_time` is in seconds since 1970, a latency that never was is the fill value.

    Args:
        cube: What was known at its `as_of`; its superseded versions are left out.
        book: Titles and attributes.
        facts: Further attributes of the whole, such as its provenance.
        graph: Edges (2, edge) from source to target as indices of nodes, and their weights.
    """
    import xarray as xr

    shape = cube.nodes.shape
    time = "init_time" if "init_time" in book.attributes else "valid_time"
    across = ("step", "place") if time == "init_time" else ("y", "x")
    space, sizes = (("node",), (len(cube.nodes),)) if shape is None else (across, shape)
    placed = bool(len(cube.nodes)) and not (np.isnan(cube.nodes.latitude).all() or np.isnan(cube.nodes.longitude).all())
    series = shape is None and placed
    node_id = np.array(cube.nodes.ids, dtype=object).reshape(sizes)
    named = {"long_name": "identity of the node"} | ({"cf_role": "timeseries_id"} if series else {})
    coords: dict[str, Any] = {
        time: (
            time,
            cube.valid_time,
            {**book.attributes[time], "axis": "T", "units_metadata": "leap_seconds: none"},
        ),
        "node_id": (space, node_id, named),
    }
    if placed:
        for name in ("latitude", "longitude"):
            coords[name] = (space, getattr(cube.nodes, name).reshape(sizes), dict(book.attributes[name]))
    data: dict[str, Any] = {}
    for v, name in enumerate(cube.variables):
        for suffix, array in (("", cube.values_TNV), ("_flag", cube.flags_TNV), ("_latency", cube.latency_TNV)):
            attributes = _attributes(suffix, book.attributes[name + suffix])
            data[name + suffix] = ((time, *space), array[..., v].reshape(len(array), *sizes), attributes)
    data |= _graph_variables(cube.nodes, space, sizes, graph)
    whole = {
        "Conventions": "CF-1.11",
        "title": book.title or cube.domain,
        "source": "cubecast",
        "history": f"exported from snapshot {cube.snapshot} as of {format_instant(from_seconds(cube.as_of))}",
        "as_of": format_instant(from_seconds(cube.as_of)),
        "snapshot": cube.snapshot,
        **({"featureType": "timeSeries"} if series else {}),
    }
    return xr.Dataset(data, coords, {**facts, **whole})


def _graph_variables(nodes: NodeSet, space: tuple[str, ...], sizes: tuple[int, ...], graph: Edges | None) -> dict[str, Any]:
    """Who tells about whom, and where segments begin and end; what is not there is left out. CF has no words for a graph."""
    found: dict[str, Any] = {}
    if nodes.ends is not None:
        for k, name in enumerate(("start_latitude", "start_longitude", "end_latitude", "end_longitude")):
            side, _, axis = name.partition("_")
            said = {"long_name": f"{axis} of the segment's {side}", "units": "degrees_north" if axis == "latitude" else "degrees_east"}
            found[name] = (space, nodes.ends[:, k].reshape(sizes), said)
    if graph is not None and len(graph[1]):
        pairs, weight = graph
        for name, row, long_name in (
            ("edge_source", 0, "index along node of the node that tells"),
            ("edge_target", 1, "index along node of the node that is told about"),
        ):
            found[name] = (("edge",), pairs[row].astype(np.int32), {"long_name": long_name, "start_index": np.int32(0)})
        said = {"long_name": "how much the source tells about the target", "units": "1"}
        found["edge_weight"] = (("edge",), weight.astype(np.float32), said)
    return found


def export(dataset: xr.Dataset, to: Path, form: Format, *, chunk_steps: int) -> None:
    """Write a dataset to a path where there is nothing yet; it appears there whole or not at all.

    Raises:
        ConfigError: Something is there already, or its folder is not.
        NotYetAvailable: The dataset has no step or no node.
        StoreError: The disk refused.
    """
    if not all(dataset.sizes.values()):
        raise NotYetAvailable(
            asked=f"export {dataset.attrs['title']} as of {dataset.attrs['as_of']}",
            found="no step or no node was known then",
            mend="ask for a later --as-of",
        )
    with appearing(to) as part:
        if form == "zarr":
            dataset.to_zarr(part, mode="w-", zarr_format=3, consolidated=False, encoding=_encodings(dataset, chunk_steps, "chunks"))
        else:
            encoding = _encodings(dataset, chunk_steps, "chunksizes")
            dataset.to_netcdf(part, mode="w", format="NETCDF4", engine="h5netcdf", encoding=encoding)


def _attributes(suffix: str, stored: Mapping[str, Any]) -> dict[str, Any]:
    """Attributes as CF wants them in a file; those that xarray writes itself are left out."""
    kept = {key: value for key, value in stored.items() if key not in ("coordinates", "never")}
    if suffix == "_flag":
        return kept | {"flag_masks": np.array(stored["flag_masks"], np.uint16)}
    if suffix == "_latency":
        return kept | {"units": "s"}
    return kept | cf_units(str(stored["units"]))


def _encodings(dataset: xr.Dataset, chunk_steps: int, word: str) -> dict[str, dict[str, Any]]:
    steps = next(dataset.sizes[name] for name in _AXES if name in dataset.sizes)
    found: dict[str, dict[str, Any]] = {}
    for name, variable in dataset.variables.items():
        fill = None if variable.dtype.kind in "uiO" or name in _AXES else np.array(np.nan, variable.dtype)[()]
        found[str(name)] = {} if variable.dtype.kind == "O" else {"_FillValue": NEVER if str(name).endswith("_latency") else fill}
        if name in dataset.data_vars and variable.dims[0] in _AXES:
            found[str(name)][word] = (min(chunk_steps, steps), *variable.shape[1:])
            found[str(name)] |= {"zlib": True, "complevel": 1} if word == "chunksizes" else {}
    return found
