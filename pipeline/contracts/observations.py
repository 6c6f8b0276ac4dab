"""Observations: what a source says, row by row, with the instants at which each row could be known and was received."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

KEY_COLUMNS = ("node", "valid_time", "available_time", "received_time", "delivery", "row")

PARSER_VERSIONS: dict[str, str] = {
    "binance": "1",
    "csv": "3",
    "elexon": "1",
    "gfs": "1",
    "grib": "1",
    "hdf5": "1",
    "images": "1",
    "json": "3",
    "kraken": "1",
    "netcdf": "1",
    "open_meteo": "1",
    "parquet": "3",
    "pems": "1",
    "synthetic": "1",
    "webtris": "1",
    "zarr": "1",
}
"""Part of a source's contract: raise an adapter's when the same bytes come out as other readings."""

RULES_VERSION = "2"
"""Part of every source's contract: raise it when the same readings come out with other flags."""

REJECTION_SCHEMA = pa.schema(
    [
        ("delivery", pa.string()),
        ("file", pa.string()),
        ("row", pa.int64()),
        ("reason", pa.string()),
        ("raw", pa.string()),
    ]
)
"""Rows that were not taken, each with the file, the 1-based data row, the rule it broke and its text."""


def observation_schema(variables: tuple[str, ...], *, runs: bool = False, text: bool = False, slabs: bool = False) -> pa.Schema:
    """Schema of a source's observations at rest.

    One row per node and `valid_time` and version: `node` string, three instants (int64-backed timestamps, s, UTC),
    `delivery` (sha256 of the raw bytes) and `row` (1-based data row in them), then per variable a float32 `NAME` in
    its canonical unit (null where missing) and a uint16 `NAME_flag`. A file has them by day, node, valid_time, available_time. Forecasts
    have the start of their run in `init_time` beside, documents their `text` and its `text_flag`, whole grids a digest of their
    `content` and their count of `cells`, and no variables.
    """
    stamp = pa.timestamp("s", tz="UTC")
    fields = [
        pa.field("node", pa.string()),
        pa.field("valid_time", stamp),
        pa.field("available_time", stamp),
        pa.field("received_time", stamp),
        pa.field("delivery", pa.string()),
        pa.field("row", pa.int64()),
    ]
    fields += [pa.field("init_time", stamp)] if runs else []
    fields += [pa.field("text", pa.string()), pa.field("text_flag", pa.uint16())] if text else []
    fields += [pa.field("content", pa.int64()), pa.field("cells", pa.int64())] if slabs else []
    for name in variables:
        fields += [pa.field(name, pa.float32()), pa.field(f"{name}_flag", pa.uint16())]
    return pa.schema(fields)


@dataclass(frozen=True, kw_only=True)
class RowCounts:
    """Where every raw row went: `raw` = `observations` + `duplicates` + `rejected`."""

    raw: int
    observations: int
    duplicates: int
    rejected: int

    def __add__(self, other: RowCounts) -> RowCounts:
        return RowCounts(
            raw=self.raw + other.raw,
            observations=self.observations + other.observations,
            duplicates=self.duplicates + other.duplicates,
            rejected=self.rejected + other.rejected,
        )
