"""Local time and sessions against zoneinfo and known closes."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.sources.adapter import NO_TIME
from pipeline.sources.stamps import local_to_utc, session_closes, utc_offsets

ZONES = ["Europe/Copenhagen", "America/Chicago", "Australia/Lord_Howe", "Asia/Kolkata", "Pacific/Apia", "UTC"]


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(ZONES), st.integers(1_262_304_000, 1_767_225_600))
def test_local_time_agrees_with_zoneinfo(zone: str, second: int) -> None:
    moment = datetime.fromtimestamp(second, UTC).astimezone(ZoneInfo(zone))
    wall = np.array([int(moment.replace(tzinfo=UTC).timestamp())], np.int64)
    first, _ = local_to_utc(wall, zone, "first")
    last, _ = local_to_utc(wall, zone, "second")
    assert second == (last if moment.fold else first)[0]
    assert utc_offsets(np.array([second]), zone)[0] == moment.utcoffset().total_seconds()


def test_the_skipped_hour_has_no_instant_and_its_edges_have() -> None:
    wall = np.array(
        [datetime(2014, 3, 30, h, m, s, tzinfo=UTC).timestamp() for h, m, s in [(1, 59, 59), (2, 0, 0), (2, 59, 59), (3, 0, 0)]]
    )
    utc, twice = local_to_utc(wall.astype(np.int64), "Europe/Copenhagen", "first")
    assert (utc == NO_TIME).tolist() == [False, True, True, False]
    assert utc[3] - utc[0] == 1
    assert not twice.any()


def test_the_repeated_hour_is_first_second_or_refused() -> None:
    wall = np.array([int(datetime(2014, 10, 26, 2, 30, tzinfo=UTC).timestamp())])
    first, _ = local_to_utc(wall, "Europe/Copenhagen", "first")
    second, _ = local_to_utc(wall, "Europe/Copenhagen", "second")
    none, twice = local_to_utc(wall, "Europe/Copenhagen", "reject")
    assert second[0] - first[0] == 3600
    assert none[0] == NO_TIME
    assert twice[0]


@pytest.mark.parametrize(
    ("day", "close"),
    [
        ("2014-07-01", "2014-07-01T20:00"),
        ("2014-12-01", "2014-12-01T21:00"),
        ("2014-07-03", "2014-07-03T17:00"),
        ("2014-12-24", "2014-12-24T18:00"),
        ("2014-12-25", None),
        ("2014-11-29", None),
        ("2012-10-29", None),
    ],
)
def test_sessions_close_when_the_exchange_says(day: str, close: str | None) -> None:
    found = session_closes(np.array([day], "datetime64[D]").astype(np.int64), "XNYS")
    assert found[0] == (NO_TIME if close is None else np.datetime64(close, "s").astype(np.int64))
