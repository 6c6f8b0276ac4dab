"""The probability that is scored is the one that was published."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pipeline.contracts.forecasts import Forecast
from pipeline.steps.verify import score_forecast
from pipeline.verification.events import happened
from pipeline.verification.metrics import EventRow, event_rows
from pipeline.verification.statistics import Statistics
from tests.browser.demo import ISSUE_TIME, demo_page

PAGE = demo_page(nodes={"traffic": 9, "weather": 1, "parking": 2, "market": 3})
BEFORE = PAGE.earlier[0].forecast
EVENTS = PAGE.world.domains["traffic"].events


def _rows(forecast: Forecast) -> dict[str, EventRow]:
    record = score_forecast(PAGE.world, forecast, {"traffic": PAGE.cubes["traffic"]}, ISSUE_TIME)
    rows = event_rows(Statistics.from_json(record["statistics"]))
    return {r.event.split(" ")[0]: r for r in rows if (r.model, r.lead, r.kind) == ("published", 0, "")}


def test_brier_hits_and_false_alarms_are_of_the_published_probability() -> None:
    random = np.random.default_rng(1)
    traffic = BEFORE.domains["traffic"]
    told = {name: random.random(p.shape).astype(np.float32) for name, p in traffic.events.items()}
    found = _rows(replace(BEFORE, domains={"traffic": replace(traffic, events=told)}))
    cube = PAGE.cubes["traffic"]
    at = np.searchsorted(cube.valid_time, traffic.valid_time_L)
    for name, event in EVENTS.items():
        values = cube.values_TNV[at][..., traffic.variables.index(event.variable)]
        good, came, p = np.isfinite(values), happened(event, values), told[name].astype(np.float64)
        assert found[name].n == good.sum()
        assert found[name].brier == pytest.approx(np.square(p - came)[good].mean())
        warned = (p >= event.warn_at) & good
        assert found[name].pod == pytest.approx((warned & came).sum() / came.sum())
        assert found[name].far == pytest.approx((warned & ~came).sum() / warned.sum())
