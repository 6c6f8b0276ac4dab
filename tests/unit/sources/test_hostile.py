"""Every file of the hostile corpus: nothing accepted wrong, no hang, memory within limits, each rejection with place, rule and mend."""

from __future__ import annotations

import importlib.util
import resource
import time

import numpy as np
import pytest

from pipeline.errors import ContractError
from pipeline.sources.adapter import Readings
from pipeline.sources.registry import adapter_named
from tests.unit.sources.hostile import Hostile, corpus
from tests.unit.sources.hostile_arrays import array_corpus
from tests.unit.sources.made import source

LONGEST = 5.0
MOST_MEMORY = 1.5 * 2**30
EXTRAS = {"grib": "eccodes", "images": "rasterio"}
WHOLE = [*corpus(), *(array_corpus() if importlib.util.find_spec("rasterio") else ())]
CORPUS = [h for h in WHOLE if h.adapter not in EXTRAS or importlib.util.find_spec(EXTRAS[h.adapter]) is not None]


def test_the_corpus_is_large_and_its_names_are_unique() -> None:
    assert len({h.name for h in CORPUS}) == len(CORPUS) >= 120


@pytest.mark.parametrize("hostile", CORPUS, ids=lambda h: h.name)
def test_it_gets_what_it_deserves(hostile: Hostile) -> None:
    variables = {"a": {"column": hostile.column or "a", "unit": "count"}}
    made = source(hostile.adapter, hostile.options, variables)
    before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
    found: Readings | ContractError
    try:
        found = adapter_named(hostile.adapter).parse(made, {hostile.file: hostile.data})
    except ContractError as error:
        found = error
    assert time.monotonic() - began < LONGEST
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 < MOST_MEMORY
    if isinstance(found, ContractError):
        assert hostile.fate in ("refused", "survived"), found
        assert hostile.file in found.asked
        assert found.found
        assert found.mend
        return
    assert hostile.fate != "refused", f"{len(found)} readings taken"
    assert found.raw_rows == len(found) + len(found.rejected)
    assert not np.isinf(found.values["a"]).any()
    if hostile.fate != "survived":
        _check_rows(hostile, found)


def _check_rows(hostile: Hostile, found: Readings) -> None:
    assert found.rejected.row == (hostile.bad if hostile.fate == "rejected" else ())
    assert set(found.rejected.file) <= {hostile.file}
    assert all(found.rejected.reason)
    assert all(len(raw) < 700 for raw in found.rejected.raw)
    assert set(found.row.tolist()).isdisjoint(found.rejected.row)
    assert set(found.values["a"][~np.isnan(found.values["a"])].tolist()) <= {1.0, 2.0, 3.0}
