from __future__ import annotations

import numpy as np
import pytest

from pipeline.contracts.forecasts import QUANTILES
from pipeline.contracts.judging import Event
from pipeline.verification.events import event_probability, event_rows, happened

HOT, COLD = Event(variable="t", above=30.0), Event(variable="t", below=30.0)
FLAT = np.linspace(10, 16, 7, dtype=np.float32)


def test_an_event_is_strictly_beyond_its_threshold_and_never_where_nothing_is_known() -> None:
    values = np.array([29, 30, 31, np.nan], np.float32)
    assert happened(HOT, values).tolist() == [False, False, True, False]
    assert happened(COLD, values).tolist() == [True, False, False, False]


@pytest.mark.parametrize(("threshold", "above"), [(10, 0.95), (13, 0.5), (12.5, 0.625), (16, 0.025), (9, 0.975), (17, 0.025)])
def test_probability_is_linear_between_quantiles_and_half_a_level_beyond_them(threshold: float, above: float) -> None:
    assert event_probability(Event(variable="t", above=threshold), FLAT) == pytest.approx(above)
    below = {10: 0.025, 16: 0.95}.get(threshold, 1 - above)
    assert event_probability(Event(variable="t", below=threshold), FLAT) == pytest.approx(below)


def test_a_mass_at_the_threshold_is_not_beyond_it() -> None:
    q = np.array([0, 0, 0, 0, 0, 1, 2], np.float32)
    assert event_probability(Event(variable="rain", above=0.0), q) == pytest.approx(0.25)
    assert len(q) == len(QUANTILES)


def test_columns_without_a_common_node_are_counted_together_as_each_is_alone() -> None:
    random = np.random.default_rng(4)
    shape, event = (3, 4, 50), Event(variable="t", above=0.5, warn_at=0.4)
    told, truth, good = random.random(shape), random.random(shape), random.random(shape) > 0.2
    region_WN, state_WN = random.integers(0, 3, (3, 50)), random.integers(0, 3, (3, 50))  # the last state has no column
    members = np.stack([region_WN == 0, region_WN == 1, region_WN == 2, state_WN == 0, state_WN == 1], axis=-1).astype(float)
    whole, parts = event_rows(event, told, truth, good, None, members, (3, 2))
    alone, each = event_rows(event, told, truth, good, None, members)
    np.testing.assert_array_equal(whole, alone)
    np.testing.assert_array_equal(parts, each)
    np.testing.assert_allclose(parts[:, :, :3].sum(axis=2), whole, rtol=1e-12)
