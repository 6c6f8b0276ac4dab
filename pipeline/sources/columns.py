"""Typed columns, whatever the file they come from: an explicit kind per column, and nothing guessed."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipeline.errors import ContractError
from pipeline.sources.adapter import NO_TIME, RejectedRows

Kind = Literal["number", "text", "stamp", "instant"]
"""`stamp` is wall-clock time without a zone, `instant` carries one; both come as int64 nanoseconds since 1970."""

NULLS = ("", "NA", "N/A", "NaN", "nan", "null", "NULL")
_LOOKED_AT = 2000
_NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"


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


def require_columns(names: list[str], needed: list[str], file: str) -> None:
    """Refuse a file that lacks a column.

    Raises:
        ContractError: Naming the column, those found, and the nearest.
    """
    for name in needed:
        if name not in names:
            close = difflib.get_close_matches(name, names[:_LOOKED_AT], n=1)
            raise ContractError(
                asked=f"column '{name}' of {file}",
                found=f"columns {', '.join(names[:40])}",
                mend=(f"did the provider rename it to '{close[0]}'? " if close else "")
                + "correct the world file to what the provider sends",
            )


def kind_of_stamp(text: str) -> Kind:
    """Whether an ISO 8601 stamp carries a zone."""
    return "instant" if re.search(r"(Z|[+-]\d\d:?\d\d)$", text[10:]) else "stamp"


def rejected_rows(file: str, bad: list[tuple[int, str]], text_of: Callable[[NDArray[np.int64]], list[str]]) -> RejectedRows:
    """Bad rows (1-based row, rule it broke) with their text."""
    rows = [n for n, _ in bad]
    raw = tuple(text_of(np.array(rows, np.int64)))
    return RejectedRows(file=(file,) * len(bad), row=tuple(rows), reason=tuple(r for _, r in bad), raw=raw)


def typed_columns(
    cells: list[list[str]],
    kinds: dict[str, Kind],
    dialect: Dialect,
    file: str,
    *,
    row: NDArray[np.int64],
    bad: list[tuple[int, str]],
    raw_rows: int,
    text_of: Callable[[NDArray[np.int64]], list[str]],
) -> Columns:
    """Typed columns of rows of texts, one text per kind; a row with a text of another kind joins the `bad` ones.

    Args:
        cells: Per row one text per column of `kinds`, in its order.
        kinds: Column name -> kind.
        dialect: How numbers, stamps and missing values are written.
        file: For the rejections.
        row: The 1-based data row of each.
        bad: Rows that broke a rule before.
        raw_rows: How many rows were delivered.
        text_of: The text of data rows.
    """
    columns: dict[str, Any] = {}
    keep = np.ones(len(cells), np.bool_)
    faults = list(bad)
    for place, (name, kind) in enumerate(kinds.items()):
        texts = [cell[place].strip() if kind != "text" else cell[place] for cell in cells]
        columns[name], faulty = _convert(texts, kind, dialect)
        for i in np.flatnonzero(faulty & keep):
            faults.append((int(row[i]), f"column '{name}': '{texts[i][:80]}' is no {kind}"))
        keep &= ~faulty
    kept = {name: column.filter(pa.array(keep)) if isinstance(column, pa.Array) else column[keep] for name, column in columns.items()}
    faults.sort()
    return Columns(columns=kept, row=row[keep], rejected=rejected_rows(file, faults, text_of), raw_rows=raw_rows, text_of=text_of)


def _convert(texts: list[str], kind: Kind, dialect: Dialect) -> tuple[Any, NDArray[np.bool_]]:
    """Texts as a typed column, and where one is of another kind."""
    nulls = {*NULLS, *dialect.nulls}
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
