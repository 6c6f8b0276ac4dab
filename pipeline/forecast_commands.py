"""`cubecast forecasts`: what was published, from what each was made, whether it is whole, and copies for other programs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from pipeline import api
from pipeline.command_options import JsonObject, WorldName, example, one_of, read_instant, say
from pipeline.contracts.times import format_instant, from_seconds, to_seconds
from pipeline.errors import ConfigError, NotYetAvailable, StoreError
from pipeline.settings import read_settings
from pipeline.stores.objects import ObjectStore
from pipeline.telemetry import progress_on

forecasts_app = typer.Typer(help="The published forecasts of a world.", no_args_is_help=True)
_LISTED = 20


@forecasts_app.command("list", epilog=example("cubecast forecasts list --world aarhus"))
def forecasts_list(
    world: WorldName,
    everything: Annotated[bool, typer.Option("--all", help="All issue times, not only the newest twenty.")] = False,
    as_json: JsonObject = False,
) -> None:
    """The published issue times, newest first, each with its revision, model and rows."""
    from pipeline.steps.publications import published_times
    from pipeline.stores.published import PublishedStore

    loaded, settings = api.load_world(world), read_settings()
    published = PublishedStore(ObjectStore(settings.store), loaded.name)
    times = published_times(loaded, settings)
    rows: list[dict[str, Any]] = []
    for issue_time in (times if everything else times[-_LISTED:])[::-1]:
        record = published.record(issue_time) or {}
        kept = {name: record.get(name) for name in ("revision", "model_id", "snapshot", "forecast", "rows")}
        rows.append({"issue_time": format_instant(from_seconds(issue_time)), **kept})
    lines = [f"{len(times):,} issue times, {format_instant(from_seconds(times[0]))} .. {format_instant(from_seconds(times[-1]))}"]
    for row in rows:
        counts = ", ".join(f"{name} {count:,}" for name, count in (row["rows"] or {}).items())
        lines.append(f"{row['issue_time']}  r{row['revision']}  {str(row['model_id'])[:24]:24}  rows: {counts}")
    more = len(times) - len(rows)
    say(
        {"world": loaded.name, "count": len(times), "forecasts": rows},
        [*lines, *([f"and {more:,} older ones: --all"] * bool(more))],
        as_json=as_json,
    )


@forecasts_app.command("show", epilog=example("cubecast forecasts show --world aarhus --issue-time 2014-09-30T06:00Z"))
def forecasts_show(
    world: WorldName,
    issue_time: Annotated[str | None, typer.Option(help="By default the newest one that was published.", metavar="TIME")] = None,
    revision: Annotated[int | None, typer.Option(help="By default the newest.", min=0)] = None,
    as_json: JsonObject = False,
) -> None:
    """What a forecast was made from, which inputs were present and how old, and what a re-issue changed."""
    from pipeline.publishing.revisions import change_lines, changes
    from pipeline.publishing.seen import SEEN, seen_lines
    from pipeline.publishing.tables import headline
    from pipeline.steps.publications import published_times
    from pipeline.stores.forecasts import ForecastStore

    loaded, settings = api.load_world(world), read_settings()
    newest = from_seconds(published_times(loaded, settings)[-1])
    moment = to_seconds(read_instant(issue_time, "--issue-time", newest))
    store = ForecastStore(ObjectStore(settings.store), loaded.name)
    forecast = store.read(moment, revision)
    known = store.revisions(moment)
    number = len(known) - 1 if revision is None else revision
    changed = changes(store.read(moment, number - 1), forecast) if number else {}
    medians = {name: headline(d) for name, d in forecast.domains.items()}
    found: dict[str, Any] = {
        "world": loaded.name,
        "issue_time": format_instant(from_seconds(moment)),
        "revision": number,
        "revisions": len(known),
        "forecast": known[number].digest,
        "published": {name: dict(zip(d.variables, d.model_V, strict=True)) for name, d in forecast.domains.items()},
        "headline": medians,
        "changes": changed,
        "provenance": forecast.provenance,
    }
    lines = [f"{loaded.name} issued {found['issue_time']}, revision {number} of {len(known)}, {found['forecast'][:16]}"]
    lines += [f"  {line}" for name in medians for line in medians[name]]
    lines += seen_lines(forecast.provenance)
    plain = {k: v for k, v in forecast.provenance.items() if k not in (*SEEN, "explanation")}
    lines += [f"  {key:16} {value}" for key, value in plain.items()]
    say(found, [*lines, *(f"changed: {line}" for line in change_lines(changed))], as_json=as_json)


@forecasts_app.command("warnings", epilog=example("cubecast forecasts warnings --world aarhus --least 0.3"))
def forecasts_warnings(
    world: WorldName,
    issue_time: Annotated[str | None, typer.Option(help="By default the newest one that was published.", metavar="TIME")] = None,
    least: Annotated[float | None, typer.Option(help="Least probability; by default each event's own `warn_at`.", min=0, max=1)] = None,
    as_json: JsonObject = False,
) -> None:
    """Where and when the world's events are probable, the most probable first."""
    from pipeline.publishing.event_tables import event_table, told_of
    from pipeline.publishing.words import instant_text
    from pipeline.steps.publications import published_times
    from pipeline.stores.forecasts import ForecastStore

    loaded, settings = api.load_world(world), read_settings()
    moment = to_seconds(read_instant(issue_time, "--issue-time", from_seconds(published_times(loaded, settings)[-1])))
    store, rows = ForecastStore(ObjectStore(settings.store), loaded.name), []
    forecast, revision = store.read(moment), store.newest(moment).revision
    events = {name: told_of(d, loaded.domains[name].events) for name, d in forecast.domains.items() if name in loaded.domains}
    for domain, declared in events.items():
        table = event_table(forecast, domain, declared, revision=revision, least=least)
        for row in table.select(["node", "event", "ds", "lead_s", "probability", "warned"]).to_pylist():
            rows.append({"domain": domain, **row, "ds": format_instant(row["ds"])})
    rows.sort(key=lambda row: -row["probability"])
    named = ", ".join(f"{domain}.{name}" for domain, declared in events.items() for name in declared) or "none is declared"
    lines = [f"{loaded.name} issued {format_instant(from_seconds(moment))}: {len(rows):,} warnings; events: {named}"]
    for row in rows[:_LISTED]:
        when = instant_text(moment + row["lead_s"], loaded.zone)
        lines.append(f"  {row['probability']:4.0%}  {row['domain']}.{row['event']:12} {row['node']:16} {when}")
    more = [f"and {len(rows) - _LISTED:,} more: --json has all"] if len(rows) > _LISTED else []
    told = {"world": loaded.name, "issue_time": format_instant(from_seconds(moment)), "revision": revision, "warnings": rows}
    say(told, [*lines, *more], as_json=as_json)


@forecasts_app.command("export", epilog=example("cubecast forecasts export --world aarhus --domain traffic --to traffic.nc"))
def forecasts_export(
    world: WorldName,
    domain: Annotated[str, typer.Option("--domain", "-d", help="The domain to copy.")],
    to: Annotated[Path, typer.Option("--to", help="A local path where there is nothing yet.", metavar="PATH")],
    form: Annotated[
        Literal["zarr", "netcdf"] | None, typer.Option("--format", help="By default netcdf for a path that ends in .nc, else zarr.")
    ] = None,
    start: Annotated[
        str | None, typer.Option("--from", help="The first issue time; by default the first there is.", metavar="TIME")
    ] = None,
    end: Annotated[str | None, typer.Option("--until", help="The last issue time; by default the newest.", metavar="TIME")] = None,
    variable: Annotated[list[str] | None, typer.Option(help="A variable; may be repeated; by default all.")] = None,
    names: Annotated[
        Literal["cubecast", "weatherbench"], typer.Option(help="Those of WeatherBench: time, prediction_timedelta, latitude, longitude.")
    ] = "cubecast",
    rename: Annotated[list[str] | None, typer.Option(help="With --names weatherbench: a variable's new name.", metavar="OLD=NEW")] = None,
    median: Annotated[bool, typer.Option("--median", help="With --names weatherbench: the median alone.")] = False,
    as_json: JsonObject = False,
) -> None:
    """Copy a domain's published forecasts to NetCDF (CF-1.11) or plain Zarr, in our names or in those of WeatherBench."""
    from pipeline.stores import forecast_export
    from pipeline.stores.forecast_arrays import ForecastArrays

    loaded, settings = api.load_world(world), read_settings()
    chosen_form = form or ("netcdf" if to.suffix == ".nc" else "zarr")
    try:
        dataset = ForecastArrays(settings.store, loaded.name).open(domain, decode=False)
    except NotYetAvailable:
        one_of("domain", domain, list(loaded.domains))
        raise
    first, last = _seconds(start, "--from"), _seconds(end, "--until")
    found = forecast_export.chosen(dataset, start=first, end=last, variables=tuple(variable or ()))
    if names == "weatherbench":
        found = forecast_export.weatherbench(found, dict(_pair(text) for text in rename or []), median=median)
    elif rename or median:
        raise ConfigError(asked="--rename or --median", found="--names cubecast", mend="add --names weatherbench")
    with progress_on(sys.stderr, as_json=as_json) as progress, progress.stage("export", 1, "files") as stage:
        forecast_export.export(found, to, chosen_form)
        stage.advance(note=f"{found.nbytes:,} bytes")
    sizes = {str(name): size for name, size in found.sizes.items()}
    told = {"path": str(to.resolve()), "format": chosen_form, "names": names, "sizes": sizes}
    say(
        told,
        [f"{domain} of {loaded.name}: {', '.join(f'{n:,} {k}' for k, n in sizes.items())}, {chosen_form}: {to.resolve()}"],
        as_json=as_json,
    )


@forecasts_app.command("verify", epilog=example("cubecast forecasts verify --world aarhus"))
def forecasts_verify(world: WorldName, as_json: JsonObject = False) -> None:
    """Read every published forecast against its digest, its Parquet files and its Zarr rows; exit code 74 where one is damaged."""
    from pipeline.steps.publications import check

    loaded, settings = api.load_world(world), read_settings()
    with progress_on(sys.stderr, as_json=as_json) as progress:
        found = check(loaded, settings, progress)
    if found.faults:
        raise StoreError(
            asked=f"verify the published forecasts of world {loaded.name}",
            found=f"{len(found.faults)} fault(s): {'; '.join(found.faults[:_LISTED])}",
            mend=f"cubecast forecasts rebuild --world {loaded.name} makes products anew; what was issued comes from a backup only",
        )
    told = {"world": loaded.name, "outcome": "whole", "issue_times": found.issue_times, "files": found.files}
    say(told, [f"whole: {found.issue_times:,} issue times, {found.files:,} Parquet files, and their Zarr rows"], as_json=as_json)


@forecasts_app.command("rebuild", epilog=example("cubecast forecasts rebuild --world aarhus"))
def forecasts_rebuild(world: WorldName, as_json: JsonObject = False) -> None:
    """Make published Parquet files and Zarr rows anew where they are damaged or gone, from the forecasts as issued."""
    from pipeline.steps.publications import rebuild

    loaded, settings = api.load_world(world), read_settings()
    with progress_on(sys.stderr, as_json=as_json) as progress:
        looked, mended = rebuild(loaded, settings, progress)
    say({"world": loaded.name, "issue_times": looked, "mended": mended}, [f"{mended:,} of {looked:,} issue times mended"], as_json=as_json)


def _seconds(text: str | None, option: str) -> int | None:
    return None if text is None else to_seconds(read_instant(text, option, from_seconds(0)))


def _pair(text: str) -> tuple[str, str]:
    old, equals, new = text.partition("=")
    if not (old and equals and new):
        raise ConfigError(asked=f"--rename {text}", found="no OLD=NEW", mend="write for example --rename temperature=2m_temperature")
    return old, new
