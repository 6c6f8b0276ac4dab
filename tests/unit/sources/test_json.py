"""JSON and JSON lines, with known answers."""

from __future__ import annotations

import gzip
import json
from typing import Any

import numpy as np
import pytest

from pipeline.errors import ConfigError, ContractError
from pipeline.sources.adapter import Readings
from pipeline.sources.json import JsonAdapter
from tests.unit.sources.made import at, source

LONG = {"time": "t", "node_column": "n"}
GOOD = {"t": "2020-03-01T00:00:00Z", "n": "x", "a": 1.5}


def parse(content: Any, name: str = "x.json", **options: Any) -> Readings:
    data = content if isinstance(content, bytes) else json.dumps(content).encode()
    found = JsonAdapter().parse(source("json", {**LONG, **options}), {name: data})
    assert found.raw_rows == len(found) + len(found.rejected)
    return found


def test_records_of_a_document_are_rows_wherever_the_list_lies() -> None:
    rows = [GOOD, {**GOOD, "t": "2020-03-01T02:00:00+01:00", "n": "y", "a": "2"}]
    for found in (parse(rows), parse({"data": {"items": rows}}, records="data.items"), parse(gzip.compress(json.dumps(rows).encode()))):
        assert [found.node_ids[i] for i in found.node] == ["x", "y"]
        assert found.valid_time.tolist() == [at("2020-03-01T00:00"), at("2020-03-01T01:00")]
        assert found.values["a"].tolist() == [1.5, 2.0]


def test_lines_are_rows_and_a_bad_line_is_rejected_alone() -> None:
    lines = [json.dumps(GOOD), "{broken", "[1]", json.dumps({**GOOD, "a": 7})]
    found = parse("\n".join(lines).encode(), lines=True)
    assert found.values["a"].tolist() == [1.5, 7.0]
    assert found.row.tolist() == [1, 4]
    assert found.rejected.row == (2, 3)
    assert found.rejected.raw[0] == "{broken"


def test_values_may_lie_deeper_and_be_missing() -> None:
    read = source("json", LONG, {"a": {"column": "wind.speed", "unit": "m/s"}})
    rows = [{**GOOD, "wind": {"speed": 3}}, {**GOOD, "wind": {}}, {**GOOD, "wind": None}, {k: v for k, v in GOOD.items() if k != "a"}]
    found = JsonAdapter().parse(read, {"x.json": json.dumps(rows).encode()})
    assert found.values["a"][0] == 3
    assert np.isnan(found.values["a"][1:]).all()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"a": "fast"}, "'fast' is no number"),
        ({"a": True}, "'true' is no number"),
        ({"a": [1]}, "a list, no value"),
        ({"a": {"b": 1}}, "a dict, no value"),
        ({"a": "=1+1"}, "is no number"),
        ({"t": "soon"}, "is no stamp"),
        ({"t": None}, "no stamp"),
        ({"n": ""}, "no node"),
        ({"n": "x\0"}, "NUL"),
        ({"t": "9999-01-01T00:00:00Z"}, "outside 1970 .. 2100"),
        ({"n": "y" * 70000}, "more than 65536"),
    ],
)
def test_a_record_that_breaks_a_rule_is_rejected_alone_with_its_reason(change: dict[str, Any], reason: str) -> None:
    found = parse([GOOD, {**GOOD, **change}, {**GOOD, "a": 8}])
    assert found.values["a"].tolist() == [1.5, 8.0]
    assert found.rejected.row == (2,)
    assert reason.replace("stamp", "") in found.rejected.reason[0].replace("instant", "").replace("stamp", "")


def test_a_number_beyond_float64_is_rejected() -> None:
    data = b'[{"t":"2020-03-01T00:00:00Z","n":"x","a":1e999},{"t":"2020-03-01T00:00:00Z","n":"x","a":1}]'
    assert parse(data).rejected.reason == ("column 'a': '1e999' is no number",)


@pytest.mark.parametrize(
    "data",
    [b"[", b'[{"t":', b"", b"NaN", b'[{"a":NaN}]', b"[" * 200_000, b"\xff\xfe", b"<html>", b'{"data":1}', b"1e5"],
)
def test_a_document_that_is_not_whole_is_refused_with_the_file_named(data: bytes) -> None:
    with pytest.raises(ContractError, match=r"x\.json"):
        parse(data)


def test_a_key_that_all_records_lack_names_it_and_the_nearest() -> None:
    with pytest.raises(ContractError, match=r"column 'a' of x\.json") as caught:
        parse([{"t": "2020-03-01T00:00:00Z", "n": "x", "A": 1}])
    assert "A" in caught.value.found


def test_a_list_that_is_not_where_the_world_says_is_refused() -> None:
    with pytest.raises(ContractError, match="key 'items'"):
        parse({"data": {}}, records="data.items")


@pytest.mark.parametrize("options", [{"time": "t"}, {**LONG, "lines": True, "records": "x"}, {**LONG, "record": "x"}])
def test_wrong_options_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="options"):
        JsonAdapter().check(source("json", options))
