"""publish: a forecast as Zarr and Parquet for programs, and as a page for people."""

from __future__ import annotations

from typing import Any

from pipeline.api import PublishRequest, Receipt
from pipeline.contracts.forecasts import Forecast
from pipeline.contracts.times import from_seconds, to_seconds
from pipeline.contracts.world_files import load_world
from pipeline.contracts.worlds import World
from pipeline.publishing.tables import forecast_table, parquet_bytes
from pipeline.publishing.words import label_text
from pipeline.settings import Settings
from pipeline.steps import reading
from pipeline.steps.pages import write_page
from pipeline.stores.forecasts import ForecastStore
from pipeline.stores.objects import ObjectStore
from pipeline.stores.published import PublishedStore
from pipeline.telemetry import Progress


def run(request: PublishRequest, settings: Settings, progress: Progress) -> Receipt:
    """The products of the newest revision of the forecast issued at `as_of`, visible together, and its page.

    Raises:
        NotYetAvailable: Nothing was issued at that instant.
    """
    world = load_world(request.world)
    objects = ObjectStore(settings.store)
    forecasts, published = ForecastStore(objects, world.name), PublishedStore(objects, world.name)
    issue_time = to_seconds(request.as_of)
    issued = forecasts.newest(issue_time)
    record = published.record(issue_time)
    fresh = record is None or record["forecast"] != issued.digest
    if record is None or fresh:
        record = _products(world, settings, forecasts.read(issue_time), issued.revision, issued.digest, published, progress)
        published.commit(issue_time, record)
    renewed = published.renew_latest()
    with progress.stage("page", 1, "pages") as stage:
        page = write_page(world, settings, issue_time)
        stage.advance()
    return Receipt(
        step=request.step,
        world=world.name,
        as_of=request.as_of,
        outcome="done" if fresh or renewed or page.changed else "unchanged",
        ids={"forecast": issued.digest, "model_id": record["model_id"], "snapshot": record["snapshot"]},
        counts={"rows": sum(record["rows"].values()), "domains": len(record["rows"]), "revision": issued.revision},
        paths={
            "page": page.url,
            "parquet": published.url("parquet"),
            "latest": published.url("latest.json"),
            **{f"zarr_{domain}": published.product_url(key) for domain, key in record["zarr"].items()},
        },
        details={"rows": record["rows"]},
    )


def _products(
    world: World, settings: Settings, forecast: Forecast, revision: int, digest: str, published: PublishedStore, progress: Progress
) -> dict[str, Any]:
    """Write the products of every domain, and return the record that makes them visible."""
    moment = from_seconds(forecast.issue_time)
    cubes = reading.open_cubes(
        world, settings, moment, domains=forecast.domains, start=dict.fromkeys(forecast.domains, forecast.issue_time)
    )
    record: dict[str, Any] = {
        "forecast": digest,
        "revision": revision,
        "model_id": forecast.provenance["model_id"],
        "snapshot": forecast.provenance["snapshot"],
        "rows": {},
        "zarr": {},
        "parquet": {},
    }
    with progress.stage("publish", len(forecast.domains), "domains") as stage:
        for domain in forecast.domains:
            table = forecast_table(forecast, domain, revision=revision)
            record["rows"][domain] = table.num_rows
            record["parquet"][domain] = published.put_parquet(forecast, domain, parquet_bytes(table), revision=revision)
            record["zarr"][domain] = published.put_zarr(
                forecast, domain, cubes[domain].nodes, revision=revision, labels=_labels(world, domain)
            )
            stage.advance(note=f"{domain}: {table.num_rows:,} rows")
    return record


def _labels(world: World, domain: str) -> dict[str, dict[str, str]]:
    labels = {}
    for name, variable in world.domains[domain].variables.items():
        labels[name] = {"long_name": label_text(name, variable.long_name)}
        if variable.standard_name:
            labels[name]["standard_name"] = variable.standard_name
    return labels
