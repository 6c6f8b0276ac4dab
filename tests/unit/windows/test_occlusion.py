"""Hidden inputs are hidden, and nothing else is."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest

from pipeline.contracts.windows import DomainWindows, WindowSet
from pipeline.windows.occlusion import blocks_of, regions_of, without_cells, without_history
from pipeline.windows.regimes import known_at
from tests.unit.models.conftest import road, shop, sky
from tests.unit.models.planted import together


@pytest.fixture(scope="module")
def city() -> WindowSet:
    return together(road(days=4), sky(days=4), shop())


def _changed(one: DomainWindows, other: DomainWindows) -> set[str]:
    arrays = [f.name for f in fields(one) if isinstance(getattr(one, f.name), np.ndarray)]
    return {name for name in arrays if not np.array_equal(getattr(one, name), getattr(other, name), equal_nan=True)}


def test_hidden_cells_hold_no_value_and_all_others_are_as_before(city: WindowSet) -> None:
    hidden = without_cells(city, "road", 100, 104, np.array([1, 3]))
    before, after = city.domains["road"], hidden.domains["road"]
    assert _changed(before, after) <= {"values_TNV", "good_TNV", "latency_TNV"}
    assert not after.good_TNV[100:104, [1, 3]].any()
    assert (after.values_TNV[100:104, [1, 3]] == 0).all()
    index = np.flatnonzero(before.end_W == 103)
    seen = [np.isfinite(known_at(view, index).newest_WNV[0]) for view in (before, replace(after, context=4))]
    assert seen[0].all()
    assert seen[1].all(axis=1).tolist() == [True, False, True, False, True]
    mask = np.ones(before.good_TNV.shape, bool)
    mask[100:104, [1, 3]] = False
    assert (after.good_TNV[mask] == before.good_TNV[mask]).all()
    assert hidden.domains["sky"] is city.domains["sky"]
    assert before.good_TNV[100:104, [1, 3]].any()


def test_versions_that_were_revised_later_are_hidden_too(city: WindowSet) -> None:
    view = city.domains["road"]
    steps = np.array([99, 101, 101, 110], np.int32)
    view = replace(
        view,
        patch_start_T=np.searchsorted(steps, np.arange(len(view.valid_time_T) + 1)).astype(np.int64),
        patch_step=steps,
        patch_node=np.array([1, 0, 1, 1], np.int32),
        patch_variable=np.zeros(4, np.int16),
        patch_value=np.arange(4, dtype=np.float32),
        patch_known_time=np.zeros(4, np.int64),
        patch_gone_time=np.full(4, 10**12, np.int64),
    )
    found = without_cells(replace(city, domains={"road": view}), "road", 100, 104, np.array([1])).domains["road"]
    assert found.patch_value.tolist() == [0, 1, 3]
    assert [found.patch_start_T[s] for s in (99, 100, 101, 102, 110, 111)] == [0, 1, 1, 2, 2, 3]


def test_hidden_history_leaves_the_context(city: WindowSet) -> None:
    after = without_history(city, "road").domains["road"]
    assert _changed(city.domains["road"], after) == {"history_TNVK", "history_good_TNVK", "coarse_TNV", "coarse_good_TNV"}
    assert not after.history_good_TNVK.any()


@pytest.mark.parametrize(("context", "most"), [(8, 4), (5, 4), (3, 4), (1, 4)])
def test_blocks_cover_the_context_once(city: WindowSet, context: int, most: int) -> None:
    blocks = blocks_of(replace(city.domains["road"], context=context), most)
    covered = [step for old, new in blocks for step in range(new, old)]
    assert sorted(covered) == list(range(context))
    assert len(blocks) == min(most, context)
    assert blocks[-1][1] == 0


def test_regions_are_of_about_equal_size_and_near_each_other(city: WindowSet) -> None:
    position = np.stack(np.meshgrid(np.linspace(0, 1, 6), np.linspace(0, 1, 6)), -1).reshape(-1, 2).astype(np.float32)
    view = replace(city.domains["road"], node_ids=tuple(map(str, range(36))), position_N2=position)
    region = regions_of(view, 4)
    assert sorted(np.bincount(region)) == [9, 9, 9, 9]
    assert all(np.ptp(position[region == r], axis=0).max() < 0.5 for r in range(4))
    assert (regions_of(replace(view, position_N2=np.zeros_like(position)), 4) == -1).all()
    assert sorted(regions_of(city.domains["road"], 8)) == [0, 1, 2, 3, 4] or (regions_of(city.domains["road"], 8) == -1).all()
