"""publish: a forecast as Zarr and Parquet for programs, and as a page for people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pipeline.api import PublishRequest, Receipt
from pipeline.contracts.forecasts import Forecast
from pipeline.contracts.times import from_seconds, to_seconds
from pipeline.contracts.world_files import load_world
from pipeline.contracts.worlds import World
from pipeline.publishing.event_tables import event_table, told_of
from pipeline.publishing.revisions import changes
from pipeline.publishing.tables import forecast_table, parquet_bytes
from pipeline.publishing.words import label_text
from pipeline.settings import Settings
from pipeline.steps import reading
from pipeline.steps.pages import write_page
from pipeline.stores.forecast_arrays import ForecastArrays, Rows
from pipeline.stores.forecast_format import DomainForm
from pipeline.stores.forecasts import ForecastStore, Issued
from pipeline.stores.objects import ObjectStore
from pipeline.stores.published import PublishedStore
from pipeline.telemetry import Progress

if TYPE_CHECKING:
    import pyarrow as pa


def run(request: PublishRequest, settings: Settings, progress: Progress) -> Receipt:
    """The products of the newest revision of the forecast issued at `as_of`, visible together, and its page.

    A product that is damaged or gone is written anew.

    Raises:
        NotYetAvailable: Nothing was issued at that instant.
    """
    world = load_world(request.world)
    objects = ObjectStore(settings.store)
    forecasts, published = ForecastStore(objects, world.name), PublishedStore(objects, world.name)
    issue_time = to_seconds(request.as_of)
    issued = forecasts.newest(issue_time)
    record, healed = publish_forecast(world, settings, issued, progress)
    fresh = published.commit(issue_time, record)
    renewed = published.renew_latest()
    with progress.stage("page", 1, "pages") as stage:
        page = write_page(world, settings, issue_time)
        stage.advance()
    return Receipt(
        step=request.step,
        world=world.name,
        as_of=request.as_of,
        outcome="done" if fresh or renewed or healed or page.changed else "unchanged",
        ids={"forecast": issued.digest, "model_id": record["model_id"], "snapshot": record["snapshot"]},
        counts={"rows": sum(record["rows"].values()), "domains": len(record["rows"]), **_warnings(record), "revision": issued.revision},
        paths={
            "page": page.url,
            "parquet": published.url("parquet"),
            **({"events": published.url("events")} if record["events"] else {}),
            "zarr": published.url("zarr"),
            "latest": published.url("latest.json"),
        },
        notes=(*(f"{product} was damaged or gone and is written anew" for product in ([] if fresh else healed)), *page.notes),
        details={
            "rows": record["rows"],
            "missing_share": _missing(world, record),
            **({"changes": record["changes"]} if "changes" in record else {}),
        },
    )


def _missing(world: World, record: dict[str, Any]) -> dict[str, float]:
    """Per domain that has targets the share without a forecast: all of it where it had no context, for no other is in part."""
    forecast = [name for name, d in world.domains.items() if any(variable.target for variable in d.variables.values())]
    return {name: 0.0 if name in record["rows"] else 1.0 for name in forecast}


def _warnings(record: dict[str, Any]) -> dict[str, int]:
    """How many places and times are warned of, where the world declares events."""
    return {"warnings": sum(record["warnings"].values())} if record["events"] else {}


def publish_forecast(world: World, settings: Settings, issued: Issued, progress: Progress) -> tuple[dict[str, Any], list[str]]:
    """Put the products of one revision where they belong; the record that makes them visible, and what was written.

    Raises:
        StoreError: The storage refused, or the forecast itself is damaged.
    """
    objects = ObjectStore(settings.store)
    forecasts, published = ForecastStore(objects, world.name), PublishedStore(objects, world.name)
    forecast = forecasts.read(issued.issue_time, issued.revision)
    record, written = put_tables(world, published, forecast, issued, progress)
    if issued.revision:
        record["changes"] = changes(forecasts.read(issued.issue_time, issued.revision - 1), forecast)
    _, appended = ForecastArrays(settings.store, world.name).put(rows_of(world, settings, forecast, issued))
    return record, [*written, *(["Zarr"] if appended else [])]


def put_tables(
    world: World, published: PublishedStore, forecast: Forecast, issued: Issued, progress: Progress
) -> tuple[dict[str, Any], list[str]]:
    """Put the tidy tables of one revision where they belong; the record that makes them visible, and what was written."""
    known, written = published.record(issued.issue_time), []
    record: dict[str, Any] = {
        "forecast": issued.digest,
        "revision": issued.revision,
        "model_id": forecast.provenance["model_id"],
        "snapshot": forecast.provenance["snapshot"],
        "rows": {},
        "parquet": {},
        "events": {},
        "warnings": {},
        "sha256": {},
    }

    def put(key: str, table: pa.Table, name: str) -> str:
        sha256: str | None = (known or {}).get("sha256", {}).get(key)
        if sha256 is None or not published.is_whole(key, sha256):
            sha256 = published.put_product(key, parquet_bytes(table))
            written.append(name)
        record["sha256"][key] = sha256
        return key

    with progress.stage("publish", len(forecast.domains), "domains") as stage:
        for domain, d in forecast.domains.items():
            table = forecast_table(forecast, domain, revision=issued.revision)
            key = published.parquet_key(issued.issue_time, domain, issued.revision)
            record["rows"][domain], record["parquet"][domain] = table.num_rows, put(key, table, f"Parquet of {domain}")
            declared = world.domains[domain].events if domain in world.domains else {}
            if told_of(d, declared):
                told = event_table(forecast, domain, declared, revision=issued.revision)
                key = published.parquet_key(issued.issue_time, domain, issued.revision, "events")
                record["events"][domain] = put(key, told, f"Parquet of the events of {domain}")
                record["warnings"][domain] = told["warned"].to_numpy().sum().item()
            stage.advance(note=f"{domain}: {table.num_rows:,} rows")
    return record, written


def rows_of(world: World, settings: Settings, forecast: Forecast, issued: Issued) -> Rows:
    """A forecast as rows of the published arrays, with the places that the cube knew at its issue time.

    Raises:
        NotYetAvailable: The cube of one of its domains is gone.
    """
    moment = from_seconds(forecast.issue_time)
    start = dict.fromkeys(forecast.domains, forecast.issue_time)
    cubes = reading.open_cubes(world, settings, moment, domains=forecast.domains, start=start)
    return Rows(
        forecast=forecast,
        revision=issued.revision,
        digest=issued.digest,
        forms={name: _form(world, forecast, name) for name in forecast.domains},
        places={name: cubes[name].nodes for name in forecast.domains},
    )


def _form(world: World, forecast: Forecast, domain: str) -> DomainForm:
    settings, d = world.domains[domain], forecast.domains[domain]
    step = 86400 if settings.clock.step is None else int(settings.clock.step.total_seconds())
    labels = {}
    for name, variable in settings.variables.items():
        labels[name] = {"long_name": label_text(name, variable.long_name)}
        if variable.standard_name:
            labels[name]["standard_name"] = variable.standard_name
    return DomainForm(
        domain=domain,
        title=settings.title,
        nominal_leads=tuple(step * (lead + 1) for lead in range(len(d.lead_time_L))),
        units=dict(zip(d.variables, d.units, strict=True)),
        labels=labels,
        events=told_of(d, settings.events),
    )
