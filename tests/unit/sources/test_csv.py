"""Every habit and trap of CSV, with known answers."""

from __future__ import annotations

import gzip
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from pipeline.contracts.times import to_seconds
from pipeline.contracts.worlds import Source
from pipeline.errors import ConfigError, ContractError
from pipeline.settings import Settings
from pipeline.sources.adapter import Readings
from pipeline.sources.csv import CsvAdapter

CSV = CsvAdapter()


def source(options: dict[str, object] | None = None, variables: dict[str, object] | None = None, **fields: object) -> Source:
    return Source.model_validate(
        {
            "adapter": "csv",
            "locations": ["data://x.csv"],
            "options": {"time": "t", "node_column": "n"} if options is None else options,
            "variables": variables or {"a": {"unit": "count"}},
            **fields,
        }
    )


def parse(text: str | bytes, read: Source, name: str = "x.csv") -> Readings:
    found = CSV.parse(read, {name: text.encode() if isinstance(text, str) else text})
    assert found.raw_rows == len(found) + len(found.rejected)
    return found


def at(text: str) -> int:
    return to_seconds(datetime.fromisoformat(text).replace(tzinfo=UTC))


def test_a_plain_long_file_gives_its_rows_in_order() -> None:
    found = parse("t,n,a\n2014-08-01T00:00:00,x,1\n2014-08-01T00:05:00,y,2.5\n", source())
    assert [found.node_ids[i] for i in found.node] == ["x", "y"]
    assert found.valid_time.tolist() == [at("2014-08-01T00:00"), at("2014-08-01T00:05")]
    assert found.values["a"].tolist() == [1.0, 2.5]
    assert found.row.tolist() == [1, 2]


def test_gzip_bom_and_windows_line_ends_change_nothing() -> None:
    plain = parse("t,n,a\n2014-08-01T00:00:00,x,1\n", source())
    packed = parse(gzip.compress(b"\xef\xbb\xbft,n,a\r\n2014-08-01T00:00:00,x,1\r\n"), source(), "x.csv.gz")
    assert packed.valid_time.tolist() == plain.valid_time.tolist()
    assert packed.values["a"].tolist() == plain.values["a"].tolist()


def test_ragged_rows_are_rejected_with_row_reason_and_text_and_shift_nothing() -> None:
    found = parse("t,n,a\n2014-08-01T00:00:00,x,1\n2014-08-01T00:05:00,x,2,9\n2014-08-01\n2014-08-01T00:15:00,x,4\n", source())
    assert found.row.tolist() == [1, 4]
    assert found.values["a"].tolist() == [1.0, 4.0]
    assert found.rejected.row == (2, 3)
    assert found.rejected.reason == ("4 fields, not 3", "1 fields, not 3")
    assert found.rejected.raw == ("2014-08-01T00:05:00,x,2,9", "2014-08-01")
    assert found.rejected.file == ("x.csv", "x.csv")


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("2014-08-01T00:05:00,x,1e999", "'1e999' is no number"),
        ("2014-08-01T00:05:00,x,inf", "'inf' is no number"),
        ("2014-08-01T00:05:00,x,0x10", "is no number"),
        ("2014-08-01T00:05:00,x,=1+1", "is no number"),
        ("2014-08-01T00:05:00,x\0,1", "a NUL byte"),
        ("2014-13-01T00:05:00,x,1", "is no stamp"),
        ("yesterday,x,1", "is no stamp"),
        (",x,1", "no stamp"),
        ("2014-08-01T00:05:00,,1", "no node"),
        ("9999-01-01T00:00:00,x,1", "outside 1970 .. 2100"),
        ("0001-01-01T00:00:00,x,1", "outside 1970 .. 2100"),
        ('2014-08-01T00:05:00,"x,1', "broken quoting"),
        ("2014-08-01T00:05:00,x," + "9" * 70000, "more than 65536"),
    ],
)
def test_a_row_that_breaks_a_rule_is_rejected_alone_with_its_reason(row: str, reason: str) -> None:
    found = parse(f"t,n,a\n2014-08-01T00:00:00,x,7\n{row}\n2014-08-01T00:10:00,x,8\n", source())
    assert found.values["a"].tolist() == [7.0, 8.0]
    assert found.row.tolist() == [1, 3]
    assert found.rejected.row == (2,)
    assert reason in found.rejected.reason[0]
    assert len(found.rejected.raw[0]) < 600


def test_a_three_megabyte_field_is_rejected_and_the_rest_stays() -> None:
    found = parse("t,n,a\n2014-08-01T00:00:00,x,1\n2014-08-01T00:05:00," + "y" * 3_000_000 + ",1\n2014-08-01T00:10:00,x,3\n", source())
    assert found.values["a"].tolist() == [1.0, 3.0]
    assert found.rejected.row == (2,)


def test_bytes_of_another_encoding_are_rejected_and_read_when_declared() -> None:
    text = "t,n,a\n2014-08-01T00:00:00,Nørreport,1\n".encode("latin-1")
    assert len(parse(text, source()).rejected) == 1
    declared = parse(text, source({"time": "t", "node_column": "n", "encoding": "latin-1"}))
    assert declared.node_ids == ("Nørreport",)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32", "utf-8-sig", "shift_jis", "gb18030", "iso2022_jp"])
def test_an_encoding_of_several_bytes_is_read_when_declared_whatever_bytes_its_letters_hold(encoding: str) -> None:
    text = "t|n|a\n2014-08-01T00:00:00|ポ中本|1\n2014-08-01T00:05:00|x|2\n"  # in Shift JIS the first letter ends in |
    options = {"time": "t", "node_column": "n", "separator": "|", "encoding": encoding}
    found = parse(text.encode(encoding), source(options))
    assert (found.node_ids, found.values["a"].tolist(), len(found.rejected)) == (("ポ中本", "x"), [1.0, 2.0], 0)
    with pytest.raises(ContractError, match=rf"as {encoding}.*correct options\.encoding"):
        parse(b"\xff" + text.encode(encoding) + b"\xff", source(options))


def test_a_wide_file_in_utf_16_is_read_when_declared() -> None:
    options = {"layout": "wide", "time": "t", "encoding": "utf-16"}
    found = CSV.parse(source(options), {"a.csv": "t,ø,y\n2014-08-01T00:00:00,1,2\n".encode("utf-16")})
    assert (found.node_ids, found.values["a"].tolist()) == (("ø", "y"), [1.0, 2.0])


def test_empty_cells_are_missing_and_no_zero() -> None:
    found = parse("t,n,a\n2014-08-01T00:00:00,x,\n2014-08-01T00:05:00,x,NA\n2014-08-01T00:10:00,x,0\n", source())
    assert np.isnan(found.values["a"][:2]).all()
    assert found.values["a"][2] == 0


def test_decimal_commas_and_semicolons_read_as_declared_in_both_paths() -> None:
    options = {"time": "t", "node_column": "n", "separator": ";", "decimal": ","}
    assert parse("t;n;a\n2014-08-01T00:00:00;x;1,5\n", source(options)).values["a"].tolist() == [1.5]
    assert parse("t;n;a\n2014-08-01T00:00:00;x;1,5\n2014-08-01T00:00:00;x;bad\n", source(options)).values["a"].tolist() == [1.5]


def test_the_slow_path_gives_the_same_rows_as_the_fast_one() -> None:
    rng = np.random.default_rng(0)
    lines = [f"2014-08-01T{h:02d}:00:00,n{h % 3},{float(v)!r}" for h, v in enumerate(rng.normal(0, 1e3, 24))]
    fast = parse("t,n,a\n" + "\n".join(lines) + "\n", source())
    slow = parse("t,n,a\n" + "\n".join([*lines, "bad\0,x,1"]) + "\n", source())
    assert len(slow.rejected) == 1
    assert slow.values["a"].tolist() == fast.values["a"].tolist()
    assert slow.valid_time.tolist() == fast.valid_time.tolist()
    assert [slow.node_ids[i] for i in slow.node] == [fast.node_ids[i] for i in fast.node]


def test_parts_of_a_second_round_up_so_that_no_reading_is_early() -> None:
    found = parse("t,n,a\n2014-08-01 00:00:00.145,x,1\n2014-08-01 00:00:01,x,1\n", source())
    assert found.valid_time.tolist() == [at("2014-08-01T00:00:01"), at("2014-08-01T00:00:01")]


def test_stamps_with_an_offset_are_read_as_the_instants_they_name() -> None:
    found = parse("t,n,a\n2014-08-01T02:00:00+02:00,x,1\n2014-08-01T00:00:00Z,x,1\n", source(timezone="Asia/Tokyo"))
    assert found.valid_time.tolist() == [at("2014-08-01T00:00")] * 2


def test_local_stamps_are_shifted_by_the_zone_of_their_day() -> None:
    found = parse("t,n,a\n2014-08-01T02:00:00,x,1\n2014-12-01T02:00:00,x,1\n", source(timezone="Europe/Copenhagen"))
    assert found.valid_time.tolist() == [at("2014-08-01T00:00"), at("2014-12-01T01:00")]


def test_a_stamp_that_the_zone_skips_is_rejected_with_the_zone_named() -> None:
    found = parse("t,n,a\n2014-03-30T02:30:00,x,1\n2014-03-30T03:00:00,x,2\n", source(timezone="Europe/Copenhagen"))
    assert found.valid_time.tolist() == [at("2014-03-30T01:00")]
    assert "Europe/Copenhagen skips" in found.rejected.reason[0]
    assert found.rejected.raw == ("2014-03-30T02:30:00,x,1",)


@pytest.mark.parametrize(("policy", "expected"), [("first", ["2014-10-26T00:30"]), ("second", ["2014-10-26T01:30"]), ("reject", [])])
def test_a_stamp_that_comes_twice_follows_the_declared_policy(policy: str, expected: list[str]) -> None:
    options = {"time": "t", "node_column": "n", "ambiguous": policy}
    found = parse("t,n,a\n2014-10-26T02:30:00,x,1\n", source(options, timezone="Europe/Copenhagen"))
    assert found.valid_time.tolist() == [at(e) for e in expected]
    assert len(found.rejected) == 1 - len(expected)


def test_epoch_seconds_without_header_name_the_end_of_their_interval() -> None:
    options = {
        "columns": ["time", "close"],
        "time": "time",
        "time_format": "epoch_s",
        "interval": "1h",
        "node_pattern": "([A-Z]+)_60",
    }
    found = parse("1381093200,122.0\n1381096800,123.0\n", source(options, {"close": {"unit": "USD"}}), "XBTUSD_60.csv")
    assert found.node_ids == ("XBTUSD",)
    assert found.valid_time.tolist() == [1381096800, 1381100400]
    assert found.row.tolist() == [1, 2]


def test_epoch_milliseconds_are_told_from_seconds_by_declaration() -> None:
    options = {"time": "t", "time_format": "epoch_ms", "node": "x"}
    assert parse("t,a\n1381093200000,1\n1381093200001,1\n", source(options)).valid_time.tolist() == [1381093200, 1381093201]
    wrong = parse("t,a\n1381093200000,1\n", source({**options, "time_format": "epoch_s"}))
    assert "sensible as epoch_ms" in wrong.rejected.reason[0]


def test_a_daily_bar_is_valid_at_the_close_of_its_session_also_on_half_days() -> None:
    options = {"time": "t", "time_format": "session", "calendar": "XNYS", "node": "AAPL"}
    rows = "t,a\n2014-07-01,1\n2014-11-26,2\n2014-11-27,3\n2014-11-28,4\n2014-11-29,5\n"
    found = parse(rows, source(options))
    assert found.valid_time.tolist() == [at("2014-07-01T20:00"), at("2014-11-26T21:00"), at("2014-11-28T18:00")]
    assert found.rejected.row == (3, 5)
    assert set(found.rejected.reason) == {"not a session of XNYS"}


def test_a_declared_pattern_reads_day_first_dates() -> None:
    options = {"time": "t", "time_format": "%d.%m.%Y %H:%M", "node": "x"}
    assert parse("t,a\n02.12.2016 03:00,1\n", source(options)).valid_time.tolist() == [at("2016-12-02T03:00")]


def test_a_publication_column_is_kept_and_may_be_empty() -> None:
    options = {"time": "t", "node": "x", "published": "p"}
    found = parse("t,a,p\n2014-08-01T00:00:00,1,2014-08-01T06:00:00Z\n2014-08-01T01:00:00,1,\n", source(options))
    assert found.published_time is not None
    assert found.published_time[0] == at("2014-08-01T06:00")
    assert found.published_time[1] < 0


WIDE = {"layout": "wide", "separator": ";", "time": "t"}
WIDE_VARIABLES = {"temperature": {"column": "temp", "unit": "K"}, "humidity": {"unit": "percent"}}


def test_wide_files_join_by_stamp_and_node_whatever_their_order() -> None:
    found = CSV.parse(
        source(WIDE, WIDE_VARIABLES),
        {
            "temp.csv": b"t;A;B\n2016-12-01T00:00:00;1;2\n2016-12-01T01:00:00;3;\n",
            "humidity.csv": b"t;B;A\n2016-12-01T01:00:00;40;30\n2016-12-01T02:00:00;60;50\n",
        },
    )
    rows = {
        (found.node_ids[n], int(t) - at("2016-12-01T00:00")): (a, b)
        for n, t, a, b in zip(found.node, found.valid_time, found.values["temperature"], found.values["humidity"], strict=True)
    }
    assert found.raw_rows == len(found) == 6
    assert rows["A", 3600] == (3.0, 30.0)
    assert rows["B", 3600][1] == 40.0
    assert np.isnan(rows["B", 3600][0])
    assert rows["A", 7200][1] == 50.0
    assert np.isnan(rows["A", 7200][0])


def test_a_bad_line_of_a_wide_file_is_rejected_and_the_other_variables_stay() -> None:
    found = CSV.parse(
        source(WIDE, WIDE_VARIABLES),
        {"temp.csv": b"t;A\n2016-12-01T00:00:00;1\n2016-12-01T01:00:00;hot\n", "humidity.csv": b"t;A\n2016-12-01T01:00:00;30\n"},
    )
    assert len(found.rejected) == 1
    assert found.rejected.file == ("temp.csv",)
    assert found.values["humidity"].tolist()[1] == 30.0
    assert found.raw_rows == 3


def test_a_wide_delivery_without_a_variables_file_names_the_file() -> None:
    with pytest.raises(ContractError, match=r"humidity\.csv"):
        CSV.parse(source(WIDE, WIDE_VARIABLES), {"temp.csv": b"t;A\n"})


def test_a_missing_column_names_file_column_those_found_and_the_nearest() -> None:
    with pytest.raises(ContractError, match=r"column 'vehicleCount' of x\.csv") as caught:
        parse("t,n,vehiclecount\n", source(variables={"a": {"column": "vehicleCount", "unit": "count"}}))
    assert "vehiclecount" in caught.value.found
    assert "'vehiclecount'" in caught.value.mend


def test_a_column_where_the_name_of_one_node_belongs_is_refused_and_no_row_folded() -> None:
    read = source(options={"time": "t", "node": "n"})
    with pytest.raises(ContractError, match=r"node 'n' for all rows of x\.csv") as caught:
        parse("t,n,a\n2024-01-01T00:00Z,1,5\n", read)
    assert "node_column = 'n'" in caught.value.mend
    assert parse("t,a\n2024-01-01T00:00Z,5\n", read).node_ids == ("n",)


@pytest.mark.parametrize("cut", [1, 10, 21, -9, -1])
def test_a_truncated_gzip_is_refused_with_the_file_named(cut: int) -> None:
    whole = gzip.compress(b"t,n,a\n" + b"2014-08-01T00:00:00,x,1\n" * 1000)
    with pytest.raises(ContractError, match=r"x\.csv\.gz"):
        parse(whole[:cut], source(), "x.csv.gz")


def test_a_flipped_bit_in_a_gzip_is_refused() -> None:
    whole = bytearray(gzip.compress(b"t,n,a\n" + b"2014-08-01T00:00:00,x,1\n" * 1000))
    whole[-6] ^= 1
    with pytest.raises(ContractError, match="damaged gzip"):
        parse(bytes(whole), source(), "x.csv.gz")


@pytest.mark.parametrize("content", [b"", b"<html>Service unavailable</html>"])
def test_a_gz_that_is_no_gzip_is_refused(content: bytes) -> None:
    with pytest.raises(ContractError, match=r"x\.csv\.gz"):
        parse(content, source(), "x.csv.gz")


def test_a_gzip_bomb_stops_at_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.sources.unpacking.MAX_BYTES", 100_000)
    with pytest.raises(ContractError, match="more than 100000 bytes"):
        parse(gzip.compress(b"0" * 10_000_000), source(), "x.csv.gz")


def test_a_header_that_names_a_column_twice_is_refused() -> None:
    with pytest.raises(ContractError, match="twice"):
        parse("t,n,a,a\n", source())


def test_a_file_of_a_header_only_has_no_rows() -> None:
    assert len(parse("t,n,a\n", source())) == 0
    assert len(parse("t,n,a", source())) == 0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"tiem": "t", "time": "t", "node": "x"}, "did you mean 'time'"),
        ({"time": "t"}, "exactly one of node"),
        ({"time": "t", "node": "x", "node_column": "n"}, "exactly one of node"),
        ({"time": "t", "node": "x", "time_format": "session"}, "belong together"),
        ({"time": "t", "node": "x", "time_format": "isoo"}, "isoo"),
        ({"time": "t", "node": "x", "time_format": "session", "calendar": "XNIS"}, "no such calendar"),
        ({"time": "t", "node": "x", "encoding": "utf-9"}, "no such encoding"),
        ({"time": "t", "node": "x", "separator": ";;"}, "not one character"),
    ],
)
def test_wrong_options_are_refused_with_key_and_mend(options: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words.replace("(", r"\(")):
        CSV.check(source(options))


def test_deliveries_are_one_per_file_and_then_the_node_table(tmp_path: Path) -> None:
    for name in ("b.csv", "a.csv", "nodes.txt"):
        (tmp_path / name).write_text("t,n,a\n")
    read = source(locations=["data://*.csv"], nodes={"location": "data://nodes.txt"})
    found = list(CSV.deliveries(read, Settings(store="", data=tmp_path, dask=None), datetime(2020, 1, 1, tzinfo=UTC)))
    assert [(d.name, d.role) for d in found] == [("a.csv", "readings"), ("b.csv", "readings"), ("nodes.txt", "nodes")]
    assert found[0].parts[0].read() == b"t,n,a\n"


def test_a_node_table_keeps_order_ends_and_wraps_longitude() -> None:
    nodes = {"location": "data://n", "latitude": "a", "longitude": "b", "latitude_end": "c", "longitude_end": "d"}
    found = CSV.parse_places(source(nodes=nodes), {"n": b"id,a,b,c,d\nz,1,359,3,361\ny,5,6,7,8\n"})
    assert found.ids == ("z", "y")
    assert found.latitude.tolist() == [2.0, 6.0]
    assert found.longitude.tolist() == [0.0, 7.0]
    assert found.ends is not None
    assert found.ends[1].tolist() == [5.0, 6.0, 7.0, 8.0]


def test_a_node_table_has_an_encoding_and_a_decimal_mark_of_its_own() -> None:
    nodes = {"location": "data://n", "separator": ";", "decimal": ",", "encoding": "latin-1"}
    found = CSV.parse_places(source(nodes=nodes), {"n": "id;latitude;longitude\nNørreport;55,68;12,57\n".encode("latin-1")})
    assert (found.ids, found.latitude.tolist(), found.longitude.tolist()) == (("Nørreport",), [55.68], [12.57])


def test_a_segment_across_greenwich_lies_there_when_longitudes_go_from_0_to_360() -> None:
    nodes = {"location": "data://n", "latitude": "a", "longitude": "b", "latitude_end": "c", "longitude_end": "d"}
    found = CSV.parse_places(source(nodes=nodes), {"n": b"id,a,b,c,d\nz,51,359.9,51,0.1\n"})
    assert found.longitude.tolist() == pytest.approx([0.0], abs=1e-9)


def test_a_bad_row_of_a_node_table_is_refused_with_its_place() -> None:
    with pytest.raises(ContractError, match="row 1 of node table n"):
        CSV.parse_places(source(nodes={"location": "data://n"}), {"n": b"id,latitude,longitude\nz,north,1\n"})
