from __future__ import annotations

import numpy as np
import pytest

from pipeline.contracts.forecasts import QUANTILES
from pipeline.contracts.judging import Event
from pipeline.verification.events import event_probability, happened

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
