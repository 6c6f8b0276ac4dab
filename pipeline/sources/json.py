"""JSON and JSON lines: records with named values, gzip or not.

Numbers are read from their text, so that no digit is lost and `1e999` is seen; NaN and Infinity are no JSON. A value may lie
deeper: `column = "wind.speed"`. A key that a record lacks is a missing value; one that all lack is a missing column.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import model_validator

from pipeline.contracts.worlds import Source
from pipeline.errors import ContractError
from pipeline.sources.adapter import Readings
from pipeline.sources.columns import Dialect, Kind, kind_of_stamp, require_columns, typed_columns
from pipeline.sources.delimited_lines import MAX_LINE, shown
from pipeline.sources.files import FileAdapter, check_locations
from pipeline.sources.options import read_options
from pipeline.sources.row_options import EPOCHS, RowOptions, check_rows
from pipeline.sources.rows import readings_of, row_kinds
from pipeline.sources.unpacking import unpacked

MAX_BYTES = 2**28
_MEND = "fetch the file again; if the provider changed its format, correct the world file"


class JsonOptions(RowOptions):
    """The `options` of a JSON source.

    Attributes:
        lines: One record per line instead of one document.
        records: Where the list of records is: "data.items"; empty: the document is the list.
    """

    lines: bool = False
    records: str = ""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if len(self.given_nodes) != 1:
            raise ValueError("takes exactly one of node, node_column, node_pattern, node_place")
        if self.lines and self.records:
            raise ValueError("lines = true has one record per line, and so no 'records'")
        return self


class JsonAdapter(FileAdapter):
    """JSON documents and JSON lines."""

    example = "*.json"

    def check(self, source: Source) -> None:
        """Refuse options that make no sense.

        Raises:
            ConfigError: Naming the option, its value, what is allowed.
        """
        check_rows(read_options(JsonOptions, source), source)
        check_locations(source, self.example)

    def parse(self, source: Source, parts: Mapping[str, bytes]) -> Readings:
        """The readings in a delivery's bytes.

        Raises:
            ContractError: The file as a whole cannot be read (truncated, no such list, a key missing).
        """
        options = read_options(JsonOptions, source)
        [(file, packed)] = parts.items()
        data = unpacked(packed, file)
        if len(data) > MAX_BYTES:
            raise ContractError(asked=f"read {file}", found=f"{len(data)} bytes, more than {MAX_BYTES}", mend="split the file")
        if options.lines:
            return parse_lines(source, options, file, data)
        records = list(enumerate(record_list(load_json(data, file), options.records, file), start=1))
        return read_records(source, options, file, records)


def parse_lines(source: Source, options: JsonOptions, file: str, data: bytes) -> Readings:
    """The readings of JSON lines.

    Raises:
        ContractError: No record has one of the keys needed.
    """
    return read_records(source, options, file, *_line_records(data))


def load_json(data: bytes, file: str) -> Any:
    """A JSON document; its numbers stay texts.

    Raises:
        ContractError: It is none (truncated, NaN, nested too deep).
    """
    try:
        return json.loads(data, parse_float=str, parse_int=str, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise ContractError(asked=f"read {file} ({len(data)} bytes)", found=f"no whole JSON: {error}", mend=_MEND) from error


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name}, which is no JSON")


def record_list(document: Any, path: str, file: str) -> list[Any]:
    """The list at a dotted path of a document.

    Raises:
        ContractError: There is none.
    """
    found = document
    for key in [k for k in path.split(".") if k]:
        if not isinstance(found, dict) or key not in found:
            keys = ", ".join(list(found)[:20]) if isinstance(found, dict) else type(found).__name__
            raise ContractError(asked=f"key '{key}' of {file} (records = '{path}')", found=f"only {keys}", mend=_MEND)
        found = found[key]
    if not isinstance(found, list):
        raise ContractError(asked=f"a list of records at '{path}' of {file}", found=f"a {type(found).__name__}", mend=_MEND)
    return found


def _line_records(data: bytes) -> tuple[list[tuple[int, Any]], list[tuple[int, str, str]]]:
    records: list[tuple[int, Any]] = []
    bad: list[tuple[int, str, str]] = []
    for number, line in enumerate((line for line in data.split(b"\n") if line.strip()), start=1):
        if len(line) > MAX_LINE:
            bad.append((number, f"a line of {len(line)} bytes, more than {MAX_LINE}", shown(line)))
            continue
        try:
            records.append((number, json.loads(line, parse_float=str, parse_int=str, parse_constant=_refuse_constant)))
        except (ValueError, RecursionError) as error:
            bad.append((number, f"no JSON: {error}", shown(line)))
    return records, bad


def read_records(
    source: Source, options: RowOptions, file: str, records: list[tuple[int, Any]], bad: list[tuple[int, str, str]] | None = None
) -> Readings:
    """The readings in numbered records.

    Args:
        source: Names the variables.
        options: Where the stamp and the node of a record are.
        file: For errors and rejections.
        records: (number, record) pairs; a record that is no object is rejected.
        bad: (number, rule, text) of what was rejected before.

    Raises:
        ContractError: No record has one of the keys needed.
    """
    faults = [(number, reason) for number, reason, _ in bad or []]
    text = {number: raw for number, _, raw in bad or []}
    stamps = row_kinds(options, source, "stamp", "stamp")
    records = _renamed(records, options, list(stamps), file)
    rows, cells = [], []
    for number, record in records:
        values, fault = _cells(record, list(stamps))
        if fault is None:
            rows.append(number)
            cells.append(values)
        else:
            faults.append((number, fault))
    if cells:
        _require_keys(list(stamps), [record for _, record in records], file)
        options.refuse_column_as_node({key for _, record in records if isinstance(record, dict) for key in record}, file)
    time, published = (_stamp_kind(form, cells, place) for form, place in ((options.time_format, 0), (options.published_format, 1)))
    originals = dict(records)

    def text_of(wanted: NDArray[np.int64]) -> list[str]:
        return [text[int(n)] if int(n) in text else shown(json.dumps(originals[int(n)], ensure_ascii=False).encode()) for n in wanted]

    kinds = row_kinds(options, source, time, published)
    dialect = Dialect(stamp_format=options.stamp_format, nulls=options.nulls)
    total = len(rows) + len(faults)
    found = typed_columns(cells, kinds, dialect, file, row=np.array(rows, np.int64), bad=faults, raw_rows=total, text_of=text_of)
    return readings_of(source, options, file, found, time, published)


def _renamed(records: list[tuple[int, Any]], options: RowOptions, needed: list[str], file: str) -> list[tuple[int, Any]]:
    """The records with the contract's names as keys."""
    if not options.strict:
        return records
    keys = list(dict.fromkeys(k for _, record in records if isinstance(record, dict) for k in record))
    names = dict(zip(keys, options.contract_names(keys, {*needed, *(n.partition(".")[0] for n in needed)}, file), strict=True))
    return [(n, {names[k]: v for k, v in record.items()} if isinstance(record, dict) else record) for n, record in records]


def _stamp_kind(form: str, cells: list[list[str]], place: int) -> Kind:
    if form in EPOCHS:
        return "number"
    if form != "iso":
        return "instant" if "%z" in form else "stamp"
    return next((kind_of_stamp(cell[place].strip()) for cell in cells if cell[place : place + 1] and cell[place].strip()), "stamp")


def _value(record: Any, key: str) -> Any:
    if key in record:
        return record[key]
    for word in key.split("."):
        if not isinstance(record, dict):
            return None
        record = record.get(word)
    return record


def _cells(record: Any, keys: list[str]) -> tuple[list[str], str | None]:
    """The values of a record as texts, and the rule that it breaks, if it does."""
    if not isinstance(record, dict):
        return [], f"a {type(record).__name__}, no object"
    cells = []
    for key in keys:
        value = _value(record, key)
        if isinstance(value, dict | list):
            return [], f"key '{key}': a {type(value).__name__}, no value"
        cells.append("" if value is None else str(value).lower() if isinstance(value, bool) else value)
    fault = next(
        (f"key '{k}': a text of {len(c)} bytes, more than {MAX_LINE}" for k, c in zip(keys, cells, strict=True) if len(c) > MAX_LINE), None
    )
    return cells, fault or next((f"key '{k}': a NUL byte" for k, c in zip(keys, cells, strict=True) if "\0" in c), None)


def _require_keys(keys: list[str], records: list[Any], file: str) -> None:
    objects = [r for r in records if isinstance(r, dict)]
    known = dict.fromkeys(k for record in objects for k in record)
    missing = [k for k in keys if not any(k in r or ("." in k and _value(r, k) is not None) for r in objects)]
    require_columns(list(known), missing[:1], file)
