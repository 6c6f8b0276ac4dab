"""Every rule that rows are rejected by has a mend of its own; those of the hostile corpus are in its test."""

import numpy as np
import pyarrow as pa
import pytest

from pipeline.quality.acceptance import document_faults, run_faults
from pipeline.sources.mends import mend_of
from pipeline.sources.row_options import StampOptions
from pipeline.sources.rows import time_fault

OPTIONS = StampOptions(time="t", time_format="epoch_s", calendar=None)
NONE = np.zeros(0, np.int64)
RULES = [
    *(time_fault(code, OPTIONS, "Europe/London") for code in range(1, 8)),
    *run_faults(NONE, NONE, 3600),
    *document_faults(pa.array([], pa.string()), 100),
    "column 'p': nonsense as epoch_s, sensible as epoch_ms: correct options.published_format",
    "column 'p': a stamp outside 1970 .. 2100",
    "a bar that is not closed yet",
    "no node",
]


@pytest.mark.parametrize("rule", RULES)
def test_a_rule_has_a_mend_of_its_own(rule: str) -> None:
    assert mend_of(rule) != mend_of("something new")
