"""Writing a cube: whole chunks only, from any number of workers, visible all at once in one commit."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.contracts.cubes import Revisions
from pipeline.errors import ConflictError, ContractError
from pipeline.stores.cube_format import (
    REVISION_TYPES,
    ArrayTemplate,
    GroupTemplate,
    check_aligned,
    content_digest,
    revision_arrays,
    small_arrays,
    value_arrays,
)
from pipeline.stores.cubes import BRANCH, open_repository, storage_errors

_LOCK_SECONDS = 600


@dataclass(frozen=True, kw_only=True, eq=False)
class RegionBook:
    """What the bookkeeping keeps of one written time chunk.

    Attributes:
        digest: sha256 of its values, flags and latencies.
        missing: (variable,) cells without a good value.
        known_time: Latest availability of any cell.
        node_known_time: (node,) earliest availability of any row.
        revisions: Superseded versions, steps counted on the domain's axis, sorted by step.
    """

    chunk: int
    digest: bytes
    missing: NDArray[np.int64]
    known_time: int
    node_known_time: NDArray[np.int64]
    revisions: Revisions


@dataclass(frozen=True, kw_only=True, eq=False)
class RegionWriter:
    """What a worker needs to write regions; may be sent to another process.

    With `isolated` each write leaves the shared session alone and returns what it wrote, to be handed to `merge`.
    """

    url: str
    templates: Mapping[str, GroupTemplate]
    fork: Any
    isolated: bool

    def write(self, domain: str, start: int, arrays: Mapping[str, NDArray[Any]]) -> Any:
        """Write steps from `start` on of every array of a domain, each (step, node).

        Raises:
            ContractError: The region cuts a chunk, or an array is absent or of another shape; nothing is written then.
            StoreError: The storage refused.
        """
        import zarr

        template = self.templates[domain]
        stop = start + len(next(iter(arrays.values())))
        check_aligned(template, start, stop)
        _check_complete(template, arrays, stop - start)
        with storage_errors(f"write steps {start}:{stop} of {self.url}/{domain}"):
            fork = copy.deepcopy(self.fork) if self.isolated else self.fork
            group: Any = zarr.open_group(fork.store, mode="r+", path=domain)
            for name, values in arrays.items():
                # Without this a chunk that equals the fill value is not stored, and its presence cannot be proved.
                array = group[name].with_config({"write_empty_chunks": True})
                array[start:stop] = values.reshape(stop - start, *template.space)
        return fork if self.isolated else None


class CubeWriter:
    """One build: prepare groups, let workers write regions, keep the books, commit once.

    Args:
        root: The store's root.
        world: Name of the world.
    """

    def __init__(self, root: str, world: str) -> None:
        self.url, self._local = f"{root.rstrip('/')}/cubes/{world}", "://" not in root
        with storage_errors(f"open {self.url}"), self._lock():
            self._session = open_repository(self.url, create=True).writable_session(BRANCH)
            self._fork = self._session.fork()
        self._templates: dict[str, GroupTemplate] = {}

    @property
    def store(self) -> Any:
        """The Zarr store of the session that will be committed; for writers in this process, after `merge`."""
        return self._session.store

    @property
    def base(self) -> str:
        """The snapshot that this build starts from."""
        return str(self._session.snapshot_id)

    def prepare(self, template: GroupTemplate, *, fresh: bool) -> None:
        """Make a domain's group fit a template: created anew, or its axis extended."""
        import zarr

        with storage_errors(f"prepare {self.url}/{template.domain}"):
            root: Any = zarr.open_group(self._fork.store, mode="a", zarr_format=3)
            root.attrs["Conventions"] = "CF-1.11"
            if fresh:
                group: Any = root.create_group(template.domain, overwrite=True)
                for array in (*value_arrays(template), *small_arrays(template), *revision_arrays(0)):
                    create_array(group, array)
            else:
                for array in (*value_arrays(template), *small_arrays(template)):
                    if root[template.domain][array.path].shape != array.shape:
                        root[template.domain][array.path].resize(array.shape)
        self._templates[template.domain] = template

    def regions(self, *, isolated: bool) -> RegionWriter:
        """The writer for workers; `isolated` where they are other processes."""
        return RegionWriter(url=self.url, templates=dict(self._templates), fork=self._fork, isolated=isolated)

    def merge(self, written: Sequence[Any]) -> None:
        """Take in what isolated workers wrote; call once, before `keep_books`."""
        with storage_errors(f"merge into {self.url}"):
            self._session.merge(self._fork, *(w for w in written if w is not None))

    def keep_books(self, domain: str, books: Sequence[RegionBook], consumed: Mapping[str, int]) -> str:
        """Bring coordinates, chunk books and revisions up to the regions written; returns the domain's digest."""
        import zarr

        template = self._templates[domain]
        with storage_errors(f"write the books of {self.url}/{domain}"):
            group: Any = zarr.open_group(self._session.store, mode="r+", path=domain)
            _coordinates(group, template, books)
            columns, starts = _merged_revisions(group, template, books)
            digest = content_digest(
                template.domain,
                template.chunk_steps,
                [[v.name, v.units, v.aggregate] for v in template.variables],
                template.nodes,
                template.axis_T,
                group["chunks/digest"][:],
                columns,
            )
            group.attrs.update(
                {
                    "title": template.title,
                    "cubecast": {
                        "recipe": template.recipe,
                        "chunk_steps": template.chunk_steps,
                        "grid_shape": template.nodes.shape,
                        "variables": [v.name for v in template.variables],
                        "consumed": dict(sorted(consumed.items())),
                        "digest": digest,
                    },
                }
            )
            write_array(group["chunks/revision_start"], starts)
        return digest

    def commit(self, message: str, provenance: Mapping[str, Any]) -> str:
        """Make everything visible at once; returns the snapshot.

        Raises:
            ConflictError: Another build was committed since this one began.
            StoreError: The storage refused; the old state stands.
        """
        with storage_errors(f"commit to {self.url}"), self._lock():
            return str(self._session.commit(message, metadata=dict(provenance)))

    @contextlib.contextmanager
    def _lock(self) -> Iterator[None]:
        """Local folders have no compare-and-swap: commits take turns."""
        if not self._local:
            yield
            return
        import filelock

        Path(self.url).parent.mkdir(parents=True, exist_ok=True)
        try:
            with filelock.FileLock(f"{self.url}.lock", timeout=_LOCK_SECONDS):
                yield
        except filelock.Timeout as error:
            raise ConflictError(
                asked=f"commit to {self.url}", found=f"locked for {_LOCK_SECONDS} s by another build", mend="run it again later"
            ) from error


def _codecs() -> Any:
    from zarr.codecs import BloscCodec, Crc32cCodec

    return [BloscCodec(cname="lz4", clevel=5, shuffle="bitshuffle"), Crc32cCodec()]


def create_array(group: Any, array: ArrayTemplate) -> None:
    """An array without values, with checksums."""
    from zarr.codecs import Crc32cCodec, ZstdCodec

    group.create_array(
        array.path,
        shape=array.shape,
        chunks=array.chunks,
        dtype=array.dtype,
        fill_value=array.fill,
        compressors=[ZstdCodec(level=3), Crc32cCodec()] if array.dtype == "string" else _codecs(),
        dimension_names=array.dims,
        attributes=array.attributes,
    )


def write_array(array: Any, values: NDArray[Any]) -> None:
    """Fill an array, every chunk of it."""
    if len(values):
        array.with_config({"write_empty_chunks": True})[:] = values


def _coordinates(group: Any, template: GroupTemplate, books: Sequence[RegionBook]) -> None:
    nodes = template.nodes
    before = group["node_known_time"][:] if group.attrs.get("cubecast") else np.full(len(nodes), np.iinfo(np.int64).max)
    heard = np.minimum.reduce([before, *(b.node_known_time for b in books)])
    # The cells of a grid are known before they say anything.
    write_array(group["node_known_time"], heard if nodes.shape is None else np.zeros(len(nodes), np.int64))
    write_array(group[template.axis_name], template.axis_T)
    write_array(group["node_id"], np.array(nodes.ids, dtype=object))
    write_array(group["latitude"], nodes.latitude)
    write_array(group["longitude"], nodes.longitude)
    if nodes.ends is not None:
        write_array(group["ends"], nodes.ends)
    for name in ("known_time", "missing"):
        values = group[f"chunks/{name}"][:]
        for book in books:
            values[book.chunk] = getattr(book, name)
        write_array(group[f"chunks/{name}"], values)
    digests = group["chunks/digest"][:]
    for book in books:
        digests[book.chunk] = np.frombuffer(book.digest, np.uint8)
    write_array(group["chunks/digest"], digests)


def _check_complete(template: GroupTemplate, arrays: Mapping[str, NDArray[Any]], steps: int) -> None:
    wanted = {a.path: a.dtype for a in value_arrays(template)}
    shape = (steps, len(template.nodes))
    wrong = [k for k, v in arrays.items() if k in wanted and (v.shape != shape or v.dtype != wanted[k])]
    if set(arrays) != set(wanted) or wrong:
        raise ContractError(
            asked=f"write {steps} steps of {template.domain}",
            found=f"arrays {sorted(set(arrays) ^ set(wanted))} absent or unknown; {wrong} not {shape} or of another type",
            mend=f"hand over exactly {', '.join(wanted)}, each (step, node)",
        )


def _merged_revisions(
    group: Any, template: GroupTemplate, books: Sequence[RegionBook]
) -> tuple[dict[str, NDArray[Any]], NDArray[np.int64]]:
    """Rewrite the revisions from the first touched chunk on; returns all of them and where each chunk's begin."""
    touched = np.array([b.chunk for b in books], np.int64)
    old = {name: group[f"revisions/{name}"][:] for name in REVISION_TYPES}
    keep = ~np.isin(old["step"] // template.chunk_steps, touched)
    merged = {
        name: np.concatenate([old[name][keep], *(getattr(b.revisions, name) for b in books)]).astype(dtype)
        for name, dtype in REVISION_TYPES.items()
    }
    order = np.lexsort((merged["available_time"], merged["variable"], merged["node"], merged["step"]))
    merged = {name: column[order] for name, column in merged.items()}
    edges = np.arange(template.chunks + 1) * template.chunk_steps
    starts = np.searchsorted(merged["step"], edges, side="left").astype(np.int64)
    same = int(starts[touched.min()]) if len(touched) else len(order)
    for name, column in merged.items():
        array = group[f"revisions/{name}"]
        array.resize(column.shape)
        if len(column) > same:
            array[same:] = column[same:]
    return merged, starts
