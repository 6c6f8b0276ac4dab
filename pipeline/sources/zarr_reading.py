"""Reading a Zarr store from its objects: axes, times after the CF conventions, tables of values."""

from __future__ import annotations

import base64
import math
import struct
import warnings
import zipfile
from collections.abc import Mapping
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import ContractError
from pipeline.sources.adapter import NO_TIME
from pipeline.sources.grids import MAX_BYTES, Cells, cells_of, node_names, physical, read_cells
from pipeline.sources.netcdf import NetcdfOptions
from pipeline.sources.zarr_arrays import read_box
from pipeline.sources.zarr_layout import MEND, ArrayLayout

MOST_OBJECTS = 100_000


def unpacked_store(parts: Mapping[str, bytes]) -> tuple[str, Mapping[str, bytes]]:
    """What to call a store, and its objects; those of a packed one are unpacked.

    Raises:
        ContractError: The zip is damaged, or larger than is ever read.
    """
    first, data = next(iter(parts.items()), ("nothing", b""))
    if len(parts) != 1 or data[:2] != b"PK":
        return "the Zarr store", parts
    try:
        with zipfile.ZipFile(BytesIO(data)) as packed:
            entries = [e for e in packed.infolist() if not e.is_dir()]
            size = sum(e.file_size for e in entries)
            if size > MAX_BYTES or len(entries) > MOST_OBJECTS:
                raise ContractError(asked=f"unpack {first}", found=f"{size} bytes in {len(entries)} objects", mend="split the store")
            names = [e.filename for e in entries]
            root = next((n.rpartition("/")[0] + "/" for n in names if n.endswith((".zgroup", "zarr.json")) and n.count("/") == 1), "")
            root = "" if any("/" not in n for n in names) else root
            return first, {e.filename.removeprefix(root): packed.read(e) for e in entries}
    except (zipfile.BadZipFile, zipfile.LargeZipFile, NotImplementedError, RuntimeError, ValueError, EOFError, OSError) as error:
        raise ContractError(asked=f"unpack {first} ({len(data)} bytes)", found=f"no whole zip: {error}", mend=MEND) from error


def steps_there(layout: ArrayLayout, time: str, files: Mapping[str, bytes]) -> tuple[int, int]:
    """The steps whose chunks are among the objects."""
    if time not in layout.dims:
        return 0, 0
    axis = layout.dims.index(time)
    found = [place[axis] for key in files if (place := layout.place(key)) is not None]
    chunk, size = layout.chunks[axis], layout.shape[axis]
    return (min(found) * chunk, min((max(found) + 1) * chunk, size)) if found else (0, 0)


def check_shapes(variables: list[ArrayLayout], axes: list[ArrayLayout], store: str) -> None:
    """Refuse a variable that has another length along an axis than the axis itself.

    Raises:
        ContractError: Naming both.
    """
    lengths = {axis.name: axis.shape for axis in axes}
    for variable in variables:
        for dim, size in zip(variable.dims, variable.shape, strict=True):
            if dim in lengths and lengths[dim] != (size,):
                found = f"{size} values, where the axis has {' x '.join(map(str, lengths[dim]))}"
                raise ContractError(asked=f"'{variable.name}' of {store} along '{dim}'", found=found, mend=MEND)


def _said(layout: ArrayLayout) -> Mapping[str, Any]:
    """The attributes, with the fill value of version 3, which xarray packs, as a number."""
    fill = layout.attributes.get("_FillValue")
    if not isinstance(fill, str):
        return layout.attributes
    try:
        return {**layout.attributes, "_FillValue": struct.unpack("<d", base64.standard_b64decode(fill))[0]}
    except (ValueError, struct.error):
        return layout.attributes


def _axis(layout: ArrayLayout, files: Mapping[str, bytes], store: str) -> NDArray[Any]:
    values, there = read_box(layout, files, {}, store)
    if values.ndim != 1 or not there.all():
        found = f"{layout.shape} values, {int((~there).sum())} of them without an object"
        raise ContractError(asked=f"axis '{layout.name}' of {store}", found=found, mend=MEND)
    return values


def instants(layout: ArrayLayout, files: Mapping[str, bytes], store: str) -> NDArray[np.int64]:
    """Whole seconds of a CF time axis, rounded up.

    Raises:
        ContractError: It is damaged, or no time.
    """
    import xarray as xr

    values = _axis(layout, files, store)
    try:
        with warnings.catch_warnings(action="ignore"):
            decoded = xr.decode_cf(xr.Dataset({"t": ("t", values, dict(_said(layout)))}))["t"].to_numpy()
        nanoseconds = decoded.astype("datetime64[ns]").astype(np.int64) if decoded.dtype.kind == "M" else None
    except Exception as error:  # xarray raises many unrelated classes on odd attributes
        raise ContractError(asked=f"times '{layout.name}' of {store}", found=f"{type(error).__name__}: {error}"[:300], mend=MEND) from error
    if nanoseconds is None:
        found = f"{values.dtype}, units '{layout.attributes.get('units', 'none')}'"
        raise ContractError(asked=f"times '{layout.name}' of {store}", found=found, mend="CF wants units such as 'hours since 1970-01-01'")
    return np.where(np.isnat(decoded), NO_TIME, -(-nanoseconds // 10**9))


def grid_cells(layouts: Mapping[str, ArrayLayout], options: NetcdfOptions, files: Mapping[str, bytes], store: str) -> Cells:
    """The cells that a source takes of a store's regular grid.

    Raises:
        ContractError: Its axes are damaged, or no places on Earth.
    """
    axes = [_axis(layouts[name], files, store) for name in (options.latitude, options.longitude)]
    if any(a.dtype.kind not in "fiu" for a in axes):
        raise ContractError(asked=f"grid of {store}", found=f"axes of {[str(a.dtype) for a in axes]}", mend="only regular grids are read")
    return cells_of(axes[0].astype(np.float64), axes[1].astype(np.float64), options, store)


def node_ids(layouts: Mapping[str, ArrayLayout], options: NetcdfOptions, files: Mapping[str, bytes], store: str) -> tuple[str, ...]:
    """The identities of a store's nodes.

    Raises:
        ContractError: Their array is damaged, or one comes twice.
    """
    if options.layout == "one" or options.node is None:
        return (str(options.node),)
    return node_names(_axis(layouts[options.node], files, store), options.node, store)


def table(
    layout: ArrayLayout, options: NetcdfOptions, steps: tuple[int, int], cells: Cells | None, files: Mapping[str, bytes], store: str
) -> NDArray[np.float64]:
    """(T, P) values of a variable; its dimensions may come in any order, further ones must have length 1.

    Raises:
        ContractError: Its dimensions are others, or an object of it is damaged.
    """
    spaces: dict[str, list[str]] = {"grid": [options.latitude, options.longitude], "nodes": [str(options.node)], "one": []}
    order = [options.time, *spaces[options.layout]]
    sizes = dict(zip(layout.dims, layout.shape, strict=True))
    if [d for d in sizes if d not in order and sizes[d] != 1] or [d for d in order if d not in sizes]:
        raise ContractError(
            asked=f"variable '{layout.name}' of {store} over {order}", found=f"dimensions {sizes}", mend="correct column or layout"
        )

    def read(*where: slice) -> NDArray[np.float64]:
        box = {options.time: steps} | {dim: (part.start, part.stop) for dim, part in zip(order[1:], where, strict=False)}
        raw, there = read_box(layout, files, box, store)
        if raw.dtype.kind not in "fiu":
            raise ContractError(asked=f"variable '{layout.name}' of {store}", found="texts, not numbers", mend="correct column")
        values = physical(raw, _said(layout), f"'{layout.name}' of {store}", layout.fill)
        values[~there] = np.nan
        moved = values.transpose([*(layout.dims.index(d) for d in order), *(i for i, d in enumerate(layout.dims) if d not in order)])
        return moved.reshape(moved.shape[: len(order)])

    values = read() if cells is None else read_cells(cells, read)
    return values.reshape(len(values), math.prod(values.shape[1:]))
