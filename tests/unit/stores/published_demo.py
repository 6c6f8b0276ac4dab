"""A made-up forecast put into a store as the publish step does it, without a world's cubes."""

from __future__ import annotations

from typing import Any

from pipeline.contracts.forecasts import Forecast
from pipeline.publishing.event_tables import told_of
from pipeline.steps.publish import put_tables
from pipeline.stores.forecast_arrays import ForecastArrays, Rows
from pipeline.stores.forecast_format import DomainForm
from pipeline.stores.forecasts import ForecastStore
from pipeline.stores.objects import ObjectStore
from pipeline.stores.published import PublishedStore
from pipeline.telemetry import QUIET
from tests.browser.demo import demo_page

STEPS = {"traffic": 300, "weather": 3600, "parking": 1800, "market": 86400}
PAGE = demo_page(nodes={"traffic": 7, "weather": 1, "parking": 3, "market": 4})
FORECAST = PAGE.forecast


def form_of(forecast: Forecast, domain: str) -> DomainForm:
    d = forecast.domains[domain]
    leads = tuple(STEPS[domain] * (i + 1) for i in range(len(d.lead_time_L)))
    labels = {v: {"long_name": v.replace("_", " ")} for v in d.variables} | {"temperature": {"standard_name": "air_temperature"}}
    units = dict(zip(d.variables, d.units, strict=True))
    return DomainForm(
        domain=domain,
        title=domain.title(),
        nominal_leads=leads,
        units=units,
        labels=labels,
        events=told_of(d, PAGE.world.domains[domain].events),
    )


def rows_of(forecast: Forecast, revision: int = 0, digest: str | None = None) -> Rows:
    return Rows(
        forecast=forecast,
        revision=revision,
        digest=digest or f"digest-of-{forecast.issue_time}-{revision}",
        forms={name: form_of(forecast, name) for name in forecast.domains},
        places={name: PAGE.cubes[name].nodes for name in forecast.domains},
    )


def publish(objects: ObjectStore, forecast: Forecast = FORECAST) -> dict[str, Any]:
    """Issue and publish a forecast of the world `demo`; its record."""
    published = PublishedStore(objects, "demo")
    issued, _ = ForecastStore(objects, "demo").add(forecast)
    record, _ = put_tables(PAGE.world, published, forecast, issued, QUIET)
    ForecastArrays(objects.root, "demo").put(rows_of(forecast, issued.revision, issued.digest))
    published.commit(forecast.issue_time, record)
    published.renew_latest()
    return record
