"""Delimited text read line by line: slow, and able to say of every bad line which rule it breaks."""

from __future__ import annotations

import csv
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from pipeline.sources.columns import Columns, Dialect, Kind, typed_columns

MAX_LINE = 65536
_RAW_SHOWN = 500
_LEFT_OPEN = "broken quoting: unexpected end of data"


def data_lines(data: bytes, dialect: Dialect) -> list[bytes]:
    """The lines with data: no header, no empty ones."""
    found = [line.removesuffix(b"\r") for line in data.split(b"\n")]
    return [line for line in found if line][0 if dialect.columns else 1 :]


def lines_of(data: bytes, dialect: Dialect) -> Callable[[NDArray[np.int64]], list[str]]:
    """Gives the text of data rows (1-based), cut where it is long."""

    def text_of(rows: NDArray[np.int64]) -> list[str]:
        if not len(rows):
            return []
        lines = data_lines(data, dialect)
        return [shown(lines[int(r) - 1]) if 0 < r <= len(lines) else "" for r in rows]

    return text_of


def shown(line: bytes) -> str:
    """A line as people may read it, cut where it is long."""
    text = line.decode("utf-8", errors="backslashreplace").replace("\0", "\\x00")
    return text if len(text) <= _RAW_SHOWN else f"{text[:_RAW_SHOWN]}… ({len(line)} bytes)"


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


def _faults(lines: list[bytes], dialect: Dialect, width: int) -> list[str | None]:
    """The rule that each line breaks. Between a quote that a line leaves open and one that closes it nothing is a row: it may be a text's."""
    faults, opened = [_fault(line, dialect, width) for line in lines], None
    for i, line in enumerate(lines):
        if not line.count(b'"') % 2:
            continue
        if opened is not None:
            faults[opened + 1 : i + 1] = [f"broken quoting: within a quote that row {opened + 1} opens and row {i + 1} closes"] * (
                i - opened
            )
            opened = None
        elif (faults[i] or "").startswith(_LEFT_OPEN):
            opened = i
    return faults


def read_lines(data: bytes, kinds: dict[str, Kind], dialect: Dialect, file: str, names: list[str]) -> Columns:
    """The columns of `kinds` of a file whose columns are `names`."""
    lines = data_lines(data, dialect)
    faults = _faults(lines, dialect, len(names))
    bad = [(i + 1, fault) for i, fault in enumerate(faults) if fault]
    good = np.array([i for i, fault in enumerate(faults) if fault is None], np.int64)
    places = [names.index(name) for name in kinds]
    cells = [[row[p] for p in places] for i in good for row in csv.reader([lines[i].decode(dialect.encoding)], delimiter=dialect.separator)]
    return typed_columns(cells, kinds, dialect, file, row=good + 1, bad=bad, raw_rows=len(lines), text_of=lines_of(data, dialect))
