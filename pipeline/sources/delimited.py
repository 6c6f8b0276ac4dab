"""Delimited text to typed columns with nothing guessed: an explicit type per column, and every bad row kept with its reason.

The fast path lets pyarrow convert a whole file. Where it refuses (a wrong number, a bad stamp, NUL, a giant field) the slow
path reads the same file line by line as text and says which rows are bad and why. Both give the same rows.
"""

from __future__ import annotations

import csv
import difflib
import io
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pv
from numpy.typing import NDArray

from pipeline.errors import ContractError
from pipeline.sources.adapter import NO_TIME, RejectedRows

Kind = Literal["number", "text", "stamp", "instant"]
"""`stamp` is wall-clock time without a zone, `instant` carries one; both come as int64 nanoseconds since 1970."""

MAX_BYTES = 2**31
MAX_LINE = 65536
_NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"
_NULLS = ("", "NA", "N/A", "NaN", "nan", "null", "NULL")
_RAW_SHOWN = 500


@dataclass(frozen=True, kw_only=True)
class Dialect:
    """How a text file is written. `columns` names them where the file has no header; `stamp_format` None is ISO 8601."""

    separator: str = ","
    decimal: str = "."
    encoding: str = "utf-8"
    columns: tuple[str, ...] = ()
    stamp_format: str | None = None
    nulls: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, eq=False)
class Columns:
    """Typed columns of the rows taken: numbers float64 (NaN: empty), stamps int64 ns (NO_TIME: empty), text dictionaries.

    `row` is the 1-based data row of each; `text_of` gives the text of data rows.
    """

    columns: dict[str, Any]
    row: NDArray[np.int64]
    rejected: RejectedRows
    raw_rows: int
    text_of: Callable[[NDArray[np.int64]], list[str]]


def unpacked(data: bytes, file: str) -> bytes:
    """The content of a gzip file, or the bytes as they are.

    Raises:
        ContractError: The gzip stream is truncated, damaged or larger than MAX_BYTES, or a `.gz` is no gzip.
    """
    mend = "fetch the file again; a newer delivery of the same name takes its place"
    if data[:2] != b"\x1f\x8b":
        if file.endswith(".gz") or not data:
            raise ContractError(asked=f"read {file}", found=f"{len(data)} bytes that are no gzip" if data else "0 bytes", mend=mend)
        return data
    out: list[bytes] = []
    size, rest = 0, data
    while rest:
        stream = zlib.decompressobj(wbits=31)
        try:
            out.append(stream.decompress(rest, MAX_BYTES - size + 1))
        except zlib.error as error:
            raise ContractError(asked=f"unpack {file} ({len(data)} bytes)", found=f"damaged gzip: {error}", mend=mend) from error
        size += len(out[-1])
        if size > MAX_BYTES:
            raise ContractError(asked=f"unpack {file}", found=f"more than {MAX_BYTES} bytes", mend="split the file")
        if not stream.eof:
            raise ContractError(asked=f"unpack {file} ({len(data)} bytes)", found="a truncated gzip", mend=mend)
        rest = stream.unused_data.lstrip(b"\0")
    return b"".join(out) if len(out) > 1 else out[0]


def header_of(data: bytes, dialect: Dialect, file: str) -> list[str]:
    """The column names of a file.

    Raises:
        ContractError: There is no header line, or one in which a name comes twice.
    """
    if dialect.columns:
        return list(dialect.columns)
    line = data[: data.find(b"\n") if b"\n" in data[:MAX_LINE] else MAX_LINE]
    try:
        names = next(csv.reader([line.decode(dialect.encoding).lstrip("\ufeff").rstrip("\r")], delimiter=dialect.separator), [])
    except (UnicodeDecodeError, csv.Error) as error:
        raise ContractError(
            asked=f"header of {file}", found=str(error), mend=f"is its encoding {dialect.encoding}? set options.encoding"
        ) from error
    twice = sorted({n for n in names if names.count(n) > 1})
    if not names or twice:
        raise ContractError(
            asked=f"header of {file}",
            found=f"column {twice} twice" if twice else "no header line",
            mend="mend the file, or name its columns in options.columns",
        )
    return names


def require_columns(names: list[str], needed: list[str], file: str) -> None:
    """Refuse a file that lacks a column.

    Raises:
        ContractError: Naming the column, those found, and the nearest.
    """
    for name in needed:
        if name not in names:
            close = difflib.get_close_matches(name, names, n=1)
            raise ContractError(
                asked=f"column '{name}' of {file}",
                found=f"columns {', '.join(names[:40])}",
                mend=(f"did the provider rename it to '{close[0]}'? " if close else "")
                + "correct the world file to what the provider sends",
            )


def read_columns(data: bytes, kinds: dict[str, Kind], dialect: Dialect, file: str) -> Columns:
    """The columns of `kinds` of a delimited file; rows that break a rule are rejected, never guessed.

    Raises:
        ContractError: A column is missing, or the file has no readable header.
    """
    names = header_of(data, dialect, file)
    require_columns(names, list(kinds), file)
    if data.startswith(b"\xef\xbb\xbf"):
        data = data[3:]
    lines, longest = _measured(data)
    if b"\0" not in data and longest <= MAX_LINE:
        try:
            found = _fast(data, kinds, dialect, file)
        except pa.ArrowInvalid:
            pass
        else:
            if found.raw_rows == lines - (not dialect.columns):  # an open quote swallows the lines after it
                return found
    return _slow(data, kinds, dialect, file, names)


def _measured(data: bytes) -> tuple[int, int]:
    """How many lines that are not empty a text has, and the length of the longest."""
    text = np.frombuffer(data, np.uint8)
    ends = np.append(np.flatnonzero(text == 10), len(text))
    lengths = np.diff(ends, prepend=-1) - 1
    lengths = lengths - ((lengths > 0) & (text[np.maximum(ends - 1, 0)] == 13) if len(text) else 0)
    return int(np.count_nonzero(lengths)), int(lengths.max(initial=0))


def _parse(data: bytes, types: dict[str, pa.DataType], dialect: Dialect, bad: list[tuple[int, str]]) -> pa.Table:
    def keep(row: Any) -> str:
        bad.append((row.number - (not dialect.columns), f"{row.actual_columns} fields, not {row.expected_columns}"))
        return "skip"

    return pv.read_csv(
        io.BytesIO(data),
        read_options=pv.ReadOptions(use_threads=False, column_names=dialect.columns or None, encoding=dialect.encoding, block_size=1 << 22),
        parse_options=pv.ParseOptions(delimiter=dialect.separator, invalid_row_handler=keep),
        convert_options=pv.ConvertOptions(
            column_types=types,
            include_columns=list(types),
            decimal_point=dialect.decimal,
            null_values=[*_NULLS, *dialect.nulls],
            strings_can_be_null=True,
            timestamp_parsers=[*([dialect.stamp_format] if dialect.stamp_format else []), pv.ISO8601],
        ),
    )


_TYPES: dict[Kind, pa.DataType] = {
    "number": pa.float64(),
    "text": pa.dictionary(pa.int32(), pa.string()),
    "stamp": pa.timestamp("ns"),
    "instant": pa.timestamp("ns", tz="UTC"),
}


def _lines(data: bytes, dialect: Dialect) -> list[bytes]:
    found = [line.removesuffix(b"\r") for line in data.split(b"\n")]
    return [line for line in found if line][0 if dialect.columns else 1 :]


def _text_of(data: bytes, dialect: Dialect) -> Callable[[NDArray[np.int64]], list[str]]:
    def text_of(rows: NDArray[np.int64]) -> list[str]:
        if not len(rows):
            return []
        lines = _lines(data, dialect)
        return [_shown(lines[int(r) - 1]) if 0 < r <= len(lines) else "" for r in rows]

    return text_of


def _shown(line: bytes) -> str:
    text = line.decode("utf-8", errors="backslashreplace").replace("\0", "\\x00")
    return text if len(text) <= _RAW_SHOWN else f"{text[:_RAW_SHOWN]}… ({len(line)} bytes)"


def _columns_of(table: pa.Table, kinds: dict[str, Kind]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, kind in kinds.items():
        column = table[name].combine_chunks() if kind != "text" else table[name].unify_dictionaries().combine_chunks()
        if isinstance(column, pa.ChunkedArray):
            column = column.chunk(0) if column.num_chunks else pa.array([], column.type)
        if kind == "number":
            found[name] = column.fill_null(float("nan")).to_numpy(zero_copy_only=False)
        elif kind == "text":
            found[name] = column
        else:
            found[name] = column.cast(pa.int64()).fill_null(int(NO_TIME)).to_numpy(zero_copy_only=False)
    return found


def _fast(data: bytes, kinds: dict[str, Kind], dialect: Dialect, file: str) -> Columns:
    bad: list[tuple[int, str]] = []
    table = _parse(data, {name: _TYPES[kind] for name, kind in kinds.items()}, dialect, bad)
    raw_rows = table.num_rows + len(bad)
    text_of = _text_of(data, dialect)
    rows = np.setdiff1d(np.arange(1, raw_rows + 1), [n for n, _ in bad], assume_unique=True) if bad else np.arange(1, raw_rows + 1)
    columns = _columns_of(table, kinds)
    for name, kind in kinds.items():
        if kind == "number" and np.isinf(columns[name]).any():
            raise pa.ArrowInvalid(f"column '{name}' holds a value beyond float64")
    return Columns(columns=columns, row=rows, rejected=_rejected(file, bad, text_of), raw_rows=raw_rows, text_of=text_of)


def _rejected(file: str, bad: list[tuple[int, str]], text_of: Callable[[NDArray[np.int64]], list[str]]) -> RejectedRows:
    rows = [n for n, _ in bad]
    raw = tuple(text_of(np.array(rows, np.int64)))
    return RejectedRows(file=(file,) * len(bad), row=tuple(rows), reason=tuple(r for _, r in bad), raw=raw)


def _fault(line: bytes, dialect: Dialect, width: int) -> str | None:
    """The rule that a line breaks before any column is read, if it does."""
    if len(line) > MAX_LINE:
        return f"a line of {len(line)} bytes, more than {MAX_LINE}"
    if b"\0" in line:
        return "a NUL byte"
    try:
        fields = next(csv.reader([line.decode(dialect.encoding)], delimiter=dialect.separator, strict=True))
    except UnicodeDecodeError:
        return f"bytes that are not {dialect.encoding}"
    except csv.Error as error:
        return f"broken quoting: {error}"
    return None if len(fields) == width else f"{len(fields)} fields, not {width}"


def _slow(data: bytes, kinds: dict[str, Kind], dialect: Dialect, file: str, names: list[str]) -> Columns:
    lines = _lines(data, dialect)
    faults = [_fault(line, dialect, len(names)) for line in lines]
    bad = [(i + 1, fault) for i, fault in enumerate(faults) if fault]
    good = np.array([i for i, fault in enumerate(faults) if fault is None], np.int64)
    places = [names.index(name) for name in kinds]
    cells = [[row[p] for p in places] for i in good for row in csv.reader([lines[i].decode(dialect.encoding)], delimiter=dialect.separator)]
    columns: dict[str, Any] = {}
    keep = np.ones(len(good), np.bool_)
    for place, (name, kind) in enumerate(kinds.items()):
        texts = [row[place].strip() if kind != "text" else row[place] for row in cells]
        columns[name], faulty = _convert(texts, kind, dialect)
        for i in np.flatnonzero(faulty & keep):
            bad.append((int(good[i]) + 1, f"column '{name}': '{texts[i][:80]}' is no {kind}"))
        keep &= ~faulty
    text_of = _text_of(data, dialect)
    kept = {name: column.filter(pa.array(keep)) if isinstance(column, pa.Array) else column[keep] for name, column in columns.items()}
    bad.sort()
    return Columns(columns=kept, row=good[keep] + 1, rejected=_rejected(file, bad, text_of), raw_rows=len(lines), text_of=text_of)


def _convert(texts: list[str], kind: Kind, dialect: Dialect) -> tuple[Any, NDArray[np.bool_]]:
    """Texts as a typed column, and where one is of another kind."""
    nulls = {*_NULLS, *dialect.nulls}
    if kind == "text":
        return pa.array([None if t in nulls else t for t in texts], pa.string()).dictionary_encode(), np.zeros(len(texts), np.bool_)
    if kind == "number":
        plain = pa.array([None if t in nulls else t.replace(dialect.decimal, ".") for t in texts], pa.string())
        shaped = pc.match_substring_regex(plain, _NUMBER).fill_null(False)
        values = pc.if_else(shaped, plain, None).cast(pa.float64()).fill_null(float("nan")).to_numpy(zero_copy_only=False)
        return values, ~(shaped.to_numpy(zero_copy_only=False) | ~plain.is_valid().to_numpy(zero_copy_only=False)) | np.isinf(values)
    known = {text: _moment(text, kind, dialect) for text in set(texts) - nulls}
    stamps = [known.get(t) for t in texts]
    faulty = np.array([s is None and t not in nulls for s, t in zip(stamps, texts, strict=True)], np.bool_)
    return np.array([int(NO_TIME) if s is None else s for s in stamps], np.int64), faulty


def _moment(text: str, kind: Kind, dialect: Dialect) -> int | None:
    try:
        moment = datetime.strptime(text, dialect.stamp_format) if dialect.stamp_format else datetime.fromisoformat(text)  # noqa: DTZ007
    except ValueError:
        return None
    if (moment.tzinfo is None) != (kind == "stamp"):
        return None
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    delta = moment - datetime(1970, 1, 1, tzinfo=UTC)
    nanoseconds = (delta.days * 86400 + delta.seconds) * 1_000_000_000 + delta.microseconds * 1000
    return max(min(nanoseconds, 2**62), -(2**62))  # int64 ends in the year 2262
