"""Writing a cube: whole chunks only, from any number of workers, visible all at once in one commit."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import ContractError
from pipeline.stores.cube_books import RegionBook, keep_books
from pipeline.stores.cube_format import CODEC, ArrayTemplate, GroupTemplate, check_aligned, revision_arrays, small_arrays, value_arrays
from pipeline.stores.repositories import BRANCH, commit, open_repository, prove_snapshot, storage_errors
from pipeline.stores.time_chunks import TimeChunks
from pipeline.stores.turns import taking_turns


@dataclass(frozen=True, kw_only=True, eq=False)
class RegionWriter:
    """What a worker needs to write regions; may be sent to another process.

    With `isolated` each write leaves the shared session alone and returns one of its own.
    """

    url: str
    templates: Mapping[str, GroupTemplate]
    fork: Any
    isolated: bool

    def write(self, domain: str, start: int, arrays: Mapping[str, NDArray[Any]]) -> Written:
        """Write steps from `start` on of every array of a domain, each (step, node).

        Raises:
            ContractError: The region cuts a chunk, or an array is absent or of another shape; nothing is written then.
            StoreError: The storage refused.
        """
        template = self.templates[domain]
        stop = start + len(next(iter(arrays.values())))
        check_aligned(template, start, stop)
        _check_complete(template, arrays, stop - start)
        layout, size = TimeChunks.of_template(template), template.chunk_steps
        with storage_errors(f"write steps {start}:{stop} of {self.url}/{domain}"):
            fork = copy.deepcopy(self.fork) if self.isolated else self.fork
            slabs = [{name: array[low : low + size] for name, array in arrays.items()} for low in range(0, stop - start, size)]
            proofs = tuple(layout.write(fork.store, start // size + k, slab) for k, slab in enumerate(slabs))
        return Written(proofs=proofs, fork=fork if self.isolated else None)


@dataclass(frozen=True, kw_only=True, eq=False)
class Written:
    """What a worker wrote: a proof for each time chunk; of an isolated one the session to be handed to `merge`."""

    proofs: tuple[bytes, ...]
    fork: Any


class CubeWriter:
    """One build: prepare groups, let workers write regions, keep the books, commit once.

    Args:
        root: The store's root.
        world: Name of the world.
    """

    def __init__(self, root: str, world: str) -> None:
        self.url = f"{root.rstrip('/')}/cubes/{world}"
        with storage_errors(f"open {self.url}"), taking_turns(self.url):
            self._repository = open_repository(self.url, create=True)
            self._session = self._repository.writable_session(BRANCH)
            prove_snapshot(self._repository, self.url, self.base)
            self._fork = self._session.fork()
        self._templates: dict[str, GroupTemplate] = {}

    @property
    def store(self) -> Any:
        """The Zarr store of the session that will be committed; for writers in this process, after `merge`."""
        return self._session.store

    def proved(self, name: str) -> Any:
        """That store, which holds what it reads of a group against its proofs, and keeps proofs of what is put there."""
        import zarr

        from pipeline.stores.proved_store import ProvedStore

        found = ProvedStore(self.store)
        root: Any = zarr.open_group(found, mode="a", zarr_format=3)
        if name in root:
            found.learn(name, root[name].attrs)
        return found

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

    def merge(self, written: Sequence[Written]) -> None:
        """Take in what isolated workers wrote; call once, before `keep_books`."""
        with storage_errors(f"merge into {self.url}"):
            self._session.merge(self._fork, *(w.fork for w in written if w.fork is not None))

    def keep_books(
        self, domain: str, books: Sequence[RegionBook], consumed: Mapping[str, int], heard_N: NDArray[np.int64] | None = None
    ) -> str:
        """Bring coordinates, chunk books and revisions up to the regions written; returns the domain's digest.

        `heard_N` is when these regions first heard of each node (int64 seconds UTC), None where they say nothing of it (grids, runs).
        """
        import zarr

        with storage_errors(f"write the books of {self.url}/{domain}"):
            group: Any = zarr.open_group(self.proved(domain), mode="r+", path=domain)
            return keep_books(group, self._templates[domain], books, heard_N, consumed)

    def commit(self, message: str, provenance: Mapping[str, Any]) -> str:
        """Make everything visible at once; returns the snapshot.

        Raises:
            ConflictError: Another build was committed since this one began.
            StoreError: The storage refused; the old state stands.
        """
        with storage_errors(f"commit to {self.url}"), taking_turns(self.url):
            return commit(self._repository, self._session, self.url, message, provenance)


def _codecs() -> Any:
    from zarr.codecs import BloscCodec, Crc32cCodec

    return [BloscCodec(**CODEC, shuffle="bitshuffle"), Crc32cCodec()]


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
