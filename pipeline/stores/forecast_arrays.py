"""All forecasts of a world as one Zarr v3 group per domain in one Icechunk repository: a row per issue time, appended.

Rows stand in the order in which they were published. A re-issue replaces its row; the snapshots before it keep the old one.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from pipeline.contracts.forecasts import DomainForecast, Forecast
from pipeline.contracts.nodes import NodeSet
from pipeline.contracts.provenance import canonical_json
from pipeline.contracts.times import compact_instant, format_instant, from_seconds
from pipeline.errors import NotYetAvailable
from pipeline.stores.forecast_format import DomainForm, Line, fixed_lines, probability_name, row_lines
from pipeline.stores.repositories import BRANCH, commit, keep_tag, open_repository, storage_errors
from pipeline.stores.turns import taking_turns

if TYPE_CHECKING:
    import xarray as xr


@dataclass(frozen=True, kw_only=True, eq=False)
class Rows:
    """What is put: one forecast with the form and the places of each of its domains."""

    forecast: Forecast
    revision: int
    digest: str
    forms: Mapping[str, DomainForm]
    places: Mapping[str, NodeSet]


class ForecastArrays:
    """The published arrays of one world; every commit holds whole forecasts only."""

    def __init__(self, root: str, world: str) -> None:
        self.url, self._world = f"{root.rstrip('/')}/forecasts/{world}/published/zarr", world

    def put(self, rows: Rows) -> tuple[str, bool]:
        """Append the row of an issue time to every domain, or renew it where it is another revision or damaged.

        Returns:
            The snapshot that holds it, and whether it was made now.

        Raises:
            ConflictError: Another writer holds the lock, or committed first.
            StoreError: The storage refused, or the repository itself is damaged.
        """
        with self._touching(f"write {self.url}"), taking_turns(self.url):
            repository = open_repository(self.url, create=True)
            session = repository.writable_session(BRANCH)
            root = _root(session, "a")
            wanted = [name for name in rows.forecast.domains if not _is_whole(root, name, rows)]
            left = [name for name, group in root.groups() if name not in rows.forecast.domains and _is_stale(group, rows)]
            if not wanted and not left:
                return str(session.snapshot_id), False
            stamp = compact_instant(from_seconds(rows.forecast.issue_time))
            for name in wanted:
                fresh = name not in root or not rows.forms[name].fits(root[name].attrs["cubecast"])
                if fresh and name in root:
                    _keep(repository, self.url, f"{name}-before-{stamp}", str(session.snapshot_id))
                _put_domain(root, name, rows, fresh=fresh)
            for name in left:
                _fill(root[name], rows, None)
            instant = format_instant(from_seconds(rows.forecast.issue_time))
            facts = {"issue_time": instant, "revision": rows.revision, "forecast": rows.digest, "domains": wanted}
            return commit(repository, session, self.url, f"forecast of {instant}, revision {rows.revision}", facts), True

    def open(self, domain: str, snapshot: str | None = None, *, decode: bool = True) -> xr.Dataset:
        """One domain's forecasts over all issue times, read when asked for; by default in the newest snapshot.

        Without `decode` instants stay seconds since 1970.

        Raises:
            NotYetAvailable: Nothing of that domain was published.
            StoreError: The repository is damaged or out of reach.
        """
        import xarray as xr

        with self._touching(f"read {self.url}/{domain}"):
            repository = open_repository(self.url, create=False)
            if repository is None:
                raise NotYetAvailable(
                    asked=f"published forecasts of world {self._world}", found="none yet", mend=f"cubecast run --world {self._world}"
                )
            session = repository.readonly_session(BRANCH) if snapshot is None else repository.readonly_session(snapshot_id=snapshot)
            known = sorted(name for name, _ in _root(session, "r").groups())
            if domain not in known:
                raise NotYetAvailable(
                    asked=f"published forecasts of domain {domain}", found=f"domains {', '.join(known)}", mend="ask for one of these"
                )
            dataset: xr.Dataset = xr.open_zarr(session.store, group=domain, consolidated=False, chunks=None, decode_times=decode)
            return dataset

    def faults(self, rows: Rows) -> list[str]:
        """The domains whose row of this forecast is absent or damaged.

        Raises:
            StoreError: The repository itself is damaged or out of reach.
        """
        with self._touching(f"read {self.url}"):
            repository = open_repository(self.url, create=False)
            if repository is None:
                return list(rows.forecast.domains)
            root = _root(repository.readonly_session(BRANCH), "r")
            return [name for name in rows.forecast.domains if not _is_whole(root, name, rows)]

    def history(self) -> list[dict[str, Any]]:
        """The commits, newest first: snapshot, issue_time, revision, forecast, domains."""
        with self._touching(f"read {self.url}"):
            repository = open_repository(self.url, create=False)
            found = [] if repository is None else repository.ancestry(branch=BRANCH)
            return [{"snapshot": s.id, **dict(s.metadata)} for s in found if s.parent_id is not None]

    def _touching(self, asked: str) -> contextlib.AbstractContextManager[None]:
        mend = (
            f"mend access to it; where it is damaged, restore it from a backup, or move {self.url} away and run "
            f"cubecast forecasts rebuild --world {self._world}: it is made anew from what was issued"
        )
        return storage_errors(asked, mend)


def _root(session: Any, mode: Literal["r", "a"]) -> Any:
    import zarr

    root: Any = zarr.open_group(session.store, mode=mode, zarr_format=3)
    return root


def _row(group: Any, issue_time: int) -> int | None:
    """The row of an issue time."""
    at = np.flatnonzero(group["issue_time"][:] == issue_time)
    return int(at[0]) if at.size else None


def _is_whole(root: Any, domain: str, rows: Rows) -> bool:
    """Whether the newest snapshot holds exactly this row, as read from its chunks."""
    import icechunk

    if domain not in root or not rows.forms[domain].fits(root[domain].attrs["cubecast"]):
        return False
    group, d = root[domain], rows.forecast.domains[domain]
    row = _row(group, rows.forecast.issue_time)
    if row is None or str(group["forecast"][row]) != rows.digest:
        return False
    at = _columns(group, d)
    held = {name: d.quantiles_LNVQ[:, :, v] for v, name in enumerate(d.variables)}
    held |= {probability_name(name): d.events[name] for name in rows.forms[domain].events}
    try:
        return all(name in group and group[name][row][:, at].tobytes() == values.tobytes() for name, values in held.items())
    except (icechunk.IcechunkError, ValueError, RuntimeError, OSError):
        return False  # a checksum or a chunk is wrong: the row is written anew


def _columns(group: Any, d: DomainForecast) -> NDArray[np.int64]:
    at = {str(node): i for i, node in enumerate(group["node"][:])}
    return np.array([at.get(node, -1) for node in d.node_ids])


def _is_stale(group: Any, rows: Rows) -> bool:
    """Whether a domain that is no more forecast still shows an earlier revision of this issue time."""
    row = _row(group, rows.forecast.issue_time)
    return row is not None and str(group["forecast"][row]) != rows.digest


def _keep(repository: Any, url: str, name: str, snapshot: str) -> None:
    """Name the state before a group begins anew, so that it stays readable."""
    if name not in repository.list_tags():
        keep_tag(repository, url, name, snapshot)


def _put_domain(root: Any, domain: str, rows: Rows, *, fresh: bool) -> None:
    form, d, places = rows.forms[domain], rows.forecast.domains[domain], rows.places[domain]
    group = root.create_group(domain, overwrite=True) if fresh else root[domain]
    before = {} if fresh else group.attrs["cubecast"]
    if fresh:
        for line in (*fixed_lines(form, d, places), *row_lines(form, len(d.node_ids))):
            _create(group, line)
    else:
        _widen(group, form, d, places)
    group.attrs.update(form.attributes(rows.forecast.world, places, before))
    if _row(group, rows.forecast.issue_time) is None:
        count = int(group["issue_time"].shape[0])
        for _, array in group.arrays():
            if array.metadata.dimension_names[0] == "issue_time":
                array.resize((count + 1, *array.shape[1:]))
        group["issue_time"][count] = rows.forecast.issue_time
    _fill(group, rows, d)


def _fill(group: Any, rows: Rows, d: DomainForecast | None) -> None:
    """Write the row of the issue time; what the forecast does not hold is NaN, also where a revision before it did."""
    row = _row(group, rows.forecast.issue_time)
    for name in group.attrs["cubecast"]["units"]:
        v = d.variables.index(name) if d is not None and name in d.variables else None
        values = np.full(group[name].shape[1:], np.nan, np.float32)
        if d is not None and v is not None:
            values[:, _columns(group, d)] = d.quantiles_LNVQ[:, :, v]
        group[name][row] = values
        group[f"{name}_model"][row] = "" if d is None or v is None else d.model_V[v]
    for event in group.attrs["cubecast"].get("events", {}):
        array = group[probability_name(event)]
        chances = np.full(array.shape[1:], np.nan, np.float32)
        if d is not None and event in d.events:
            chances[:, _columns(group, d)] = d.events[event]
        array[row] = chances
    if d is not None:
        group["valid_time"][row] = d.valid_time_L
        group["forecast_period"][row] = d.lead_time_L
    told = {k: v for k, v in rows.forecast.provenance.items() if k != "explanation"}
    group["provenance"][row] = canonical_json(told).decode()
    group["revision"][row] = rows.revision
    group["forecast"][row] = rows.digest


def _widen(group: Any, form: DomainForm, d: DomainForecast, places: NodeSet) -> None:
    """Room for nodes and variables that the group has not had: those before them hold NaN there."""
    known = {str(node) for node in group["node"][:]}
    new = [i for i, node in enumerate(d.node_ids) if node not in known]
    if new:
        size = len(known) + len(new)
        place = {node: i for i, node in enumerate(places.ids)}
        at = [place[d.node_ids[i]] for i in new]
        for _, array in group.arrays():
            if "node" in array.metadata.dimension_names:
                array.resize(
                    tuple(size if dim == "node" else n for dim, n in zip(array.metadata.dimension_names, array.shape, strict=True))
                )
        group["node"][len(known) :] = np.array([d.node_ids[i] for i in new], dtype=object)
        group["latitude"][len(known) :] = places.latitude[at]
        group["longitude"][len(known) :] = places.longitude[at]
    count, nodes = group["issue_time"].shape[0], group["node"].shape[0]
    for line in row_lines(form, nodes):
        if line.path not in group:
            _create(group, line)
            group[line.path].resize((count, *group[line.path].shape[1:]))


def _create(group: Any, line: Line) -> None:
    from zarr.codecs import BloscCodec, Crc32cCodec, ZstdCodec

    floats = line.dtype.startswith("float") or line.dtype.startswith("int")
    packed = BloscCodec(cname="lz4", clevel=5, shuffle="bitshuffle") if floats else ZstdCodec(level=3)
    group.create_array(
        line.path,
        shape=line.shape,
        chunks=line.chunks,
        dtype=line.dtype,
        fill_value=line.fill,
        compressors=[packed, Crc32cCodec()],
        dimension_names=line.dims,
        attributes=line.attributes,
    )
    if line.values is not None:
        group[line.path][:] = line.values
