"""Every file of the hostile corpus: nothing accepted wrong, no hang, memory within limits, each rejection with file, place, rule and mend.

What each rejection says is in hostile_rules.json. Renew on purpose: `python -m tests.unit.sources.test_hostile`.
"""

from __future__ import annotations

import importlib.util
import json
import re
import resource
import time
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.errors import ContractError
from pipeline.quality.screen import screen
from pipeline.sources.adapter import Readings
from pipeline.sources.mends import mend_of
from pipeline.sources.registry import adapter_named
from tests.unit.sources.hostile import Hostile, corpus
from tests.unit.sources.hostile_arrays import array_corpus
from tests.unit.sources.made import source

RULES = Path(__file__).with_name("hostile_rules.json")
LONGEST = 5.0
MOST_MEMORY = 1.5 * 2**30
EXTRAS = {"grib": "eccodes", "images": "rasterio"}
WHOLE = [*corpus(), *(array_corpus() if importlib.util.find_spec("rasterio") else ())]
CORPUS = [h for h in WHOLE if h.adapter not in EXTRAS or importlib.util.find_spec(EXTRAS[h.adapter]) is not None]


def test_the_corpus_is_large_and_its_names_are_unique() -> None:
    assert len({h.name for h in CORPUS}) == len(CORPUS) >= 120


@pytest.mark.parametrize("hostile", CORPUS, ids=lambda h: h.name)
def test_it_gets_what_it_deserves(hostile: Hostile) -> None:
    before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
    found = taken(hostile, hostile.data)
    assert time.monotonic() - began < LONGEST
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 < MOST_MEMORY
    known = json.loads(RULES.read_text()).get(kind_of(hostile), [])
    assert [line for line in said(found) if hostile.fate != "survived" and line not in known] == []
    if isinstance(found, ContractError):
        assert hostile.fate in ("refused", "survived"), found
        assert hostile.file in found.asked
        assert found.found
        assert found.mend
        return
    assert hostile.fate != "refused", f"{len(found)} readings taken"
    assert found.raw_rows == len(found) + len(found.rejected)
    if hostile.fate == "survived":
        _check_survivor(hostile, found)
    else:
        _check_rows(hostile, found)


def taken(hostile: Hostile, data: bytes) -> Readings | ContractError:
    variables = {"a": {"column": hostile.column or "a", "unit": "count", **hostile.variable}}
    try:
        return adapter_named(hostile.adapter).parse(source(hostile.adapter, hostile.options, variables), {hostile.file: data})
    except ContractError as error:
        return error


def kind_of(hostile: Hostile) -> str:
    """Its name without the places of damage, which move with the libraries that made the file."""
    return re.sub(r" at -?\d+%?$", "", hostile.name)


def said(found: Readings | ContractError) -> list[str]:
    """What each rejection says: the file and the place in it, the rule, the mend; of whole files the rule is a library's words."""
    if isinstance(found, ContractError):
        asked = re.sub(r"\(\d+ bytes\)", "(… bytes)", found.asked)
        return [f"{asked} -> {found.mend}"]
    bad = found.rejected
    return [f"{f} row {n}: {rule} -> {mend_of(rule)}" for f, n, rule in zip(bad.file, bad.row, bad.reason, strict=True)]


def _check_survivor(hostile: Hostile, found: Readings) -> None:
    """Damage that no checksum shows is not in what is taken, but for values that the file itself says."""
    whole = taken(hostile, hostile.whole)
    assert isinstance(whole, Readings)
    for name in ("node_ids", "grid", "raw_rows"):
        assert getattr(found, name) == getattr(whole, name)
    for name in ("node", "valid_time", "row"):
        assert np.array_equal(getattr(found, name), getattr(whole, name))
    assert np.count_nonzero(_bits(found.values["a"]) != _bits(whole.values["a"])) <= hostile.bent


def _bits(values: NDArray[np.float64]) -> NDArray[np.int64]:
    return np.where(np.isnan(values), np.nan, values).view(np.int64)


def _check_rows(hostile: Hostile, found: Readings) -> None:
    assert found.rejected.row == (hostile.bad if hostile.fate == "rejected" else ())
    assert set(found.rejected.file) <= {hostile.file}
    assert all(len(raw) < 700 for raw in found.rejected.raw)
    assert "compare" not in {mend_of(rule).split()[0] for rule in found.rejected.reason}
    assert set(found.row.tolist()).isdisjoint(found.rejected.row)
    declared = source("csv", {}, {"a": {"unit": "count", **hostile.variable}}).variables
    screened = screen(
        {"a": found.values["a"]},
        declared,
        node=found.node,
        valid_time=found.valid_time,
        punctual=np.ones(len(found), np.bool_),
        received_time=2**40,
    )["a"]
    masked = (screened.flags > 0) | np.isnan(screened.values)
    assert tuple(None if gone else value for gone, value in zip(masked, screened.values.tolist(), strict=True)) == hostile.values


if __name__ == "__main__":
    lines: dict[str, set[str]] = {}
    for one in (h for h in WHOLE if h.fate in ("refused", "rejected")):
        lines.setdefault(kind_of(one), set()).update(said(taken(one, one.data)))
    RULES.write_text(json.dumps({kind: sorted(found) for kind, found in lines.items()}, indent=1, ensure_ascii=False) + "\n")
