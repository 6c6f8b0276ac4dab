"""Observations at rest: append-only Parquet by month with row groups by day, a commit record per batch; every read is proved by sha256."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import cached_property, partial
from itertools import groupby
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.contracts.nodes import NodeSet
from pipeline.contracts.observations import PARSER_VERSIONS, REJECTION_SCHEMA, RULES_VERSION, RowCounts, observation_schema
from pipeline.contracts.provenance import canonical_json, digest_bytes, digest_json
from pipeline.contracts.times import from_seconds
from pipeline.contracts.worlds import Source, World
from pipeline.errors import NotYetAvailable, StoreError
from pipeline.stores import observation_tables as tables
from pipeline.stores.kept import Kept
from pipeline.stores.objects import ObjectStore
from pipeline.stores.observation_index import DAY, NOTHING, FileTree, StoredFile, Totals, stored_file, totals_from
from pipeline.stores.sealed import SealedLog

FORMAT = "observations 2"
_WORKERS = 2


@dataclass(frozen=True, kw_only=True)
class Commit:
    """One batch of observations.

    Attributes:
        number: From 1; 0 stands for before the first.
        deliveries: Numbers of the landed deliveries that it took in.
        refused: Numbers of those among them that could not be read and were replaced by a newer delivery.
        counts: Where its raw rows went.
        rejections: Key of the rows not taken, if there are any.
    """

    number: int
    deliveries: tuple[int, ...]
    refused: tuple[int, ...]
    files: tuple[StoredFile, ...]
    counts: RowCounts
    rejections: str | None

    @property
    def days(self) -> frozenset[int]:
        """Starts (seconds UTC) of the days with rows in it."""
        return frozenset(day for file in self.files for group in file.groups for day in group)


def contract_digest(source: Source) -> str:
    """Identity of how a source's bytes become observations; where they lie and under which licence is no part of it."""
    content = source.model_dump(mode="json", exclude={"locations", "allowed_hosts", "licence", "late_after"})
    return digest_json([FORMAT, RULES_VERSION, PARSER_VERSIONS.get(source.adapter, "0"), content])[:16]


class ObservationStore:
    """The observations of one source of one world under one contract.

    Args:
        objects: The store.
        world: The world.
        source: Name of the source.
        at: Look at the state after so many commits instead of the newest.
        kept: Where what was read and proved is kept for a while; by default nowhere.
    """

    def __init__(self, objects: ObjectStore, world: World, source: str, *, at: int | None = None, kept: Kept | None = None) -> None:
        self._objects, self._at, self._kept = objects, at, kept
        self.prefix = f"observations/{world.name}/{source}/{contract_digest(world.sources[source])}"
        declared = world.sources[source]
        self.variables = () if declared.slabs else tuple(declared.variables)
        self.ahead = int(declared.ahead.total_seconds())
        runs, text = declared.runs is not None, declared.text is not None
        self.schema = observation_schema(self.variables, runs=runs, text=text, slabs=declared.slabs)
        self._log = SealedLog(objects, f"{self.prefix}/commits")
        self._tree = FileTree(objects, self.prefix, self._proved, kept)

    def totals(self) -> Totals:
        """Everything observed so far, in figures and keys."""
        if self._at is not None:
            return self._totals_at
        record = self._log.newest()
        return NOTHING if record is None else totals_from(record)

    @cached_property
    def _totals_at(self) -> Totals:
        def made() -> Totals:
            return totals_from(self._log.record((self._at or 0) - 1))

        if not self._at or self._kept is None:
            return made() if self._at else NOTHING
        return self._kept.get((self.prefix, "totals", self._at), made, lambda _: 4096)

    def commits(self, since: int = 0) -> list[Commit]:
        """The batches after number `since`, in order."""
        records = self._log.read(since)[: None if self._at is None else max(self._at - since, 0)]
        return [_commit(number, record) for number, record in enumerate(records, start=since + 1)]

    def counts(self) -> RowCounts:
        """Where every raw row so far went."""
        return self.totals().counts

    def nodes(self) -> NodeSet:
        """The nodes in a stable order, with the places of the newest node table, NaN where it says none.

        A grid: all cells, row by row. Others: those that have reported, by the batch in which each did first, sorted within it,
        so that a new one comes last.
        """
        totals = self.totals()
        table = self.place_table(totals)
        if table is not None and table.shape is not None:
            return table
        unknown = np.zeros(0, np.float64)
        return tables.placed(tuple(self._names(totals.seen)), table or NodeSet(ids=(), latitude=unknown, longitude=unknown))

    def place_table(self, totals: Totals) -> NodeSet | None:
        """The newest node table as of these totals."""
        return None if totals.places is None else tables.places_from(json.loads(self._proved(totals.places)))

    def days_since(self, number: int) -> set[int]:
        """Starts (seconds UTC) of the days that batches after `number` touched."""
        return {day for commit in self.commits(number) for day in commit.days}

    def files(self, first: int, last: int) -> list[StoredFile]:
        """The files that may hold rows of the days from that of instant `first` to that of `last` (seconds UTC)."""
        return self._tree.files(self.totals().years, first, last)

    def first_time(self) -> int | None:
        """The first `valid_time` (seconds UTC) of any row, None where there are none."""
        years = self.totals().years
        files = self._tree.files({year: years[year] for year in sorted(years)[:1]}, 0, 2**36)
        day = min((file.groups[0][0] for file in files), default=None)
        if day is None:
            return None
        rows = self.read(day - 1, day + DAY - 1, ["valid_time"], in_order=False)
        return int(pc.min(rows["valid_time"].cast(pa.int64())).as_py())

    def read(
        self, start: int, end: int, columns: Iterable[str] | None = None, *, dictionaries: bool = False, in_order: bool = True
    ) -> pa.Table:
        """Rows with start < valid_time <= end (seconds UTC), sorted by valid_time, node, available_time.

        Args:
            start: Exclusive.
            end: Inclusive.
            columns: Those wanted, in this order; all of the schema by default.
            dictionaries: Leave `node` and `delivery` dictionary-encoded, which is smaller and faster.
            in_order: Without it the rows come as they lie, which is faster.

        Raises:
            StoreError: A file is gone or damaged.
        """
        wanted = list(columns) if columns is not None else self.schema.names
        needed = list(dict.fromkeys([*wanted, "valid_time", *(["node", "available_time"] if in_order else [])]))
        pieces = self._pieces(self.files(start, end), lambda day: day <= end and day + DAY > start, needed)
        table = tables.within(pieces, start, end) if pieces else tables.dictionary_schema(self.schema).empty_table()
        table = tables.in_order(table) if in_order else table
        table = table.select(wanted)
        return table if dictionaries else table.cast(pa.schema([self.schema.field(name) for name in wanted]))

    def files_since(self, number: int) -> list[StoredFile]:
        """The files of the batches after `number`, in order."""
        return [file for commit in self.commits(number) for file in commit.files]

    def rows_since(self, number: int, columns: Iterable[str]) -> Iterator[pa.Table]:
        """These columns of all rows of the batches after `number`: of one row group after the other, in no particular order.

        Raises:
            StoreError: A file is gone or damaged.
        """
        wanted = list(columns)
        schema = pa.schema([self.schema.field(name) for name in wanted])
        yield schema.empty_table()
        for file in self.files_since(number):
            for group in range(len(file.groups)):
                yield self._read_groups(file.key, [group], wanted).cast(schema)

    def rejections(self) -> pa.Table:
        """Every row that was not taken, with file, row, reason and text, in order of arrival."""
        found = [pq.read_table(pa.BufferReader(self._proved(c.rejections))) for c in self.commits() if c.rejections is not None]
        return pa.concat_tables(found) if found else REJECTION_SCHEMA.empty_table()

    def stored_versions(self, nodes: set[str], days: set[int]) -> pa.Table | None:
        """Stored rows of these days, if any batch holds one of these nodes on one of them: node, times, values, text."""
        if not days:
            return None
        held = [f for f in self.files(min(days), max(days)) if any(not days.isdisjoint(group) for group in f.groups)]
        known = {key: not nodes.isdisjoint(self._names(key)) for key in {f.nodes for f in held}}
        apart = [name for name in ("init_time", "text", "content") if name in self.schema.names]
        columns = ["node", "valid_time", "available_time", "received_time", *apart, *self.variables]
        pieces = self._pieces([f for f in held if known[f.nodes]], days.__contains__, columns)
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
        spans: list[tables.Span] | None = None,
    ) -> Commit:
        """Write a batch and commit it as number `expected` + 1, where `expected` batches have been read.

        `spans` say where each day lies in a table whose rows lie by day, node, valid_time and available_time.

        Raises:
            ConflictError: Another writer committed first; nothing shows, repeat.
            StoreError: Storage refused.
        """
        before = totals_from(self._log.record(expected - 1)) if expected else NOTHING
        names = sorted(pc.unique(table["node"]).cast(pa.string()).to_pylist())
        taken = tuple(deliveries)
        commit = Commit(
            number=expected + 1,
            deliveries=taken,
            refused=tuple(refused),
            files=tuple(self._write(table, self._put_names(names), spans)) if names else (),
            counts=counts,
            rejections=self._write_rejections(rejected) if rejected.num_rows else None,
        )
        content = asdict(commit)
        del content["number"]
        new = sorted(set(names).difference(self._names(before.seen)))
        totals = Totals(
            commits=expected + 1,
            through=max([before.through, *(n + 1 for n in taken)]),
            counts=before.counts + counts,
            seen=self._put_names([*self._names(before.seen), *new]) if new else before.seen,
            places=before.places
            if places is None
            else self._objects.put_addressed(f"{self.prefix}/places", tables.places_json(places), ".json"),
            years=self._tree.extend(before.years, commit.files),
            chain=digest_json([before.chain, content]),
        )
        self._log.append({**content, "totals": asdict(totals)}, expected=expected)
        return commit

    def _put_names(self, names: list[str]) -> str:
        return self._objects.put_addressed(f"{self.prefix}/nodes", canonical_json(names), ".json")

    def _names(self, key: str | None) -> list[str]:
        return [] if key is None else [str(name) for name in json.loads(self._proved(key))]

    def verify(self) -> int:
        """Prove every stored file by its sha256; returns how many there are.

        Raises:
            StoreError: A file is gone or damaged.
        """
        keys = [file.key for c in self.commits() for file in c.files] + [c.rejections for c in self.commits() if c.rejections]
        for key in keys:
            self._proved(key)
        return len(keys)

    def _pieces(self, files: Iterable[StoredFile], wanted: Callable[[int], bool], columns: list[str]) -> list[pa.Table]:
        jobs: list[tuple[str, list[int]]] = []
        for file in files:
            groups = [i for i, days in enumerate(file.groups) if any(wanted(day) for day in days)]
            if groups:
                jobs.append((file.key, groups))
        if self._kept is not None and self._objects.local:  # regions have threads enough
            return [self._read_groups(key, groups, columns) for key, groups in jobs]
        with ThreadPoolExecutor(_WORKERS) as pool:
            return list(pool.map(lambda job: self._read_groups(job[0], job[1], columns), jobs))

    def _read_groups(self, key: str, groups: list[int], columns: list[str]) -> pa.Table:
        if self._kept is None:
            return self._decoded(key, groups, columns)
        one = [partial(self._decoded, key, [group], columns) for group in groups]
        asked = [(key, group, tuple(columns)) for group in groups]
        return pa.concat_tables([self._kept.get(what, make, lambda t: int(t.nbytes)) for what, make in zip(asked, one, strict=True)])

    def _decoded(self, key: str, groups: list[int], columns: list[str]) -> pa.Table:
        data = pa.BufferReader(self._proved(key))
        footer = (
            None
            if self._kept is None
            else self._kept.get((key, "footer"), partial(pq.read_metadata, data), lambda f: int(f.serialized_size))
        )
        file = pq.ParquetFile(data, metadata=footer, page_checksum_verification=True)
        table = file.read_row_groups(groups, columns=columns, use_threads=False)
        at_rest = tables.dictionary_schema(pa.schema([self.schema.field(name) for name in columns]))
        return table.select(columns).cast(at_rest, safe=False)  # Parquet keeps no seconds; whole ones were written

    def _proved(self, key: str) -> bytes:
        return self._read(key) if self._kept is None else self._kept.get(key, partial(self._read, key), len)

    def _read(self, key: str) -> bytes:
        asked = f"read observations {self._objects.url(key)}"
        mend = f"restore it from a backup, or delete {self._objects.url(self.prefix)} and run observe again"
        try:
            data = self._objects.get(key)
        except NotYetAvailable as error:
            raise StoreError(asked=asked, found="it is gone, though a commit names it", mend=mend) from error
        if digest_bytes(data) != key.rsplit("/", 1)[1].split(".")[0]:
            raise StoreError(asked=asked, found="bytes that are not those written (sha256 differs)", mend=mend)
        return data

    def _write(self, table: pa.Table, nodes: str, given: list[tables.Span] | None) -> list[StoredFile]:
        order, spans = tables.by_day(table) if given is None else (None, given)
        months = [list(found) for _, found in groupby(spans, key=lambda span: f"{from_seconds(span[0]):%Y-%m}")]

        def written(spans: list[tables.Span]) -> StoredFile:
            first, end = spans[0][1], spans[-1][2]
            rows = table.slice(first, end - first) if order is None else table.take(pa.array(order[first:end]))
            return self._write_month(rows, nodes, [(day, b - first, e - first) for day, b, e in spans])

        with ThreadPoolExecutor(_WORKERS) as pool:
            return list(pool.map(written, months))

    def _write_month(self, ordered: pa.Table, nodes: str, spans: list[tables.Span]) -> StoredFile:
        sink = pa.BufferOutputStream()
        groups = tables.packed(spans)
        whole = [f.name for f in ordered.schema if pa.types.is_timestamp(f.type) or pa.types.is_int64(f.type)]
        with pq.ParquetWriter(
            sink,
            ordered.schema,
            compression="lz4",
            write_page_checksum=True,
            write_statistics=["valid_time"],
            use_dictionary=[name for name in ordered.schema.names if name not in whole],
            column_encoding=dict.fromkeys(whole, "DELTA_BINARY_PACKED"),
        ) as writer:
            for group in groups:
                begin, end = group[0][1], group[-1][2]
                writer.write_table(ordered.slice(begin, end - begin), row_group_size=end - begin)
        data = sink.getvalue().to_pybytes()
        return StoredFile(
            key=self._objects.put_addressed(f"{self.prefix}/data/{from_seconds(spans[0][0]):%Y-%m}", data, ".parquet"),
            groups=tuple(tuple(day for day, _, _ in group) for group in groups),
            rows=tuple(group[-1][2] - group[0][1] for group in groups),
            bytes=len(data),
            nodes=nodes,
        )

    def _write_rejections(self, rejected: pa.Table) -> str:
        sink = pa.BufferOutputStream()
        pq.write_table(rejected.cast(REJECTION_SCHEMA), sink, compression="zstd", write_page_checksum=True)
        return self._objects.put_addressed(f"{self.prefix}/rejections", sink.getvalue().to_pybytes(), ".parquet")

    @property
    def digest(self) -> str:
        """The identity of everything observed so far: sha256 along the chain of commits."""
        return digest_bytes(self.totals().chain.encode())


def _commit(number: int, record: Mapping[str, Any]) -> Commit:
    return Commit(
        number=number,
        deliveries=tuple(record["deliveries"]),
        refused=tuple(record["refused"]),
        files=tuple(stored_file(file) for file in record["files"]),
        counts=RowCounts(**record["counts"]),
        rejections=record["rejections"],
    )
