"""The messages of a GRIB file as arrays, and how they come from the process that decodes: eccodes ends its process on some damaged files."""

from __future__ import annotations

import io
import json
import resource
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.util import find_spec
from types import ModuleType
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from pipeline.contracts.times import to_seconds
from pipeline.errors import ConfigError, ContractError
from pipeline.sources.adapter import NO_TIME
from pipeline.sources.grids import MAX_CELLS, Cells, GridOptions, cells_of

MEND = "fetch the file again; a newer delivery of the same name takes its place"
MOST_MEMORY = 8 * 2**30
_ABSENT = 9.999e20


def check_installed() -> None:
    """Refuse where the library is not installed, without loading it: it belongs into the process that decodes.

    Its wheels bring PROJ and LDAP libraries whose names clash with those of other wheels (pyproj, psycopg2): a process that holds
    both ends with memory freed twice.

    Raises:
        ConfigError: The extra that brings it is not installed.
    """
    if find_spec("eccodes") is None:
        raise _not_there("no such module")


def eccodes_module() -> ModuleType:
    """The library; loaded by processes that decode only.

    Raises:
        ConfigError: The extra that brings it is not installed.
    """
    try:
        import eccodes
    except (ImportError, RuntimeError) as error:
        raise _not_there(error) from error
    module: ModuleType = eccodes
    return module


def _not_there(why: object) -> ConfigError:
    return ConfigError(asked="adapter 'grib'", found=f"eccodes is not there: {why}", mend="install the extra: pip install 'cubecast[grib]'")


def _pieces(data: bytes, file: str) -> Iterator[tuple[int, bytes]]:
    """The messages of a file, each with its number; what lies between them is skipped."""
    start, number = data.find(b"GRIB"), 0
    if start < 0:
        raise ContractError(asked=f"read {file} ({len(data)} bytes)", found="no GRIB message", mend=MEND)
    while start >= 0:
        number += 1
        head = data[start : start + 16]
        edition = head[7] if len(head) == 16 else 0
        length = int.from_bytes(head[8:16], "big") if edition == 2 else int.from_bytes(head[4:7], "big")
        if edition == 1 and length & 0x800000:  # GRIB 1 beyond 8 MiB counts in units of 120 bytes
            length = (length & 0x7FFFFF) * 120
        end = start + length
        where = f"message {number} of {file} at byte {start}"
        if edition not in (1, 2) or length < 16 or end > len(data) or data[end - 4 : end] != b"7777":
            found = f"edition {edition}, {length} bytes declared, {len(data) - start} there, or no end mark"
            raise ContractError(asked=where, found=found, mend=MEND)
        yield number, data[start:end]
        start = data.find(b"GRIB", end)


@dataclass(frozen=True, kw_only=True, eq=False)
class Message:
    """One message, its bytes; `names` are the columns that mean it, the least detailed first; `published` NO_TIME for an analysis."""

    handle: int
    piece: bytes
    where: str
    names: tuple[str, ...]
    unit: str
    valid: int
    published: int

    def values(self, cells: Cells) -> NDArray[np.float64]:
        """The values of the cells taken; NaN where the message has none."""
        return self.all_values(int(cells.places.max()) + 1)[cells.places]

    def all_values(self, least: int) -> NDArray[np.float64]:
        """The values of the whole grid, of `least` cells or more; NaN where the message has none."""
        with _damage(self.where):
            values = np.asarray(eccodes_module().codes_get_values(self._prepared()), np.float64)
        return self._whole(values, len(values), least)

    def put_values(self, room: NDArray[np.float64]) -> None:
        """The values of the whole grid, as `all_values` has them, decoded straight to where they belong, which is of their number."""
        import gribapi

        with _damage(self.where):
            handle, count = gribapi.get_handle(self._prepared()), gribapi.ffi.new("size_t*", len(room))
            place = gribapi.ffi.cast("double *", room.ctypes.data)
            gribapi.GRIB_CHECK(gribapi.lib.grib_get_double_array(handle, b"values", place, count))
        self._whole(room, count[0], len(room))

    def _prepared(self) -> int:
        eccodes_module().codes_set(self.handle, "missingValue", _ABSENT)
        return self.handle

    def _whole(self, values: NDArray[np.float64], count: int, least: int) -> NDArray[np.float64]:
        if count < least:
            raise ContractError(asked=self.where, found=f"{count} values, fewer than its grid", mend=MEND)
        with _damage(self.where):
            gaps = bool(eccodes_module().codes_get_long(self.handle, "bitmapPresent"))
        if gaps:
            values[values == _ABSENT] = np.nan
        return values


def messages(data: bytes, file: str) -> Iterator[Message]:
    """The messages of a file; each is good until the next.

    Raises:
        ContractError: One is cut off or damaged.
    """
    codes = eccodes_module()
    for number, piece in _pieces(data, file):
        where = f"message {number} of {file}"
        with _damage(where):
            handle = codes.codes_new_from_message(piece)
        try:
            yield _described(handle, piece, where)
        finally:
            codes.codes_release(handle)


@contextmanager
def _damage(where: str) -> Iterator[None]:
    try:
        yield
    except (eccodes_module().CodesInternalError, ValueError, OverflowError) as error:
        raise ContractError(asked=where, found=f"{type(error).__name__}: {error}", mend=MEND) from error


def _described(handle: int, piece: bytes, where: str) -> Message:
    codes = eccodes_module()

    def number(key: str) -> int:
        return int(codes.codes_get_long(handle, key))

    with _damage(where):
        points = number("numberOfDataPoints")
        if not 0 < points <= MAX_CELLS:
            raise ContractError(asked=where, found=f"{points} points declared, more than {MAX_CELLS} or none", mend="split the file")
        init, valid = (_instant(number(f"{kind}Date"), number(f"{kind}Time")) for kind in ("data", "validity"))
        short, level = codes.codes_get_string(handle, "shortName"), codes.codes_get_string(handle, "typeOfLevel")
        names = (short, f"{short}:{level}", f"{short}:{level}:{number('level')}")
        unit = codes.codes_get_string(handle, "units")
    published = init if valid > init else int(NO_TIME)
    return Message(handle=handle, piece=piece, where=where, names=names, unit=unit, valid=valid, published=published)


def _instant(date: int, clock: int) -> int:
    return to_seconds(datetime(date // 10000, date // 100 % 100, date % 100, clock // 100, clock % 100, tzinfo=UTC))


def _cells(message: Message, options: GridOptions, file: str) -> Cells:
    return cells_of(*axes(message), options, file)


def axes(message: Message) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The latitude of each row and the longitude of each column of a message's grid.

    Raises:
        ContractError: It is no regular grid whose rows run along a parallel.
    """
    codes = eccodes_module()

    def get(key: str) -> Any:
        return codes.codes_get(message.handle, key)

    with _damage(message.where):
        kind, rows, columns = get("gridType"), get("Nj"), get("Ni")
        odd = kind == "regular_ll" and (get("jPointsAreConsecutive") or get("alternativeRowScanning"))
        if kind != "regular_ll" or odd:
            mend = "regrid it to latitude and longitude, rows from west to east, first"
            raise ContractError(asked=f"grid of {message.where}", found=f"'{kind}'{', odd scanning' if odd else ''}", mend=mend)
        top, bottom = (float(get(f"latitudeOf{end}GridPointInDegrees")) for end in ("First", "Last"))
        first, last = (float(get(f"longitudeOf{end}GridPointInDegrees")) for end in ("First", "Last"))
        westward = bool(get("iScansNegatively"))
    if not (0 < rows <= MAX_CELLS and 0 < columns <= MAX_CELLS):
        raise ContractError(asked=f"grid of {message.where}", found=f"{rows} x {columns} cells", mend=MEND)
    if (last < first) != westward and rows * columns > 1:
        last += -360.0 if westward else 360.0
    longitude = np.linspace(first, last, columns)
    return np.linspace(top, bottom, rows), np.where(longitude < 0, longitude + 360, longitude) % 360


def decoded(data: bytes, file: str, columns: list[str], options: GridOptions) -> dict[str, NDArray[Any]]:
    """What a file says of some columns: `valid` and `published` (T,), `latitude`, `longitude`, `ids` (P,), `shape`, `column N` (T, P) and
    `units` of the columns.

    Without columns: the places only.

    Raises:
        ContractError: The file as a whole cannot be read.
    """
    from pipeline.sources.columns import require_columns

    slabs: dict[tuple[int, int], dict[str, NDArray[np.float64]]] = {}
    cells: Cells | None = None
    found: dict[str, None] = {}
    units: dict[str, str] = {}
    for message in messages(data, file):
        column = next((c for c in message.names if c in columns), None)
        found.update(dict.fromkeys(message.names))
        if column is not None or not columns:
            cells = cells or _cells(message, options, file)
        if not columns:
            break
        if column is not None and cells is not None:
            units.setdefault(column, message.unit)
            slabs.setdefault((message.valid, message.published), {}).setdefault(column, message.values(cells))
    require_columns(list(found), columns, file)
    if cells is None:
        raise ContractError(asked=f"read {file}", found="no message with a variable of the world", mend=MEND)
    keys = sorted(slabs)
    gap = np.full(len(cells.nodes), np.nan)
    tables = {f"column {n}": np.array([slabs[k].get(c, gap) for k in keys], np.float64) for n, c in enumerate(columns)}
    return {
        "valid": np.array([k[0] for k in keys], np.int64),
        "published": np.array([k[1] for k in keys], np.int64),
        "latitude": cells.nodes.latitude,
        "longitude": cells.nodes.longitude,
        "ids": np.array(cells.nodes.ids),
        "shape": np.array(cells.nodes.shape, np.int64),
        "units": np.array([units[c] for c in columns], np.str_),
        **tables,
    }


def answer(made: Callable[[], dict[str, NDArray[Any]]], sink: BinaryIO) -> int:
    """Run as the decoding process: arrays as npz, or a fault as JSON; returns the exit status."""
    resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY, MOST_MEMORY))
    try:
        arrays = made()
    except (ContractError, ConfigError) as error:
        fault = {"kind": type(error).__name__, "asked": error.asked, "found": error.found, "mend": error.mend}
        sink.write(json.dumps(fault).encode())
        return error.exit_code
    np.savez(sink, **arrays)  # type: ignore[arg-type]
    return 0


def answered(done: subprocess.CompletedProcess[bytes], asked: str) -> dict[str, NDArray[Any]]:
    """The arrays that the decoding process wrote.

    Raises:
        ContractError, ConfigError: The fault that it found, or that it died.
    """
    if done.returncode == 0:
        with np.load(io.BytesIO(done.stdout)) as arrays:
            return dict(arrays)
    if done.returncode not in (ContractError.exit_code, ConfigError.exit_code):
        words = done.stderr.decode("utf-8", errors="replace").strip().splitlines()[-1:]
        found = f"the decoder ended with {done.returncode}: {' '.join(words)[:300]}"
        raise ContractError(asked=asked, found=found, mend=MEND)
    fault = json.loads(done.stdout)
    kind = ConfigError if fault.pop("kind") == "ConfigError" else ContractError
    raise kind(**fault)


def decoded_columns(data: bytes, request: dict[str, Any]) -> dict[str, NDArray[Any]]:
    """`decoded`, as a request in words asks."""
    return decoded(data, request["file"], request["columns"], GridOptions(area=request["area"]))
