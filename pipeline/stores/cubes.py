"""The cube of a world: one Icechunk repository, read as of an instant, written in whole chunks, committed at once."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.contracts.cubes import DomainCube, TextCube
from pipeline.contracts.nodes import NodeSet
from pipeline.contracts.times import to_seconds
from pipeline.cube.differences import DomainBook
from pipeline.cube.groups import FUTURE
from pipeline.errors import ContractError, CubecastError, NotYetAvailable, StoreError
from pipeline.stores.cube_books import read_nodes
from pipeline.stores.cube_check import check_domains, damaged
from pipeline.stores.cube_format import PROOFS, TEXTS, DomainCheck
from pipeline.stores.cube_texts import TextState, read_documents, text_state
from pipeline.stores.repositories import BRANCH, open_repository, prove_snapshot, storage_errors
from pipeline.stores.repository_check import check_repository, damaged_metadata
from pipeline.telemetry import Progress


@dataclass(frozen=True, kw_only=True)
class DomainState:
    """What one domain's group holds, without its values.

    Attributes:
        axis: Digest of the labels of its steps.
        consumed: Per source the number of observation commits that it was built from.
        recipe: The settings under which it was built.
        missing: Per variable the share of cells without a good value.
    """

    steps: int
    nodes: int
    start: int
    end: int
    axis: str
    chunk_steps: int
    chunk_nodes: int
    consumed: dict[str, int]
    recipe: str
    digest: str
    revisions: int
    missing: dict[str, float]


@dataclass(frozen=True, kw_only=True)
class CubeState:
    """What the newest snapshot holds."""

    snapshot: str
    domains: dict[str, DomainState]


class CubeStore:
    """The cube of one world. A reader keeps the snapshot that was the newest when it first read.

    Args:
        root: The store's root, a local folder or `s3://bucket/prefix`.
        world: Name of the world.
        at: Identity of a snapshot to read instead of the newest.
    """

    def __init__(self, root: str, world: str, *, at: str | None = None) -> None:
        self.root, self.world, self._at = root.rstrip("/"), world, at
        self.url = f"{self.root}/cubes/{world}"

    def open(self, as_of: datetime, domain: str, *, start: int | None = None, until: int | None = None) -> DomainCube:
        """One domain as it was known at `as_of`: the only way to read values.

        Steps, nodes, values and flags that became available later are not there; a cell revised later shows what it
        held then.

        Args:
            as_of: The cut-off.
            domain: Name of the domain.
            start: Leave out the steps before this instant (seconds UTC).
            until: Leave out those after this one.

        Raises:
            NotYetAvailable: The cube or the domain was never built.
            StoreError: The storage is out of reach, or a checksum does not match.
        """
        from pipeline.stores.cube_reader import read_domain

        with self._reading(f"{self.url}/{domain}"):
            return read_domain(self._group(domain), domain, to_seconds(as_of), start, self.snapshot, until)

    def open_runs(self, as_of: datetime, domain: str, *, start: int | None = None) -> DomainCube:
        """What others had forecast for a domain by `as_of`: its axis are the starts of runs, its nodes steps after them at places.

        Otherwise as `open`; a domain for which nothing was ever built raises `NotYetAvailable`.
        """
        return self.open(as_of, domain + FUTURE, start=start)

    def open_texts(self, as_of: datetime, stream: str, *, since: int | None = None) -> TextCube:
        """The documents of a stream that were known at `as_of`; with `since` (seconds UTC) only what became known after it.

        Raises:
            NotYetAvailable: The cube or the stream was never built.
            StoreError: The storage is out of reach, or a checksum does not match.
        """
        with self._reading(f"{self.url}/{TEXTS}{stream}"):
            return read_documents(self._group(TEXTS + stream), stream, to_seconds(as_of), since, self.snapshot)

    def texts(self) -> dict[str, TextState]:
        """What each stream of documents holds.

        Raises:
            NotYetAvailable: The cube was never built.
        """
        with self._reading(self.url):
            return {name.removeprefix(TEXTS): text_state(group) for name, group in sorted(self._root.items()) if name.startswith(TEXTS)}

    def state(self) -> CubeState:
        """Sizes, digests and missing shares of the newest snapshot.

        Raises:
            NotYetAvailable: The cube was never built.
        """
        with self._reading(self.url):
            return CubeState(snapshot=self.snapshot, domains={name: _state(self._root[name]) for name in self.domains()})

    def history(self) -> list[dict[str, Any]]:
        """Snapshots, newest first: id, written_time, message and provenance.

        Raises:
            NotYetAvailable: The cube was never built.
        """
        with self._reading(self.url):
            return [
                {"snapshot": s.id, "written_time": s.written_at, "message": s.message, "provenance": dict(s.metadata)}
                for s in self._repository.ancestry(branch=BRANCH)
                if s.parent_id is not None
            ]

    def nodes(self, domain: str) -> NodeSet:
        """All nodes a domain has ever had, in their order.

        Raises:
            NotYetAvailable: The domain was never built.
        """
        with self._reading(f"{self.url}/{domain}"):
            return read_nodes(self._group(domain))

    def heard_times(self, domain: str) -> NDArray[np.int64]:
        """When each of those nodes was first heard of, int64 seconds UTC.

        Raises:
            NotYetAvailable: The domain was never built.
        """
        with self._reading(f"{self.url}/{domain}"):
            return np.asarray(self._group(domain)["node_known_time"][:], np.int64)

    def domains(self) -> list[str]:
        """Names of the domains that were built.

        Raises:
            NotYetAvailable: The cube was never built.
        """
        with self._reading(self.url):
            return sorted(name for name in self._root if not name.startswith(TEXTS))

    def book(self, domain: str) -> DomainBook:
        """What one domain holds, without its values: coordinates, digests, revisions, attributes.

        Raises:
            NotYetAvailable: The domain was never built.
        """
        from pipeline.stores.cube_reader import read_book

        with self._reading(f"{self.url}/{domain}"):
            return read_book(self._group(domain))

    def bytes_at_rest(self) -> int:
        """Bytes of the chunks of all snapshots together."""
        with self._reading(self.url):
            return int(self._repository.chunk_storage_stats().non_virtual_bytes())

    def verify(self, progress: Progress) -> dict[str, DomainCheck]:
        """Read everything that the snapshots hold, and hold it against checksums, digests and seals.

        Raises:
            NotYetAvailable: The cube was never built.
            StoreError: Something is damaged or absent; every place is named.
        """
        with self._reading(self.url):
            _ = self._session
        found, faults = self.check(progress)
        if faults:
            raise damaged(self.url, faults)
        return found

    def check(self, progress: Progress) -> tuple[dict[str, DomainCheck], list[str]]:
        """What the newest snapshot holds, and one line for each place in any snapshot that is damaged or absent."""
        whole = check_repository(self.url, progress, newest=False)
        try:
            with self._reading(self.url):
                found, faults = check_domains(self._session, self._root, progress)
        except StoreError as error:
            return {}, [*whole.faults, error.found]
        return found, [*faults, *whole.faults]

    @contextlib.contextmanager
    def _reading(self, place: str) -> Iterator[None]:
        mend = f"mend access to it; where it is damaged, restore it from a backup, or delete {self.url} and run build-cube: it is made anew"
        try:
            with storage_errors(f"read {place}", mend):
                yield
        except StoreError as error:
            try:
                damaged = damaged_metadata(self.url, self._at)
            except CubecastError:
                raise error from None
            asked = error.asked if self.url in error.asked else f"{error.asked} of {self.url}"
            found = f"{error.found}; damaged: {'; '.join(damaged)}" if damaged else error.found
            raise StoreError(asked=asked, found=found, mend=error.mend) from error

    @property
    def snapshot(self) -> str:
        """Identity of the immutable state that this reader sees."""
        return str(self._session.snapshot_id)

    @cached_property
    def _snapshot(self) -> str:
        return str(self._repository.lookup_branch(BRANCH)) if self._at is None else self._at

    @cached_property
    def _repository(self) -> Any:
        repository = open_repository(self.url, create=False)
        if repository is None:
            raise NotYetAvailable(asked=f"cube {self.url}", found="nothing there", mend="run build-cube first")
        return repository

    @cached_property
    def _session(self) -> Any:
        prove_snapshot(self._repository, self.url, self._snapshot)
        return self._repository.readonly_session(snapshot_id=self._snapshot)

    @cached_property
    def _root(self) -> dict[str, Any]:
        import zarr
        from zarr.errors import GroupNotFoundError

        from pipeline.stores.proved_store import ProvedStore

        store = ProvedStore(self._session.store)
        try:
            found = dict(zarr.open_group(store, mode="r").groups())
        except GroupNotFoundError:
            self._repository.lookup_snapshot(self.snapshot)  # Zarr takes a lost snapshot for an empty one
            return {}
        for name, group in found.items():
            store.learn(name, group.attrs)
        return found

    def _group(self, domain: str) -> Any:
        if domain not in self._root:
            found = ", ".join(sorted(self._root)) or "nothing yet"
            raise NotYetAvailable(asked=f"domain {domain} of cube {self.url}", found=found, mend="run build-cube first")
        if PROOFS not in self._root[domain].attrs:
            raise ContractError(
                asked=f"read {domain} of cube {self.url}",
                found="a layout of an earlier version, without proofs of what is stored",
                mend="run build-cube: it makes it anew from the observations",
            )
        return self._root[domain]


def _state(group: Any) -> DomainState:
    book = group.attrs["cubecast"]
    cells = book["steps"] * book["nodes"]
    return DomainState(
        steps=book["steps"],
        nodes=book["nodes"],
        start=book["first"],
        end=book["last"],
        axis=book["axis"],
        chunk_steps=book["chunk_steps"],
        chunk_nodes=book["chunk_nodes"],
        consumed=dict(book["consumed"]),
        recipe=book["recipe"],
        digest=book["digest"],
        revisions=book["revisions"],
        missing={name: (cells - present) / cells for name, present in zip(book["variables"], book["present"], strict=True)},
    )
