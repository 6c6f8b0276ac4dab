"""What to do about a rejected row, by the rule that it broke."""

from __future__ import annotations

import re

_RULES: tuple[tuple[str, str], ...] = (
    (r"\d+ fields, not \d+", "if all rows are so, correct options.separator; else ask the provider for that row again"),
    (r"(column|key) .*: a NUL byte|a NUL (byte|character)", "ask the provider for the file again: it was damaged on its way, or before"),
    (r".*a (line|text) of \d+ bytes, more than", "correct options.separator, or ask the provider what that row is"),
    (r"bytes that are not ", "correct options.encoding"),
    (r"broken quoting", "ask the provider to close and to double its quotes; where texts go over several lines, for JSON or Parquet"),
    (
        r"column '.*': '.*' is no number",
        "list the text in options.nulls if it stands for a missing value; correct options.decimal if it is a number",
    ),
    (r"column '.*': '.*' is no (stamp|instant)", "correct time_format in the options; stamps with and without a zone cannot be mixed"),
    (r"column '.*': (nonsense as epoch_|a stamp outside)", "correct options.published_format, or name another column of that time"),
    (r"column '.*': .* is no ", "give the variable the column of numbers in its `column`"),
    (r"no stamp$|no start of the run", "correct the column of stamps in the options, or ask the provider why the row has none"),
    (r"a stamp outside 1970 \.\. 2100", "correct time_format in the options, or the file's units of time"),
    (r"a stamp that .* skips", "correct timezone: clocks never showed that hour there"),
    (r"a stamp that .* passes twice", "set options.ambiguous to 'first' or 'second'"),
    (r"not a session of ", "correct options.calendar, or ask the provider why it traded on a holiday"),
    (r"nonsense as epoch_", "correct options.time_format"),
    (r"no node$", "correct the options that name a row's node, or ask the provider which place the row is of"),
    (r"no JSON", "ask the provider for the file again, or drop lines = true if it is one document"),
    (r"a \w+, no object", "correct options.records to the path of the list of records"),
    (r"key '.*': a \w+, no value", "name the value inside it: column = 'outer.inner'"),
    (r"a run that starts off the cycle", "correct runs to how long after each other they start, or options.init"),
    (r"valid before its run starts", "correct options.init, time and timezone: a forecast speaks of what comes after its start"),
    (r"no text$", "nothing: a document without a text says nothing"),
    (r"a text of more than \d+ characters", "raise text.longest, or correct text.column"),
    (r"a bar that is not closed yet", "nothing: it comes again when it has closed"),
    (r"duplicate$", "nothing: the reading is there already"),
)


def mend_of(rule: str) -> str:
    """What to do about rows that were rejected for breaking this rule; what is only known to be odd is to be looked at."""
    return next((mend for pattern, mend in _RULES if re.match(pattern, rule)), "compare the row with what the provider documents")
