"""What changed between two states of one domain's cube: steps, nodes, chunks, revisions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.contracts.cubes import Revisions
from pipeline.contracts.nodes import NodeSet


@dataclass(frozen=True, kw_only=True, eq=False)
class DomainBook:
    """One domain of one snapshot without its values.

    Attributes:
        valid_time: (step,) int64 seconds UTC.
        nodes: All nodes, in their order.
        recipe: Digest of the settings under which it was built.
        chunk_digests: (chunk, 32) uint8, sha256 of each time chunk's values, flags and latencies.
        revisions: Every superseded version.
        attributes: The stored attributes of each array.
    """

    title: str
    valid_time: NDArray[np.int64]
    nodes: NodeSet
    variables: tuple[str, ...]
    chunk_steps: int
    recipe: str
    chunk_digests: NDArray[np.uint8]
    revisions: Revisions
    attributes: Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, kw_only=True)
class Change:
    """What a newer book of a domain has that an older one has not, and the other way round.

    Attributes:
        steps_added: Labels (seconds UTC) that only the newer axis has; `steps_gone` those that only the older has.
        chunks_added: Time chunks that the older has not, as indices of the newer.
        chunks_changed: Time chunks of both with other content; all of them where the layout differs.
        chunks_gone: Count of the older's time chunks beyond the newer's.
        revisions_added: Count of superseded versions that only the newer has.
        rebuilt: The settings, the layout or the variables differ.
    """

    steps_added: tuple[int, ...]
    steps_gone: tuple[int, ...]
    nodes_added: tuple[str, ...]
    nodes_gone: tuple[str, ...]
    variables_added: tuple[str, ...]
    variables_gone: tuple[str, ...]
    chunks_added: tuple[int, ...]
    chunks_changed: tuple[int, ...]
    chunks_gone: int
    revisions_added: int
    revisions_gone: int
    rebuilt: bool

    @property
    def is_none(self) -> bool:
        """Whether nothing differs."""
        return not any(getattr(self, name) for name in self.__dataclass_fields__)


def differences(old: DomainBook, new: DomainBook) -> Change:
    """What changed from one book of a domain to another."""
    shared = min(len(old.chunk_digests), len(new.chunk_digests))
    same = (old.chunk_digests[:shared] == new.chunk_digests[:shared]).all(axis=1)
    moved = (old.chunk_steps, old.variables, old.nodes.ids) != (new.chunk_steps, new.variables, new.nodes.ids)
    before, after = _records(old), _records(new)
    return Change(
        steps_added=_only(new.valid_time, old.valid_time),
        steps_gone=_only(old.valid_time, new.valid_time),
        nodes_added=_missing(new.nodes.ids, old.nodes.ids),
        nodes_gone=_missing(old.nodes.ids, new.nodes.ids),
        variables_added=_missing(new.variables, old.variables),
        variables_gone=_missing(old.variables, new.variables),
        chunks_added=tuple(range(shared, len(new.chunk_digests))),
        chunks_changed=tuple(range(shared)) if moved else tuple(np.flatnonzero(~same).tolist()),
        chunks_gone=len(old.chunk_digests) - shared,
        revisions_added=len(after - before),
        revisions_gone=len(before - after),
        rebuilt=old.recipe != new.recipe or old.chunk_steps != new.chunk_steps or old.variables != new.variables,
    )


def chunk_span(book: DomainBook, chunk: int) -> tuple[int, int]:
    """First and last label of a time chunk (seconds UTC)."""
    steps = book.valid_time[chunk * book.chunk_steps : (chunk + 1) * book.chunk_steps]
    return int(steps[0]), int(steps[-1])


def _only(these: NDArray[np.int64], those: NDArray[np.int64]) -> tuple[int, ...]:
    return tuple(np.setdiff1d(these, those).tolist())


def _missing(these: tuple[str, ...], those: tuple[str, ...]) -> tuple[str, ...]:
    known = set(those)
    return tuple(name for name in these if name not in known)


def _records(book: DomainBook) -> set[tuple[Any, ...]]:
    """Every superseded version by what it says, whatever the order of steps and nodes."""
    r = book.revisions
    ids, names = np.array(book.nodes.ids, dtype=object), np.array(book.variables, dtype=object)
    columns = (
        book.valid_time[r.step],
        ids[r.node],
        names[r.variable],
        r.value.view(np.uint32),  # NaN equals itself this way
        r.flag,
        r.available_time,
        r.superseded_time,
    )
    return set(zip(*(column.tolist() for column in columns), strict=True))
