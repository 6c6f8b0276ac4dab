"""The tables of a scorecard: everything that statistics say, as rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pipeline.verification.differences import difference_rows
from pipeline.verification.metrics import event_rows, score_rows, slice_rows
from pipeline.verification.statistics import Statistics

TABLES: Mapping[str, Callable[[Statistics], tuple[Any, ...]]] = {
    "rows": score_rows,
    "slices": slice_rows,
    "events": event_rows,
    "differences": difference_rows,
}
"""The whole by lead, its parts, what came of warnings, and the joint model against its rivals."""


def tables_of(statistics: Statistics) -> dict[str, Any]:
    """The rows of each of `TABLES`, as the fields of a scorecard."""
    return {name: make(statistics) for name, make in TABLES.items()}
