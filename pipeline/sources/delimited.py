"""Delimited text to typed columns with nothing guessed: an explicit type per column, and every bad row kept with its reason.

The fast path lets pyarrow convert a whole file. Where it refuses (a wrong number, a bad stamp, NUL, a giant field) the slow
path reads the same file line by line as text and says which rows are bad and why. Both give the same rows.
"""

from __future__ import annotations

import csv
from collections import Counter
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pv

from pipeline.errors import ContractError
from pipeline.sources.adapter import NO_TIME
from pipeline.sources.columns import NULLS, Columns, Dialect, Kind, rejected_rows, require_columns
from pipeline.sources.delimited_lines import MAX_LINE, lines_of, read_lines

_BLOCK = 2**17
"""Bytes looked at at once, which the processor has at hand."""


def header_of(data: bytes, dialect: Dialect, file: str) -> list[str]:
    """The column names of a file.

    Raises:
        ContractError: There is no header line, or one in which a name comes twice.
    """
    if dialect.columns:
        return list(dialect.columns)
    end = data.find(b"\n", 0, MAX_LINE)
    try:
        names = list(_fields(data[: MAX_LINE if end < 0 else end], dialect.encoding, dialect.separator))
    except (UnicodeDecodeError, csv.Error) as error:
        raise ContractError(
            asked=f"header of {file}", found=str(error), mend=f"is its encoding {dialect.encoding}? set options.encoding"
        ) from error
    twice = sorted(n for n, count in Counter(names).items() if count > 1)
    if not names or twice:
        raise ContractError(
            asked=f"header of {file}",
            found=f"column {twice} twice" if twice else "no header line",
            mend="mend the file, or name its columns in options.columns",
        )
    return names


@lru_cache(maxsize=64)
def _fields(line: bytes, encoding: str, separator: str) -> tuple[str, ...]:
    """The fields of a header line, which the files of a source have alike."""
    return tuple(next(csv.reader([line.decode(encoding).lstrip("\ufeff").rstrip("\r")], delimiter=separator), []))


def read_columns(data: bytes, kinds: dict[str, Kind], dialect: Dialect, file: str) -> Columns:
    """The columns of `kinds` of a delimited file; rows that break a rule are rejected, never guessed.

    Raises:
        ContractError: A column is missing, or the file has no readable header.
    """
    names = header_of(data, dialect, file)
    require_columns(names, list(kinds), file)
    if data.startswith(b"\xef\xbb\xbf"):
        data = data[3:]
    if _short_lines(data) and b"\0" not in data and _well_quoted(data, dialect.separator):
        try:
            found = _fast(data, kinds, dialect, file)
        except pa.ArrowInvalid:
            pass
        else:
            if _all_lines(data, found.raw_rows + (not dialect.columns)):
                return found
    return read_lines(data, kinds, dialect, file, names)


def _all_lines(data: bytes, rows: int) -> bool:
    """Whether each line is one row: an open quote swallows the lines after it, a carriage return alone ends one for pyarrow.

    Where there is neither, a line that is not empty is one row for pyarrow, or one that it refuses.
    """
    return rows == _lines(data) if b'"' in data or _lone_return(data) else True


def _lone_return(data: bytes) -> bool:
    """Whether a carriage return stands anywhere but before a line feed."""
    if b"\r" not in data:
        return False
    text = np.frombuffer(data, np.uint8)
    for begin in range(0, len(data) - 1, _BLOCK):
        after = text[begin + 1 : begin + 1 + _BLOCK] == 10
        if ((text[begin : begin + len(after)] == 13) > after).any():
            return True
    return data.endswith(b"\r")


def _short_lines(data: bytes) -> bool:
    """Whether no line is longer than MAX_LINE."""
    begin, end = 0, len(data)
    while end - begin > MAX_LINE:
        found = data.rfind(b"\n", begin, begin + MAX_LINE + 1)
        if found < 0:
            return False
        begin = found + 1
    return True


def _lines(data: bytes) -> int:
    """How many lines that are not empty a text has."""
    text = np.frombuffer(data, np.uint8)
    ends = text == 10
    empty = bool((ends[1:] & ends[:-1]).any())
    if b"\r" in data:
        empty = empty or data.endswith(b"\n\r") or bool((ends[2:] & ends[:-2] & (text[1:-1] == 13)).any())
    if empty or data[:1] in (b"\n", b"\r", b""):
        return sum(line not in (b"", b"\r") for line in data.split(b"\n"))
    return int(np.count_nonzero(ends)) + (not data.endswith(b"\n"))


def _stamp_parsers(types: dict[str, pa.DataType], dialect: Dialect) -> list[Any]:
    """The declared pattern alone; with ISO 8601 where a second column of stamps is written so."""
    several = sum(pa.types.is_timestamp(t) for t in types.values()) > 1
    return [*([dialect.stamp_format] if dialect.stamp_format else []), *([pv.ISO8601] if several or not dialect.stamp_format else [])]


def _well_quoted(data: bytes, separator: str) -> bool:
    """Whether every quote opens or closes a field, or is doubled: pyarrow reads `"x"y` as xy."""
    if b'"' not in data:
        return True
    text = np.frombuffer(b"\n" + data + b"\n", np.uint8)
    quotes = np.flatnonzero(text == 34)
    ends = np.frombuffer(b'\r\n"' + separator.encode(), np.uint8)
    return bool((np.isin(text[quotes - 1], ends) | np.isin(text[quotes + 1], ends)).all())


def _parse(data: bytes, types: dict[str, pa.DataType], dialect: Dialect, bad: list[tuple[int, str]]) -> pa.Table:
    def keep(row: Any) -> str:
        bad.append((row.number - (not dialect.columns), f"{row.actual_columns} fields, not {row.expected_columns}"))
        return "skip"

    return pv.read_csv(
        pa.BufferReader(data),
        read_options=pv.ReadOptions(use_threads=False, column_names=dialect.columns or None, encoding=dialect.encoding, block_size=1 << 22),
        parse_options=pv.ParseOptions(delimiter=dialect.separator, invalid_row_handler=keep),
        convert_options=pv.ConvertOptions(
            column_types=types,
            include_columns=list(types),
            decimal_point=dialect.decimal,
            null_values=[*NULLS, *dialect.nulls],
            strings_can_be_null=True,
            timestamp_parsers=_stamp_parsers(types, dialect),
        ),
    )


_TYPES: dict[Kind, pa.DataType] = {
    "number": pa.float64(),
    "text": pa.dictionary(pa.int32(), pa.string()),
    "stamp": pa.timestamp("ns"),
    "instant": pa.timestamp("ns", tz="UTC"),
}


def _columns_of(table: pa.Table, kinds: dict[str, Kind]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, kind in kinds.items():
        column = table[name].unify_dictionaries() if kind == "text" and table[name].num_chunks > 1 else table[name]
        column = column.combine_chunks() if column.num_chunks > 1 else column
        if isinstance(column, pa.ChunkedArray):
            column = column.chunk(0) if column.num_chunks else pa.array([], column.type)
        if kind == "text":
            found[name] = column
        else:
            plain, absent = (column, float("nan")) if kind == "number" else (column.view(pa.int64()), int(NO_TIME))
            found[name] = (plain.fill_null(absent) if plain.null_count else plain).to_numpy(zero_copy_only=False)
    return found


def _fast(data: bytes, kinds: dict[str, Kind], dialect: Dialect, file: str) -> Columns:
    bad: list[tuple[int, str]] = []
    table = _parse(data, {name: _TYPES[kind] for name, kind in kinds.items()}, dialect, bad)
    raw_rows = table.num_rows + len(bad)
    text_of = lines_of(data, dialect)
    rows = np.setdiff1d(np.arange(1, raw_rows + 1), [n for n, _ in bad], assume_unique=True) if bad else np.arange(1, raw_rows + 1)
    columns = _columns_of(table, kinds)
    for name, kind in kinds.items():
        if kind == "number" and np.isinf(columns[name]).any():
            raise pa.ArrowInvalid(f"column '{name}' holds a value beyond float64")
    return Columns(columns=columns, row=rows, rejected=rejected_rows(file, bad, text_of), raw_rows=raw_rows, text_of=text_of)
