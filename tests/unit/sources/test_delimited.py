"""Lines are counted as they are read."""

from __future__ import annotations

import pyarrow as pa
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipeline.sources.columns import Dialect
from pipeline.sources.delimited import _all_lines, _fast, _lines, _short_lines
from pipeline.sources.delimited_lines import MAX_LINE, data_lines


@given(st.text("\n\ra,", max_size=9))
def test_the_lines_that_are_not_empty_are_counted(text: str) -> None:
    assert _lines(text.encode()) == len(data_lines(text.encode(), Dialect(columns=("a",))))


def test_a_line_that_is_too_long_is_told_wherever_it_lies() -> None:
    short, long = b"a" * 100 + b"\n", b"b" * (MAX_LINE + 1)
    assert _short_lines(short * 2000 + b"b" * MAX_LINE)
    for text in (long, long + b"\n" + short, short * 2000 + long, short * 2000 + long + b"\n" + short):
        assert not _short_lines(text)


@given(st.text('1,\r\n"', max_size=14))
@example("1,1\r\r\n1,1")
@example("1,1\n\r\r\n1\r1,1")
@example("\n,\r,")
@example('1,"1\n1,1\n1,1"')
@settings(deadline=None)
def test_a_file_is_read_at_once_only_where_each_line_is_one_row(text: str) -> None:
    data = b"a,b\n" + text.encode()
    try:
        found = _fast(data, {"a": "text", "b": "text"}, Dialect(), "f")
    except pa.ArrowInvalid:
        return
    assert _all_lines(data, found.raw_rows + 1) == (found.raw_rows + 1 == _lines(data))
