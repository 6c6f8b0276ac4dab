"""Lines are counted as they are read."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pipeline.sources.columns import Dialect
from pipeline.sources.delimited import _lines, _short_lines
from pipeline.sources.delimited_lines import MAX_LINE, data_lines


@given(st.text("\n\ra,", max_size=9))
def test_the_lines_that_are_not_empty_are_counted(text: str) -> None:
    assert _lines(text.encode()) == len(data_lines(text.encode(), Dialect(columns=("a",))))


def test_a_line_that_is_too_long_is_told_wherever_it_lies() -> None:
    short, long = b"a" * 100 + b"\n", b"b" * (MAX_LINE + 1)
    assert _short_lines(short * 2000 + b"b" * MAX_LINE)
    for text in (long, long + b"\n" + short, short * 2000 + long, short * 2000 + long + b"\n" + short):
        assert not _short_lines(text)
