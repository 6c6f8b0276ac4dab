"""What a batch says of the newest values, found by reading each window cell by cell."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from models import api
from models.batch import Context
from models.gather import Gatherer, usual_values
from pipeline.contracts.cubes import NEVER
from pipeline.contracts.windows import DomainWindows, WindowSet
from pipeline.telemetry import QUIET
from tests.unit.models.test_gather import with_patches


def told(d: DomainWindows, issue: int, steps: int) -> dict[str, np.ndarray]:
    """The context of one window as its contract says, step by step."""
    shape, end = d.values_TNV.shape[1:], int(np.searchsorted(d.valid_time_T, issue, side="right")) - 1
    x, seen = np.zeros((steps, *shape), np.float32), np.zeros((steps, *shape), bool)
    last, has, age = np.zeros(shape, np.float32), np.zeros(shape, bool), np.full(shape, steps + 1, np.float32)
    for place, s in enumerate(range(end - steps + 1, end + 1)):
        if s < 0:
            continue
        seen[place] = d.good_TNV[s] & (d.latency_TNV[s] <= issue - d.valid_time_T[s])
        x[place] = np.where(seen[place], d.values_TNV[s], 0)
        for k in range(d.patch_start_T[s], d.patch_start_T[s + 1]):
            if d.patch_known_time[k] <= issue < d.patch_gone_time[k]:
                seen[place, d.patch_node[k], d.patch_variable[k]] = True
                x[place, d.patch_node[k], d.patch_variable[k]] = d.patch_value[k]
        has |= seen[place]
        last = np.where(seen[place], x[place], last)
        steps_ago = np.float32(issue - d.valid_time_T[s]) / np.float32(d.step_seconds)
        age = np.where(seen[place], min(steps_ago, np.float32(steps + 1)), age)
    return {"x_BCNV": x, "seen_BCNV": seen, "last_BNV": last, "has_BNV": has, "age_BNV": age}


def agrees(context: Context, d: DomainWindows, issues: np.ndarray, steps: int) -> None:
    expected = [told(d, int(issue), steps) for issue in issues]
    for name in expected[0]:
        assert np.array_equal(getattr(context, name).numpy(), np.stack([each[name] for each in expected])), name


def holed(d: DomainWindows) -> DomainWindows:
    """Half of all cells are missing, and one node is out for days."""
    chance = np.random.default_rng(3)
    good = d.good_TNV & (chance.random(d.good_TNV.shape) > 0.5)
    good[:, 0] &= (np.arange(len(good)) % 90 < 20)[:, None]
    return replace(d, good_TNV=good, values_TNV=np.where(good, d.values_TNV, np.float32(0)), latency_TNV=np.where(good, 0, NEVER))


def late(d: DomainWindows, latency: np.ndarray) -> DomainWindows:
    return replace(d, latency_TNV=np.where(d.good_TNV, latency, NEVER).astype(np.int32))


def irregular(d: DomainWindows) -> DomainWindows:
    """Steps at any distance, as sessions are."""
    chance = np.random.default_rng(4)
    valid_time_T = d.valid_time_T[0] + np.cumsum(chance.integers(600, 5 * d.step_seconds, len(d.valid_time_T)))
    return replace(d, valid_time_T=valid_time_T, issue_time_W=valid_time_T[d.end_W] + chance.integers(0, 500, len(d.end_W)))


def revised(d: DomainWindows) -> DomainWindows:
    chance = np.random.default_rng(5)
    steps = chance.choice(len(d.valid_time_T) - 9, 150, replace=False)
    of = [(int(s), int(chance.integers(d.good_TNV.shape[1])), int(chance.integers(d.good_TNV.shape[2]))) for s in steps]
    return with_patches(d, *((*cell, 9.5, int(d.valid_time_T[cell[0]]), int(d.valid_time_T[cell[0] + 4])) for cell in of))


CHANGES = {
    "whole": lambda d: d,
    "with holes": holed,
    "late by a step": lambda d: late(holed(d), np.full(d.good_TNV.shape, d.step_seconds + 60)),
    "late each by its own": lambda d: late(holed(d), np.random.default_rng(6).integers(0, 4 * d.step_seconds, d.good_TNV.shape)),
    "a few steps late": lambda d: late(holed(d), (np.random.default_rng(7).random(len(d.good_TNV)) < 0.05)[:, None, None] * 10**6),
    "irregular": lambda d: irregular(holed(d)),
    "revised": lambda d: revised(holed(d)),
}


@pytest.mark.parametrize("often", [True, False])
@pytest.mark.parametrize("change", CHANGES)
def test_a_batch_says_of_every_cell_what_reading_its_window_step_by_step_says(city: WindowSet, change: str, often: bool) -> None:
    for name in ("road", "sky"):
        d = CHANGES[change](city.domains[name])
        gatherer, chance = Gatherer(d, usual_values(d), often=often), np.random.default_rng(8)
        index = np.sort(chance.choice(len(d.end_W), 40, replace=False))
        agrees(gatherer.batch(index).context, d, d.issue_time_W[index], d.context)
        anywhere = chance.integers(d.valid_time_T[0] - 9000, d.valid_time_T[-1] + 9000, 40)
        agrees(gatherer.context_at(anywhere, d.context - 2), d, anywhere, d.context - 2)


def test_bases_and_anchors_are_the_same_whether_newest_values_are_made_beforehand_or_looked_for(city: WindowSet) -> None:
    road = holed(city.domains["road"])
    one, other = (Gatherer(road, usual_values(road), often=often).batch(np.arange(60)) for often in (True, False))
    assert not one.context.has_BNV.all()
    assert torch.equal(one.base_BNV, other.base_BNV)
    assert torch.equal(one.anchor_BLNV, other.anchor_BLNV)


def test_a_node_of_which_nothing_was_ever_heard_is_named_and_still_forecast(city: WindowSet) -> None:
    road = city.domains["road"]
    good = road.good_TNV & (np.arange(len(road.node_ids)) != 2)[:, None]
    deaf = replace(road, good_TNV=good, values_TNV=np.where(good, road.values_TNV, np.float32(0)), latency_TNV=np.where(good, 0, NEVER))
    windows = replace(city, domains={"road": deaf})
    fitted = api.fit(windows, api.resolve_config("tiny", {"epochs": 1, "steps": 2, "least_steps": 2}), seed=0, progress=QUIET)
    assert any("1 of 5 nodes hold no value (road-2)" in note for note in fitted.meta["notes"])
    found = api.load(fitted.state, fitted.meta).predict(windows, "road", deaf.windows_of("test")[:2])
    assert np.isfinite(found.quantiles_BLNVQ).all()
