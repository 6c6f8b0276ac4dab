"""A corpus of hostile and dirty files, each with what must become of it."""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from tests.unit.sources.made import grib, netcdf, parquet

Fate = Literal["refused", "rejected", "taken", "survived"]
"""The whole file is refused; only the rows in `bad` are rejected; all is taken; or damage to `whole`, which no checksum need show."""

LONG = {"time": "t", "node_column": "n"}


@dataclass(frozen=True, kw_only=True)
class Hostile:
    """A file, and what must become of it.

    Attributes:
        values: What is taken, None where a value is missing or masked by a flag.
        whole: Of what survived, the file before it was damaged: it is refused, or says the same but for `bent` values.
        variable: What the world says of the variable; flags are set by it where it is there.
    """

    name: str
    data: bytes
    fate: Fate
    adapter: str = "csv"
    file: str = "x.csv"
    bad: tuple[int, ...] = (2,)
    options: dict[str, Any] = field(default_factory=lambda: dict(LONG))
    column: str | None = None
    values: tuple[float | None, ...] = (1.0, 3.0)
    whole: bytes = b""
    bent: int = 0
    variable: dict[str, Any] = field(default_factory=dict)


def corpus() -> Iterator[Hostile]:
    yield from _cells()
    yield from _stamps()
    yield from _lines()
    yield from _files()
    yield from _gzips()
    yield from _json()
    yield from _parquet()
    yield from _netcdf()
    yield from _grib()
    yield from _fill_codes()


def _csv(row: str | bytes) -> bytes:
    line = row.encode() if isinstance(row, str) else row
    return b"t,n,a\n2014-08-01T00:00:00,x,1\n" + line + b"\n2014-08-01T00:10:00,x,3\n"


def _cells() -> Iterator[Hostile]:
    numbers = [
        "1e999",
        "-1e999",
        "1e309",
        "9" * 400,
        "inf",
        "-Infinity",
        "0x10",
        "1_000",
        "=1+1",
        "+1+1",
        "-2+3",
        "@SUM(A1)",
        "=cmd|'/C calc'!A0",
    ]
    numbers += [
        "1e",
        "--1",
        "1 2",
        "true",
        "None",
        "#N/A",
        "#REF!",
        "12h",
        "1.2.3",
        "½",
        "１２",
        "١٢",
        "\u202e12",
        "1.",
        "e5",
        "$5",
        "5%",
        "(5)",
        "n/a",
        "NIL",
    ]
    for text in numbers:
        fate: Fate = "taken" if text == "1." else "rejected"
        values = (1.0, 1.0, 3.0) if fate == "taken" else (1.0, 3.0)
        yield Hostile(name=f"number {text[:20]}", data=_csv(f"2014-08-01T00:05:00,x,{text}"), fate=fate, values=values)
    for text in ("", "NA", "NaN", "null"):
        yield Hostile(name=f"missing '{text}'", data=_csv(f"2014-08-01T00:05:00,x,{text}"), fate="taken", values=(1.0, None, 3.0))


def _stamps() -> Iterator[Hostile]:
    texts = ["2014-13-01T00:05:00", "2014-02-30T00:05:00", "01/02/2014", "2014-08-01T25:00:00", "2014-08-01T00:60:00", "1406851200"]
    texts += ["Fri Aug  1 2014", "0000-00-00T00:00:00", "10000-01-01T00:00:00", "-2014-08-01T00:00:00", "", "now", "1899-12-31T00:00:00"]
    texts += ["2014-08-01T00:05:00Z", "2014-08-01T00:05:00+25:00", "2200-01-01T00:00:00", "2014-08-01T00:05:61", "41852.5", "2014-8-1 0:5"]
    for text in texts:
        yield Hostile(name=f"stamp {text}", data=_csv(f"{text},x,2"), fate="rejected")
    day_first = {"time": "t", "time_format": "%d.%m.%Y %H:%M", "node": "x"}
    for text in ("12.31.2016 00:00", "31.12.16 00:00", "2016-12-31 00:00", "31/12/2016 00:00"):
        data = f"t,a\n31.12.2016 00:00,1\n{text},2\n31.12.2016 01:00,3\n".encode()
        yield Hostile(name=f"mixed date {text}", data=data, fate="rejected", options=day_first)
    seconds = {"time": "t", "time_format": "epoch_s", "node": "x"}
    for text in ("1406851200000", "1406851200000000", "-5", "1e30", "0x5"):
        data = f"t,a\n1406851200,1\n{text},2\n1406851260,3\n".encode()
        yield Hostile(name=f"epoch {text}", data=data, fate="rejected", options=seconds)


def _lines() -> Iterator[Hostile]:
    stamp = "2014-08-01T00:05:00"
    rows: dict[str, str | bytes] = {
        "a field too many": f"{stamp},x,2,9",
        "a field too few": f"{stamp},x",
        "one field": "x",
        "NUL in a number": f"{stamp},x,2\0",
        "NUL in a node": f"{stamp},x\0y,2",
        "a field of 3 MB": f"{stamp},{'y' * 3_000_000},2",
        "a line of 70 kB": f"{stamp},{'y' * 70_000},2",
        "an open quote": f'{stamp},"x,2',
        "a quote in the middle": f'{stamp},"x"y,2',
        "bytes of another encoding": f"{stamp},Nørreport,2".encode("latin-1"),
        "an overlong UTF-8": stamp.encode() + b",\xc0\xaf,2",
        "a surrogate": stamp.encode() + b",\xed\xa0\x80,2",
        "the header again": "t,n,a",
        "no node": f"{stamp},,2",
        "semicolons": f"{stamp};x;2",
        "tabs": f"{stamp}\tx\t2",
        "a comment": "# the sensor was replaced",
        "html": "<tr><td>",
        "a decimal comma": f"{stamp},x,2,5",
    }
    for name, row in rows.items():
        yield Hostile(name=name, data=_csv(row), fate="rejected")
    yield Hostile(name="an open quote at the end", data=_csv("")[:-1] + b'\n2014-08-01T00:20:00,"x,4', fate="rejected", bad=(3,))
    text = _csv(f'{stamp},"x\n2014-08-01T00:07:00,x,7\n\ny",2')
    yield Hostile(name="a row within a text of several lines", data=text, fate="rejected", bad=(2, 3, 4))
    cut = _csv(f"{stamp},x,2") + b"2014-08-01T00:2"
    yield Hostile(name="cut within the last line", data=cut, fate="rejected", bad=(4,), values=(1.0, 2.0, 3.0))


def _files() -> Iterator[Hostile]:
    good = _csv("2014-08-01T00:05:00,x,2")
    yield Hostile(name="0 bytes", data=b"", fate="refused")
    yield Hostile(name="blank lines", data=b"\n\n\n", fate="refused")
    yield Hostile(name="UTF-16", data=good.decode().encode("utf-16"), fate="refused")
    yield Hostile(name="UTF-32", data=good.decode().encode("utf-32"), fate="refused")
    yield Hostile(name="carriage returns only", data=good.replace(b"\n", b"\r"), fate="refused")
    yield Hostile(name="an error page", data=b"<html><body>502 Bad Gateway</body></html>", fate="refused")
    yield Hostile(name="an error object", data=b'{"error": true}', fate="refused")
    yield Hostile(name="noise", data=bytes(range(256)) * 40, fate="refused")
    yield Hostile(name="a header of 1 MB", data=b"t,n,a" + b"x" * 1_000_000, fate="refused")
    yield Hostile(name="a column twice", data=b"t,n,a,a\n", fate="refused")
    yield Hostile(name="a column renamed", data=good.replace(b"t,n,a", b"t,n,A"), fate="refused")
    yield Hostile(name="a column lost", data=b"t,n\n2014-08-01T00:00:00,x\n", fate="refused")
    yield Hostile(name="semicolons all along", data=good.replace(b",", b";"), fate="refused")
    yield Hostile(name="100,000 columns", data=b",".join(b"c%d" % i for i in range(100_000)) + b"\n", fate="refused")
    yield Hostile(
        name="a BOM and Windows line ends", data=b"\xef\xbb\xbf" + good.replace(b"\n", b"\r\n"), fate="taken", values=(1.0, 2.0, 3.0)
    )


def _gzips() -> Iterator[Hostile]:
    whole = gzip.compress(b"t,n,a\n" + b"2014-08-01T00:00:00,x,1\n" * 2000, mtime=0)

    def packed(name: str, data: bytes, fate: Fate = "refused") -> Hostile:
        return Hostile(name=f"gzip: {name}", data=data, fate=fate, file="x.csv.gz")

    yield packed("bomb of 4 GB", gzip.compress(b"0" * 2**26, 9) * 64)
    yield packed("bomb in one stream", gzip.compress(b"0" * 2**28, 9))
    yield packed("bomb of empty lines", gzip.compress(b"t,n,a\n" + b"\n" * 2**27, 9))
    for cut in (1, 5, 9, 12, -1, -8, -20):
        yield packed(f"cut at {cut}", whole[:cut])
    for place in (12, len(whole) // 2, -6, -2):
        damaged = bytearray(whole)
        damaged[place] ^= 0x10
        yield packed(f"bit flipped at {place}", bytes(damaged))
    yield packed("something after it", whole + b"trailing noise")
    yield packed("no gzip", b"t,n,a\n")
    yield packed("nothing in it", gzip.compress(b""))
    yield packed("gzip in gzip", gzip.compress(whole))


def _json() -> Iterator[Hostile]:
    good = {"t": "2014-08-01T00:00:00Z", "n": "x", "a": 1}

    def document(name: str, data: bytes, fate: Fate = "refused", bad: tuple[int, ...] = (2,), **more: Any) -> Hostile:
        return Hostile(name=f"json: {name}", data=data, fate=fate, adapter="json", file="x.json", bad=bad, **{"values": (1.0, 1.0), **more})

    whole = json.dumps([good] * 50).encode()
    for cut in (1, 100, -1):
        yield document(f"cut at {cut}", whole[:cut])
    yield document("NaN", whole.replace(b'"a": 1', b'"a": NaN', 1))
    yield document("Infinity", whole.replace(b'"a": 1', b'"a": -Infinity', 1))
    yield document("nested 300,000 deep", b"[" * 300_000)
    yield document("nested objects", b'{"a":' * 100_000)
    yield document("a number of 3 MB", b'[{"t":"2014-08-01T00:00:00Z","n":"x","a":' + b"9" * 3_000_000 + b"}]", "rejected", (1,), values=())
    yield document("an error object", b'{"error": true, "reason": "x"}')
    yield document("not UTF-8", whole.replace(b'"x"', b'"\xff"', 1))
    changes: list[tuple[str, Any]] = [
        ("a", "1e999"),
        ("a", [1]),
        ("a", {}),
        ("a", "=1+1"),
        ("t", None),
        ("t", 5),
        ("t", "x" * 10**6),
        ("n", "\0"),
        ("n", []),
    ]
    for key, value in changes:
        rows = [good, {**good, key: value}, good]
        yield document(f"{key} = {str(value)[:10]!r}", json.dumps(rows).encode(), "rejected")
    for value in (None, 5, "x", []):
        yield document(f"a record {value!r}", json.dumps([good, value, good]).encode(), "rejected")


def _parquet() -> Iterator[Hostile]:
    whole = parquet(t=[1406851200, 1406851260, 1406851320], n=["x", "x", "x"], a=[1.0, 2.0, 3.0])

    def table(name: str, data: bytes, fate: Fate = "refused", bad: tuple[int, ...] = (2,)) -> Hostile:
        options = {**LONG, "time_format": "epoch_s"}
        described: Any = {"adapter": "parquet", "file": "x.parquet", "options": options}
        return Hostile(name=f"parquet: {name}", data=data, fate=fate, bad=bad, whole=whole, **described)

    for cut in (0, 3, 8, len(whole) // 2, -1, -5, -9):
        yield table(f"cut at {cut}", whole[:cut])
    yield table("a footer of 4 GB", whole[:-8] + b"\xff\xff\xff\x7fPAR1")
    yield table("a footer of nothing", whole[:-8] + b"\0\0\0\0PAR1")
    yield table("magic only", b"PAR1PAR1")
    yield table("csv", _csv("x"))
    yield table("a column renamed", parquet(t=[1], n=["x"], A=[1.0]))
    yield table("a list column", parquet(t=[1], n=["x"], a=[[1.0]]))
    yield table("bytes for numbers", parquet(t=[1], n=["x"], a=[b"1"]))
    yield table("infinite", parquet(t=[1, 2, 3], n=["x"] * 3, a=[1.0, float("inf"), 3.0]), "rejected")
    yield table("a stamp beyond", parquet(t=[1, 2**60, 3], n=["x"] * 3, a=[1.0, 2.0, 3.0]), "rejected")
    yield table("no node", parquet(t=[1, 2, 3], n=["x", None, "x"], a=[1.0, 2.0, 3.0]), "rejected")
    for place in range(4, len(whole) - 8, len(whole) // 12):
        damaged = bytearray(whole)
        damaged[place] ^= 0xFF
        yield table(f"byte flipped at {place}", bytes(damaged), "survived")


def _netcdf() -> Iterator[Hostile]:
    import h5py

    def grid(name: str, data: bytes, fate: Fate = "refused", **more: Any) -> Hostile:
        return Hostile(name=f"netcdf: {name}", data=data, fate=fate, adapter="netcdf", file="x.nc", options={}, column="t2m", **more)

    for form in ("NETCDF4", "NETCDF3_64BIT"):
        whole = netcdf(form)
        for share in (0.01, 0.2, 0.5, 0.8, 0.98):
            yield grid(f"{form} cut at {share:.0%}", whole[: int(len(whole) * share)])
        for place in range(8, len(whole), len(whole) // 8):
            damaged = bytearray(whole)
            damaged[place] ^= 0xFF
            # The values lie bare in the last eighth of a NetCDF 3 file: what was flipped there is what the file says.
            bent = int(form == "NETCDF3_64BIT" and place > len(whole) * 7 // 8)
            yield grid(f"{form} byte flipped at {place}", bytes(damaged), "survived", whole=whole, bent=bent)
    for huge in ("time", "latitude", "longitude", "t2m"):
        out = io.BytesIO()
        with h5py.File(out, "w") as file:
            for name in ("time", "latitude", "longitude", "t2m"):
                shape = (2**40,) if name == huge else (2,)
                file.create_dataset(name, shape=shape, dtype="f4", chunks=(2,))
        yield grid(f"{huge} of 2**40 values", out.getvalue())
    three = bytearray(netcdf("NETCDF3_64BIT"))
    three[4:8] = b"\x7f\xff\xff\xff"
    yield grid("2**31 records declared", bytes(three), "survived", whole=netcdf("NETCDF3_64BIT"))
    three[12:16] = b"\x7f\xff\xff\xff"
    yield grid("2**31 dimensions declared", bytes(three))
    yield grid("csv", _csv("x"))


def _grib() -> Iterator[Hostile]:
    whole = grib(2)

    def message(name: str, data: bytes, fate: Fate = "refused") -> Hostile:
        return Hostile(name=f"grib: {name}", data=data, fate=fate, adapter="grib", file="x.grib2", options={}, column="2t", whole=whole)

    for cut in (3, 15, len(whole) // 2 + 20, -1):
        yield message(f"cut at {cut}", whole[:cut])
    for length in (0, 8, 2**40, 2**63):
        yield message(f"{length} bytes declared", whole[:8] + length.to_bytes(8, "big") + whole[16:])
    yield message("csv", _csv("x"))
    for place in (40, 60):
        damaged = bytearray(whole)
        damaged[place] ^= 0xFF
        yield message(f"byte flipped at {place}", bytes(damaged), "survived")


def _fill_codes() -> Iterator[Hostile]:
    """Numbers that mean "no measurement": declared ones, and usual ones where they cannot be values."""
    bounds = {"valid_min": -60.0, "valid_max": 60.0}
    codes = ("-999", "-9999", "9999", "-99", "99999", "32767", "-32768", "65535", "1e20", "9.96921e36", "-999.0")

    def coded(name: str, data: bytes, adapter: str, file: str, variable: dict[str, Any], **more: Any) -> Hostile:
        return Hostile(name=f"fill code {name}", data=data, fate="taken", adapter=adapter, file=file, variable=variable, **more)

    masked = (1.0, None, 3.0)
    for code in codes:
        data = _csv(f"2014-08-01T00:05:00,x,{code}")
        yield coded(f"{code} that nobody declared", data, "csv", "x.csv", bounds, values=masked)
        yield coded(f"{code} that is declared", data, "csv", "x.csv", {"missing": [float(code)]}, values=masked)
    yield coded("0 that is declared", _csv("2014-08-01T00:05:00,x,-0.0"), "csv", "x.csv", {"missing": [0.0]}, values=masked)
    seconds = {**LONG, "time_format": "epoch_s"}
    column = [{"t": 1406851200 + 60 * k, "n": "x", "a": v} for k, v in enumerate((1, -9999, 3))]
    yield coded("in JSON", json.dumps(column).encode(), "json", "x.json", bounds, values=masked, options=seconds)
    table = parquet(t=[1406851200, 1406851260, 1406851320], n=["x"] * 3, a=[1, 32767, 3])
    yield coded("in Parquet", table, "parquet", "x.parquet", bounds, values=masked, options=seconds)
    scaled = (*(v if v is None else v - 200 for v in (200.0, 201.0, 202.0, 210.0, 211.0)), None)
    declared = {"missing": [100.0, 101.0, 102.0, 110.0, 111.0, 112.0], "valid_max": 250.0}
    grid = (0.0, 1.0, 2.0, 10.0, 11.0, 12.0, *(None,) * 6, *(v if v is None else v + 200 for v in scaled))
    yield coded("in NetCDF, declared and its own", netcdf(), "netcdf", "x.nc", declared, values=grid, options={}, column="t2m")
