"""Observations at rest: append-only Parquet by month with row groups by day, a commit record per batch; every read is proved by sha256."""

from __future__ import annotations

import json
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from itertools import groupby
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pipeline.contracts.nodes import NodeSet
from pipeline.contracts.observations import PARSER_VERSIONS, REJECTION_SCHEMA, RowCounts, observation_schema
from pipeline.contracts.provenance import canonical_json, digest_bytes, digest_json
from pipeline.contracts.times import from_seconds
from pipeline.contracts.worlds import Source, World
from pipeline.errors import NotYetAvailable, StoreError
from pipeline.stores.objects import ObjectStore
from pipeline.stores.sealed import SealedLog

DAY = 86400
FORMAT = "observations 1"
GROUP_ROWS = 16384
_WORKERS = 2


@dataclass(frozen=True, kw_only=True)
class StoredFile:
    """A Parquet file of one month, and the days (starts, seconds UTC) in each of its row groups, in order."""

    key: str
    groups: tuple[tuple[int, ...], ...]


@dataclass(frozen=True, kw_only=True)
class Commit:
    """One batch of observations.

    Attributes:
        number: From 1; 0 stands for before the first.
        deliveries: Numbers of the landed deliveries that it took in.
        refused: Numbers of those among them that could not be read and were replaced by a newer delivery.
        nodes: Identities with rows in it, sorted.
        counts: Where its raw rows went.
        rejections: Key of the rows not taken, if there are any.
        places: Key of the node table as it was then, if there is one.
    """

    number: int
    deliveries: tuple[int, ...]
    refused: tuple[int, ...]
    nodes: tuple[str, ...]
    files: tuple[StoredFile, ...]
    counts: RowCounts
    rejections: str | None
    places: str | None

    @property
    def days(self) -> frozenset[int]:
        """Starts (seconds UTC) of the days with rows in it."""
        return frozenset(day for file in self.files for group in file.groups for day in group)


def contract_digest(source: Source) -> str:
    """Identity of how a source's bytes become observations; where they lie and under which licence is no part of it."""
    content = source.model_dump(mode="json", exclude={"locations", "allowed_hosts", "licence", "late_after"})
    return digest_json([FORMAT, PARSER_VERSIONS.get(source.adapter, "0"), content])[:16]


class ObservationStore:
    """The observations of one source of one world under one contract."""

    def __init__(self, objects: ObjectStore, world: World, source: str) -> None:
        self._objects = objects
        self.prefix = f"observations/{world.name}/{source}/{contract_digest(world.sources[source])}"
        self.variables = tuple(world.sources[source].variables)
        declared = world.sources[source]
        self.schema = observation_schema(self.variables, runs=declared.runs is not None, text=declared.text is not None)
        self._log = SealedLog(objects, f"{self.prefix}/commits")

    def commits(self) -> list[Commit]:
        """All batches in order."""
        return [_commit(number, record) for number, record in enumerate(self._log.read(), start=1)]

    def counts(self) -> RowCounts:
        """Where every raw row so far went."""
        return sum((c.counts for c in self.commits()), RowCounts(raw=0, observations=0, duplicates=0, rejected=0))

    def nodes(self) -> NodeSet:
        """The nodes in a stable order, with the places of the newest node table, NaN where it says none.

        A grid: all cells, row by row. Others: those that have reported, by the batch in which each did first, sorted within it,
        so that a new one comes last.
        """
        commits = self.commits()
        table = self.place_table(commits)
        if table is not None and table.shape is not None:
            return table
        seen: dict[str, None] = {}
        for commit in commits:
            seen.update(dict.fromkeys(commit.nodes))
        unknown = np.zeros(0, np.float64)
        return _placed(tuple(seen), table or NodeSet(ids=(), latitude=unknown, longitude=unknown))

    def place_table(self, commits: list[Commit]) -> NodeSet | None:
        """The newest node table that these batches name."""
        keys = [c.places for c in commits if c.places is not None]
        return _places(json.loads(self._proved(keys[-1]))) if keys else None

    def days_since(self, number: int) -> set[int]:
        """Starts (seconds UTC) of the days that batches after `number` touched."""
        return {day for commit in self.commits()[number:] for day in commit.days}

    def read(self, start: int, end: int, columns: Iterable[str] | None = None, *, dictionaries: bool = False) -> pa.Table:
        """Rows with start < valid_time <= end (seconds UTC), sorted by valid_time, node, available_time.

        Args:
            start: Exclusive.
            end: Inclusive.
            columns: Those wanted, in this order; all of the schema by default.
            dictionaries: Leave `node` and `delivery` dictionary-encoded, which is smaller and faster.

        Raises:
            StoreError: A file is gone or damaged.
        """
        wanted = list(columns) if columns is not None else self.schema.names
        needed = list(dict.fromkeys([*wanted, "valid_time", "node", "available_time"]))
        pieces = self._pieces(self.commits(), lambda day: day <= end and day + DAY > start, needed)
        table = _sorted(_within(pieces, start, end)) if pieces else _dictionary_schema(self.schema).empty_table()
        table = table.select(wanted)
        return table if dictionaries else table.cast(pa.schema([self.schema.field(name) for name in wanted]))

    def rows_since(self, number: int, columns: Iterable[str]) -> pa.Table:
        """These columns of all rows of the batches after `number`, in no particular order.

        Raises:
            StoreError: A file is gone or damaged.
        """
        wanted = list(columns)
        pieces = self._pieces(self.commits()[number:], lambda _: True, wanted)
        empty = _dictionary_schema(pa.schema([self.schema.field(name) for name in wanted])).empty_table()
        return pa.concat_tables([empty, *pieces]).cast(pa.schema([self.schema.field(name) for name in wanted]))

    def rejections(self) -> pa.Table:
        """Every row that was not taken, with file, row, reason and text, in order of arrival."""
        tables = [pq.read_table(pa.BufferReader(self._proved(c.rejections))) for c in self.commits() if c.rejections is not None]
        return pa.concat_tables(tables) if tables else REJECTION_SCHEMA.empty_table()

    def stored_versions(self, nodes: set[str], days: set[int]) -> pa.Table | None:
        """Stored rows of these days, if any batch holds one of these nodes on one of them: node, times, values, text."""
        held = [c for c in self.commits() if not days.isdisjoint(c.days) and not nodes.isdisjoint(c.nodes)]
        apart = [name for name in ("init_time", "text") if name in self.schema.names]
        pieces = self._pieces(held, days.__contains__, ["node", "valid_time", "available_time", *apart, *self.variables])
        return pa.concat_tables(pieces).unify_dictionaries() if pieces else None

    def append(
        self,
        table: pa.Table,
        rejected: pa.Table,
        counts: RowCounts,
        *,
        deliveries: Iterable[int],
        refused: Iterable[int] = (),
        places: NodeSet | None = None,
        expected: int,
    ) -> Commit:
        """Write a batch and commit it as number `expected` + 1, where `expected` batches have been read.

        Raises:
            ConflictError: Another writer committed first; nothing shows, repeat.
            StoreError: Storage refused.
        """
        ordered = _sorted(table)
        commit = Commit(
            number=expected + 1,
            deliveries=tuple(deliveries),
            refused=tuple(refused),
            nodes=tuple(sorted(pc.unique(ordered["node"]).cast(pa.string()).to_pylist())),
            files=tuple(self._write(ordered)),
            counts=counts,
            rejections=self._write_rejections(rejected) if rejected.num_rows else None,
            places=None if places is None else self._objects.put_addressed(f"{self.prefix}/places", places_json(places), ".json"),
        )
        record = asdict(commit)
        del record["number"]
        self._log.append(record, expected=expected)
        return commit

    def verify(self) -> int:
        """Prove every stored file by its sha256; returns how many there are.

        Raises:
            StoreError: A file is gone or damaged.
        """
        keys = [file.key for c in self.commits() for file in c.files] + [c.rejections for c in self.commits() if c.rejections]
        for key in keys:
            self._proved(key)
        return len(keys)

    def _pieces(self, commits: list[Commit], wanted: Any, columns: list[str]) -> list[pa.Table]:
        jobs: list[tuple[str, list[int]]] = []
        for commit in commits:
            for file in commit.files:
                groups = [i for i, days in enumerate(file.groups) if any(wanted(day) for day in days)]
                if groups:
                    jobs.append((file.key, groups))
        with ThreadPoolExecutor(_WORKERS) as pool:
            return list(pool.map(lambda job: self._read_groups(job[0], job[1], columns), jobs))

    def _read_groups(self, key: str, groups: list[int], columns: list[str]) -> pa.Table:
        file = pq.ParquetFile(pa.BufferReader(self._proved(key)), page_checksum_verification=True)
        table = file.read_row_groups(groups, columns=columns, use_threads=False)
        at_rest = _dictionary_schema(self.schema)
        return table.select(columns).cast(pa.schema([at_rest.field(name) for name in columns]))  # Parquet keeps no seconds

    def _proved(self, key: str) -> bytes:
        asked = f"read observations {self._objects.url(key)}"
        mend = f"restore it from a backup, or delete {self._objects.url(self.prefix)} and run observe again"
        try:
            data = self._objects.get(key)
        except NotYetAvailable as error:
            raise StoreError(asked=asked, found="it is gone, though a commit names it", mend=mend) from error
        if digest_bytes(data) != key.rsplit("/", 1)[1].split(".")[0]:
            raise StoreError(asked=asked, found="bytes that are not those written (sha256 differs)", mend=mend)
        return data

    def _write(self, ordered: pa.Table) -> list[StoredFile]:
        if not ordered.num_rows:
            return []
        day = _instants(ordered, "valid_time") // DAY * DAY
        begin = np.flatnonzero(np.r_[True, day[1:] != day[:-1]])
        spans = [(int(day[b]), int(b), int(e)) for b, e in zip(begin, np.r_[begin[1:], len(day)], strict=True)]
        months = [(month, list(found)) for month, found in groupby(spans, key=lambda span: f"{from_seconds(span[0]):%Y-%m}")]
        with ThreadPoolExecutor(_WORKERS) as pool:
            return list(pool.map(lambda month: self._write_month(ordered, *month), months))

    def _write_month(self, ordered: pa.Table, month: str, spans: list[tuple[int, int, int]]) -> StoredFile:
        sink = pa.BufferOutputStream()
        with pq.ParquetWriter(sink, ordered.schema, compression="zstd", compression_level=1, write_page_checksum=True) as writer:
            groups = _packed(spans)
            for group in groups:
                begin, end = group[0][1], group[-1][2]
                writer.write_table(ordered.slice(begin, end - begin), row_group_size=end - begin)
        key = self._objects.put_addressed(f"{self.prefix}/data/{month}", sink.getvalue().to_pybytes(), ".parquet")
        return StoredFile(key=key, groups=tuple(tuple(day for day, _, _ in group) for group in groups))

    def _write_rejections(self, rejected: pa.Table) -> str:
        sink = pa.BufferOutputStream()
        pq.write_table(rejected.cast(REJECTION_SCHEMA), sink, compression="zstd", write_page_checksum=True)
        return self._objects.put_addressed(f"{self.prefix}/rejections", sink.getvalue().to_pybytes(), ".parquet")

    @property
    def digest(self) -> str:
        """sha256 over all commit records: the identity of everything observed so far."""
        return digest_bytes(canonical_json(self._log.read()))


def _packed(spans: list[tuple[int, int, int]]) -> list[list[tuple[int, int, int]]]:
    """Days (start, first row, end row) in row groups: one each, or several small ones together."""
    groups: list[list[tuple[int, int, int]]] = []
    for span in spans:
        if groups and span[2] - groups[-1][0][1] <= GROUP_ROWS:
            groups[-1].append(span)
        else:
            groups.append([span])
    return groups


def dictionary_column(codes: NDArray[np.int32], ids: Iterable[str]) -> pa.DictionaryArray:
    """A string column that is stored as codes."""
    return pa.DictionaryArray.from_arrays(pa.array(codes, pa.int32()), pa.array(list(ids), pa.string()))


def _dictionary_schema(schema: pa.Schema) -> pa.Schema:
    coded = pa.dictionary(pa.int32(), pa.string())
    return pa.schema([f.with_type(coded) if pa.types.is_string(f.type) else f for f in schema])


def _instants(table: pa.Table, name: str) -> NDArray[np.int64]:
    found: NDArray[np.int64] = table[name].cast(pa.int64()).to_numpy()
    return found


def _within(pieces: list[pa.Table], start: int, end: int) -> pa.Table:
    table = pa.concat_tables(pieces)
    valid = _instants(table, "valid_time")
    inside = (valid > start) & (valid <= end)
    return table if inside.all() else table.filter(pa.array(inside))


def node_codes(table: pa.Table) -> tuple[NDArray[np.int32], list[str]]:
    """The node column of a table as codes into sorted identities."""
    column = table["node"].unify_dictionaries() if pa.types.is_dictionary(table["node"].type) else table["node"].dictionary_encode()
    combined = column.combine_chunks()
    if isinstance(combined, pa.ChunkedArray):
        combined = combined.chunk(0) if combined.num_chunks else pa.array([], combined.type)
    ids = combined.dictionary.to_pylist()
    order = sorted(range(len(ids)), key=ids.__getitem__)
    rank = np.empty(len(ids), np.int32)
    rank[order] = np.arange(len(ids), dtype=np.int32)
    codes = combined.indices.to_numpy(zero_copy_only=False)
    return (rank[codes] if len(ids) else codes.astype(np.int32)), [ids[i] for i in order]


def _sorted(table: pa.Table) -> pa.Table:
    """The table by valid_time, node, available_time."""
    if table.num_rows < 2:
        return table
    codes, ids = node_codes(table)
    valid = _instants(table, "valid_time")
    key = (valid - valid.min()) * np.int64(max(len(ids), 1)) + codes
    step = np.diff(key)
    if (step > 0).all():
        return table
    order = np.argsort(key, kind="stable")
    if (np.diff(key[order]) == 0).any():
        order = np.lexsort((_instants(table, "available_time"), key))
    return table.take(pa.array(order))


def _commit(number: int, record: dict[str, Any]) -> Commit:
    return Commit(
        number=number,
        deliveries=tuple(record["deliveries"]),
        refused=tuple(record["refused"]),
        nodes=tuple(record["nodes"]),
        files=tuple(StoredFile(key=f["key"], groups=tuple(tuple(int(d) for d in g) for g in f["groups"])) for f in record["files"]),
        counts=RowCounts(**record["counts"]),
        rejections=record["rejections"],
        places=record["places"],
    )


def places_json(places: NodeSet) -> bytes:
    """A node table as canonical JSON; an unknown coordinate is null."""
    known = [[None if np.isnan(v) else float(v) for v in column] for column in (places.latitude, places.longitude)]
    ends = None if places.ends is None else places.ends.tolist()
    return canonical_json({"ids": places.ids, "latitude": known[0], "longitude": known[1], "shape": places.shape, "ends": ends})


def _places(content: dict[str, Any]) -> NodeSet:
    return NodeSet(
        ids=tuple(content["ids"]),
        latitude=np.array(content["latitude"], np.float64),
        longitude=np.array(content["longitude"], np.float64),
        shape=None if content["shape"] is None else (int(content["shape"][0]), int(content["shape"][1])),
        ends=None if content["ends"] is None else np.array(content["ends"], np.float64),
    )


def _placed(ids: tuple[str, ...], table: NodeSet) -> NodeSet:
    """The table's places for `ids`, NaN where it does not list one."""
    where = {identity: i for i, identity in enumerate(table.ids)}
    rows = np.array([where.get(identity, len(table)) for identity in ids], np.int64)
    latitude, longitude = (np.append(column, np.nan)[rows] for column in (table.latitude, table.longitude))
    ends = None if table.ends is None else np.vstack([table.ends, np.full((1, 4), np.nan)])[rows]
    return NodeSet(ids=ids, latitude=latitude, longitude=longitude, ends=ends)
