"""Answers: tables as JSON, CSV or Parquet bytes, and refusals that say what was asked, what was found and the mend."""

from __future__ import annotations

import difflib
import io
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from pipeline.errors import ConfigError, ContractError, CubecastError, NotYetAvailable

if TYPE_CHECKING:
    import pyarrow as pa

Format = Literal["json", "csv", "parquet"]
MEDIA_TYPES: dict[Format, str] = {
    "json": "application/json",
    "csv": "text/csv; charset=utf-8",
    "parquet": "application/vnd.apache.parquet",
}
MOST_ROWS: dict[Format, int] = {"json": 50_000, "csv": 200_000, "parquet": 2_000_000}
"""Rows of one answer."""

_MOST_COMPARED = 2000


class Refused(Exception):
    """A request that is answered with a status of its own."""

    def __init__(self, status: int, *, asked: str, found: str, mend: str, nearest: Sequence[str] = ()) -> None:
        super().__init__(f"{asked}: {found}")
        self.status = status
        self.body = {"error": "Refused", "asked": asked, "found": found, "mend": mend, "nearest": list(nearest)}


def refusal_of(error: CubecastError) -> Refused:
    """What a client is told of an error of ours."""
    status = (
        404
        if isinstance(error, NotYetAvailable)
        else 422
        if isinstance(error, ConfigError)
        else 500
        if isinstance(error, ContractError)
        else 503
    )
    found = Refused(status, asked=error.asked, found=error.found, mend=error.mend)
    found.body["error"] = type(error).__name__
    return found


def unknown(what: str, asked: str, known: Sequence[str], mend: str) -> Refused:
    """Refuse a name that there is not, with the nearest ones that there are."""
    close = nearest(asked, known)
    hint = f"did you mean '{close[0]}'? " if close else ""
    return Refused(404, asked=f"{what} '{asked[:200]}'", found=f"no such {what}; there are {len(known):,}", mend=hint + mend, nearest=close)


def nearest(asked: str, known: Sequence[str]) -> list[str]:
    """The names most like the one that was asked for, at most three."""
    some = known if len(known) <= _MOST_COMPARED else [name for name in known if name[:3] == asked[:3]][:_MOST_COMPARED]
    return difflib.get_close_matches(asked[:200], some, n=3, cutoff=0.4)


def json_bytes(content: Any) -> bytes:
    """Compact JSON."""
    return json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


def _check_rows(rows: int, form: Format) -> None:
    if rows > MOST_ROWS[form]:
        raise Refused(
            413,
            asked=f"{rows:,} rows as {form}",
            found=f"more than {MOST_ROWS[form]:,} in one answer",
            mend="name a node or a variable, ask for parquet, or read the published files",
        )


def records_bytes(head: Mapping[str, Any], records: Sequence[Mapping[str, Any]], form: Format) -> bytes:
    """Records in a format; in a table what is nested becomes columns such as `skill_ridge` and `pit_0`.

    Raises:
        Refused: There are more than one answer may have (413).
    """
    import pyarrow as pa

    _check_rows(len(records), form)
    if form == "json":
        return json_bytes({**head, "rows": list(records)})
    flat = flattened(records) or [{"domain": None}]
    return table_bytes(head, pa.table({name: pa.array([row[name] for row in flat]) for name in flat[0]})[: len(records)], form)


def flattened(records: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Records of the same plain columns each: what is nested becomes columns such as `skill_ridge` and `pit_0`; None where there is none."""
    rows = [{key: value for name, inner in record.items() for key, value in _columns(name, inner)} for record in records]
    names = dict.fromkeys(key for row in rows for key in row)
    return [{name: row.get(name) for name in names} for row in rows]


def _columns(name: str, value: Any) -> list[tuple[str, Any]]:
    if isinstance(value, Mapping):
        nested = list(value.items())
    elif isinstance(value, list | tuple):
        nested = list(enumerate(value))
    else:
        return [(name, value)]
    return [column for key, inner in nested for column in _columns(f"{name}_{key}", inner)]


def table_bytes(head: Mapping[str, Any], table: pa.Table, form: Format) -> bytes:
    """A table in a format; JSON has the head beside the rows.

    Raises:
        Refused: It has more rows than one answer may have (413).
    """
    _check_rows(table.num_rows, form)
    if form == "json":
        return json_bytes({**head, "rows": _rows(table)})
    sink = io.BytesIO()
    if form == "csv":
        import pyarrow.csv

        pyarrow.csv.write_csv(_texts(table), sink, pyarrow.csv.WriteOptions(quoting_style="needed", quoting_header="none"))
    else:
        import pyarrow.parquet

        pyarrow.parquet.write_table(table, sink, compression="zstd")
    return sink.getvalue()


def _rows(table: pa.Table) -> list[dict[str, Any]]:
    columns = [_plain(table.column(name)) for name in table.column_names]
    return [dict(zip(table.column_names, row, strict=True)) for row in zip(*columns, strict=True)]


def _plain(column: pa.ChunkedArray) -> list[Any]:
    """Values as JSON has them: instants as text, float32 with the digits it has, no number as null."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_timestamp(column.type):
        return pc.strftime(column, format="%Y-%m-%dT%H:%M:%SZ").to_pylist()  # type: ignore[no-any-return]
    values: list[Any] = column.to_pylist()
    if pa.types.is_floating(column.type):
        return [None if x is None or x != x or x - x != 0 else float(f"{x:.8g}") for x in values]
    return values


def _texts(table: pa.Table) -> pa.Table:
    """Instants as ISO 8601 texts, as CSV has them."""
    import pyarrow as pa
    import pyarrow.compute as pc

    for at, field in enumerate(table.schema):
        if pa.types.is_timestamp(field.type):
            table = table.set_column(at, field.name, pc.strftime(table.column(at), format="%Y-%m-%dT%H:%M:%SZ"))
    return table
