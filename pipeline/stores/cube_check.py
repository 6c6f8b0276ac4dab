"""Verification of a cube at rest: every chunk present, readable and what was written. K counts time chunks."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.contracts.cubes import NEVER, Revisions
from pipeline.contracts.times import format_instant, from_seconds
from pipeline.cube.digests import ChunkDigest, revisions_digest
from pipeline.errors import StoreError
from pipeline.stores.cube_books import read_nodes, read_revisions
from pipeline.stores.cube_format import BIG, MEND, REVISION_TYPES, TEXTS, DomainCheck, aggregate_of, axis_digest, axis_of, content_digest
from pipeline.stores.cube_texts import TextCheck
from pipeline.stores.time_chunks import TimeChunks, proof_of
from pipeline.stores.together import get_together
from pipeline.telemetry import Progress, Stage

_SHOWN = 20
_SUFFIXES = tuple(BIG)
_SMALL = ("node_id", "latitude", "longitude", "node_known_time")
_BOOKS = tuple(
    f"chunks/{name}" for name in ("known_time", "digest", "proof", "nodes", "present", "revision_start", "revision_stop", "revision_digest")
)


def check_domains(session: Any, groups: Mapping[str, Any], progress: Progress) -> tuple[dict[str, DomainCheck], list[str]]:
    """Check every domain of a snapshot; what each holds, and one line for each damaged place."""
    try:
        checks: dict[str, _DomainCheck | TextCheck] = {
            name: TextCheck(group, name) if name.startswith(TEXTS) else _DomainCheck(session, group, name)
            for name, group in sorted(groups.items())
        }
    except (KeyError, TypeError) as error:
        return {}, [f"the attributes of a domain: {type(error).__name__}: {error}"]
    total = sum(check.size for check in checks.values())
    found: dict[str, DomainCheck] = {}
    with progress.stage("verify", total, "chunk") as stage:
        for name, check in checks.items():
            found[name] = check.run(stage)
    return found, [fault for check in checks.values() for fault in check.faults]


STORE_MEND = "restore what is named from a backup, as docs/runbooks/restore-from-backup.md says"


def damaged(url: str, faults: Sequence[str], *, what: str = "cube", mend: str = MEND) -> StoreError:
    """What a verification raises that found these faults."""
    more = f"; and {len(faults) - _SHOWN} more" if len(faults) > _SHOWN else ""
    return StoreError(
        asked=f"verify {what} {url}",
        found=f"{len(faults)} damaged: {'; '.join(faults[:_SHOWN])}{more}",
        mend=mend,
    )


class _DomainCheck:
    """The check of one domain; `faults` fills with what is wrong, each with its place."""

    def __init__(self, session: Any, group: Any, domain: str) -> None:
        self.session, self.group, self.domain = session, group, domain
        self.faults: list[str] = []
        self.book = dict(group.attrs["cubecast"])
        self.digest = str(self.book["digest"])
        self.layout = TimeChunks.of_book(domain, self.book)
        self.variables, self.chunk_steps = list(self.book["variables"]), int(self.book["chunk_steps"])
        self.axis = str(axis_of(group).basename)
        self.small = [self.axis, *_SMALL, *(name for name in ("ends", "links") if name in group), *_BOOKS]
        self.chunks = -(-group[self.axis].shape[0] // self.chunk_steps)
        self.size = self.chunks * len(self.variables) * len(_SUFFIXES)
        self._bytes = self._chunks = 0

    def run(self, stage: Stage) -> DomainCheck:
        """Check presence, then the books, then every time chunk."""
        values = [name + suffix for name in self.variables for suffix in _SUFFIXES]
        small = {path: self._read(path) for path in self.small}
        for path in self.small:
            self._present(path, None)
        for path in values:
            self._present(path, small["chunks/nodes"])
        self._check_books(small)
        earliest = np.full(self.group["latitude"].shape[0], np.iinfo(np.int64).max)
        for k in range(self.chunks):
            self._check_chunk(k, small, earliest)
            stage.advance(len(self.variables) * len(_SUFFIXES), f"{self.domain}, {len(self.faults)} damaged")
        heard = small["node_known_time"]
        if heard is not None and (heard > earliest).any():
            self.faults.append(f"{self.domain}/node_known_time: later than a value of the node")
        arrays = len(values) + len(self.small) + len(REVISION_TYPES)
        return DomainCheck(arrays=arrays, chunks=self._chunks, bytes=self._bytes, digest=self.digest)

    def _present(self, path: str, nodes: NDArray[Any] | None) -> None:
        """Every chunk of an array is in the snapshot's index; one that is not would read as empty cells.

        A time chunk has chunks for the `nodes` that there were when it was written, where that is said.
        """
        try:
            array = self.group[path]
            wanted = set(itertools.product(*(range(-(-n // c)) for n, c in zip(array.shape, array.chunks, strict=True))))
            stored = asyncio.run(_coordinates(self.session, f"/{self.domain}/{path}"))
        except Exception as error:  # whatever a damaged object makes a library raise is the finding
            self._fault(path, error)
            return
        if nodes is not None and array.ndim == 2 and len(nodes) == self.chunks:
            wanted = {(k, n) for k, n in wanted if n * array.chunks[1] < nodes[k]}
        self._chunks += len(wanted & stored)
        self.faults += [f"{self.domain}/{path}: chunk {'.'.join(map(str, c))} is absent" for c in sorted(wanted - stored)]

    def _read(self, path: str, start: int = 0, stop: int | None = None) -> NDArray[Any] | None:
        try:
            array: NDArray[Any] = self.group[path][start:stop]
        except Exception as error:  # as above
            place = path if stop is None else f"{path}, steps {start}:{stop} (time chunk {start // self.chunk_steps})"
            self._fault(place, error)
            return None
        self._bytes += array.nbytes
        return array

    def _fault(self, place: str, error: Exception) -> None:
        self.faults.append(f"{self.domain}/{place}: {type(error).__name__}: {' '.join(str(error).split())[:200]}")

    def _check_books(self, small: Mapping[str, NDArray[Any] | None]) -> None:
        """The content digest, and the totals."""
        axis, digests, revisions, present = (small[n] for n in (self.axis, "chunks/digest", "chunks/revision_digest", "chunks/present"))
        if axis is None or digests is None or revisions is None or present is None or any(a is None for a in small.values()):
            return  # the place is named already
        words = [[name, str(self.group[name].attrs.get("units")), aggregate_of(self.group[name].attrs)] for name in self.variables]
        found = content_digest(self.domain, self.chunk_steps, words, read_nodes(self.group), axis_digest(axis), digests, revisions)
        if found != self.digest:
            self.faults.append(f"{self.domain}: the digest over coordinates, chunk digests and revisions differs from the one written")
        if present.sum(axis=0).tolist() != self.book["present"]:
            self.faults.append(f"{self.domain}/chunks/present: differs from the totals")

    def _check_chunk(self, k: int, small: Mapping[str, NDArray[Any] | None], earliest: NDArray[np.int64]) -> None:
        """One time chunk of every array, and its revisions, against their digests and their entry in the books."""
        start, stop = k * self.chunk_steps, min((k + 1) * self.chunk_steps, self.group[self.axis].shape[0])
        digest, present, latest, axis, whole = ChunkDigest(), [], 0, small[self.axis], True
        for name in self.variables:
            parts = [self._read(name + suffix, start, stop) for suffix in _SUFFIXES]
            for part in parts:
                whole = whole and part is not None
                if part is not None:
                    digest.add(part.reshape(len(part), -1))
            values, latency = parts[0], parts[2]
            if values is None or latency is None or axis is None:
                continue
            present.append(int(np.count_nonzero(~np.isnan(values))))
            flat = latency.reshape(len(latency), -1).astype(np.int64)
            known = np.where(flat == NEVER, 0, axis[start:stop, None] + flat)
            latest = max(latest, int(known.max(initial=0)))
            np.minimum(earliest, np.where(known == 0, np.iinfo(np.int64).max, known).min(axis=0), out=earliest)
        span = f"time chunk {k}" if axis is None else f"time chunk {k} ({_span(axis, start, stop)})"
        expected: dict[str, NDArray[Any] | None] = {"revision_digest": self._revisions(k, small, span)}
        if whole and (nodes := small["chunks/nodes"]) is not None:
            expected["proof"] = self._proof(k, int(nodes[k]))
        if whole and axis is not None:
            expected |= {"digest": np.frombuffer(digest.bytes, np.uint8), "present": np.array(present), "known_time": np.array(latest)}
        for name, value in expected.items():
            stored = small[f"chunks/{name}"]
            if stored is not None and value is not None and not np.array_equal(stored[k], value):
                self.faults.append(f"{self.domain}, {span}: its content differs from chunks/{name}")

    def _proof(self, k: int, nodes: int) -> NDArray[np.uint8] | None:
        """The proof of a time chunk as it is stored, None where a chunk of it is absent, which is told already."""
        keys, found = self.layout.keys(k, nodes), list[NDArray[np.uint8] | None]()
        get_together(self.group.store_path.store, [keys], lambda _, stored: found.extend(stored))
        held = [part for part in found if part is not None]
        return np.frombuffer(proof_of(held), np.uint8) if len(held) == len(keys) else None

    def _revisions(self, k: int, small: Mapping[str, NDArray[Any] | None], span: str) -> NDArray[np.uint8] | None:
        """The digest of a time chunk's revisions as they are read."""
        starts, stops = small["chunks/revision_start"], small["chunks/revision_stop"]
        if starts is None or stops is None:
            return None
        try:
            columns = read_revisions(self.group, starts[k : k + 1], stops[k : k + 1])
        except Exception as error:  # as above
            self._fault(f"revisions, {span}", error)
            return None
        self._bytes += sum(column.nbytes for column in columns.values())
        return np.frombuffer(revisions_digest(Revisions(**columns)), np.uint8)


def _span(axis: NDArray[np.int64], start: int, stop: int) -> str:
    return f"{format_instant(from_seconds(axis[start]))} .. {format_instant(from_seconds(axis[stop - 1]))}"


async def _coordinates(session: Any, path: str) -> set[tuple[int, ...]]:
    return {tuple(int(n) for n in place) async for place in session.chunk_coordinates(path)}
