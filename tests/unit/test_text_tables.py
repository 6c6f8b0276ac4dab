"""Tables as text: what may be broken into lines, and what may not."""

from __future__ import annotations

from pipeline.text_tables import table


def test_figures_are_never_broken_however_many_columns_there_are_and_words_are() -> None:
    titles = ("target", "reason", *(f"n{k}" for k in range(20)))
    row = ("traffic average_speed", "so many words that they cannot all stand in one line beside the figures", *["12,360,932"] * 20)
    lines = table(titles, [row]).splitlines()
    assert lines[1].count("12,360,932") == 20
    assert lines[1].startswith("traffic average_speed")
    assert len(lines) > 2


def test_a_table_that_fits_is_as_wide_as_its_content() -> None:
    assert table(("by", "n"), [("joint", "1"), ("ridge", "12")]).splitlines() == ["by      n", "joint   1", "ridge  12"]
