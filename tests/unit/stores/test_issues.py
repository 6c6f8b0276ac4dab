from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.stores.issues import IssueLogs
from pipeline.stores.objects import ObjectStore

HOUR, MONTH = 3600, 31 * 86400
START = 1700000000


@pytest.fixture
def logs(tmp_path: Path) -> IssueLogs:
    return IssueLogs(ObjectStore(str(tmp_path)), "a/issues")


def test_issue_times_come_back_in_order_however_they_were_recorded(logs: IssueLogs) -> None:
    times = [START + HOUR * k + MONTH * m for m in (3, 0, 1) for k in (2, 0, 1)]
    for t in times:
        logs.log(t).append({"at": t}, expected=0)
    assert logs.times() == sorted(times)
    assert logs.times(since=START + MONTH + HOUR) == [t for t in sorted(times) if t >= START + MONTH + HOUR]
    assert logs.newest() == [max(times)]
    assert logs.newest(5) == sorted(times)[-5:]
    assert logs.log(START).newest() == {"at": START}


def test_a_folder_that_a_dying_writer_left_is_no_issue_time(logs: IssueLogs, tmp_path: Path) -> None:
    (tmp_path / logs.place(START)).mkdir(parents=True)
    assert logs.times() == []
    assert logs.newest() == []
    assert "at no instant yet" in logs.around(START)


def test_the_newest_of_thousands_is_found_in_its_month_alone(logs: IssueLogs, monkeypatch: pytest.MonkeyPatch) -> None:
    for m in range(12):
        logs.log(START + MONTH * m).append({}, expected=0)
    listed: list[str] = []
    whole = ObjectStore.list

    def counting(self: ObjectStore, prefix: str) -> list[str]:
        listed.append(prefix)
        return whole(self, prefix)

    monkeypatch.setattr(ObjectStore, "list", counting)
    assert logs.newest() == [START + MONTH * 11]
    assert len(listed) == 1
