"""`cubecast cube …`: what a world's cube holds, whether it is whole, where it came from, what changed, and a copy for others."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from pipeline import api, clock
from pipeline.command_options import AsOf, JsonObject, WorldName, example, one_of, read_instant, say
from pipeline.contracts.times import format_duration, format_instant, from_seconds, parse_instant
from pipeline.errors import ConfigError, NotYetAvailable
from pipeline.settings import read_settings
from pipeline.telemetry import progress_on

if TYPE_CHECKING:
    from pipeline.cube.differences import Change, DomainBook
    from pipeline.stores.cubes import CubeStore, DomainState

cube_app = typer.Typer(help="The cube of a world: what is in it, and whether it is whole.", no_args_is_help=True)
_LISTED = 8


@cube_app.command("plan", epilog=example("cubecast cube plan --world aarhus"))
def plan(world: WorldName, as_of: AsOf = None, as_json: JsonObject = False) -> None:
    """What build-cube would make now: regions, chunks, codec, rows, sizes, memory of a process; nothing is made."""
    from pipeline.cube.plan import check_plan
    from pipeline.parallel import crew
    from pipeline.steps.build_plan import plan_build
    from pipeline.stores.cube_format import CODEC_WORDS

    loaded, settings = api.load_world(world), read_settings()
    moment = read_instant(as_of, "--as-of", clock.clock_of(loaded))
    clock.check_reached(loaded, moment)
    planned = plan_build(loaded, moment, settings)
    with crew(settings) as workers:
        size = planned.size(workers)
    domains = {
        name: {"regions": len(d.regions), "chunk_steps": d.chunk_steps, "nodes": len(d.nodes)} for name, d in planned.domains.items()
    }
    allowed = {"workers": workers.workers, "allowed_bytes": workers.memory}
    lines = [f"{n}: {d['regions']:,} regions of {d['chunk_steps']:,} steps x {d['nodes']:,} nodes" for n, d in domains.items()]
    lines += [f"each chunk: {CODEC_WORDS}", f"{size}", f"{workers.workers} process(es), {workers.memory / 2**20:,.0f} MiB allowed for each"]
    found = {"world": loaded.name, "as_of": format_instant(moment), **asdict(size), **allowed, "codec": CODEC_WORDS, "domains": domains}
    say(found, lines, as_json=as_json)
    check_plan(size, limit_bytes=workers.memory)


@cube_app.command("info", epilog=example("cubecast cube info --world aarhus"))
def info(world: WorldName, as_json: JsonObject = False) -> None:
    """What the newest snapshot holds: domains, sizes, clocks, chunks, missing shares, bytes at rest, provenance."""
    loaded, store = _open(world)
    state, texts, history = store.state(), store.texts(), store.history()
    newest = history[0]
    domains = {name: _domain_info(loaded, name, held, store.book(name)) for name, held in state.domains.items()}
    found = {
        "world": loaded.name,
        "url": store.url,
        "snapshot": state.snapshot,
        "written_time": _stamp(newest["written_time"]),
        "snapshots": len(history),
        "bytes_at_rest": store.bytes_at_rest(),
        "provenance": newest["provenance"],
        "domains": domains,
        "texts": {name: asdict(held) for name, held in texts.items()},
    }
    lines = [f"cube {store.url}", f"snapshot {state.snapshot}, written {found['written_time']}, {len(history)} snapshot(s)"]
    lines.append(f"{found['bytes_at_rest']:,} bytes at rest, all snapshots together")
    for name, d in domains.items():
        nodes = f"grid of {' x '.join(map(str, d['grid_shape']))}" if d["grid_shape"] else f"{d['nodes']:,} nodes"
        lines.append(f"{name}: {d['title']}: {d['steps']:,} steps of {d['clock']}, {d['start']} .. {d['end']}, {nodes}")
        lines.append(
            f"  {d['chunks']:,} time chunks of {d['chunk_steps']:,} steps, {d['revisions']:,} revisions, {d['bytes']:,} bytes unpacked"
        )
        lines.extend(f"  {v:24} {w['units'] or '1':10} {w['missing']:7.2%} missing" for v, w in d["variables"].items())
        lines.append(f"  digest {d['digest']}")
    lines.extend(f"texts {n}: {t.documents:,} documents, {t.tokens:,} tokens, digest {t.digest}" for n, t in texts.items())
    say(found, [*lines, *_provenance_lines(newest["provenance"])], as_json=as_json)


@cube_app.command("verify", epilog=example("cubecast cube verify --world aarhus"))
def verify(world: WorldName, as_json: JsonObject = False) -> None:
    """Read every chunk against its checksum and digest, and prove that each is present; exit code 74 where one is damaged."""
    loaded, store = _open(world)
    with progress_on(sys.stderr, as_json=as_json) as progress:
        checks = store.verify(progress)
    domains = {n: {"arrays": c.arrays, "chunks": c.chunks, "bytes": c.bytes, "digest": c.digest} for n, c in checks.items()}
    found = {"world": loaded.name, "url": store.url, "snapshot": store.snapshot, "outcome": "whole", "domains": domains}
    lines = [f"{n}: whole: {c.arrays} arrays, {c.chunks:,} chunks, {c.bytes:,} bytes, digest {c.digest[:16]}" for n, c in checks.items()]
    say(found, [*lines, f"snapshot {store.snapshot} is whole"], as_json=as_json)


@cube_app.command("history", epilog=example("cubecast cube history --world aarhus"))
def history(world: WorldName, as_json: JsonObject = False) -> None:
    """The snapshots, newest first, each with its provenance."""
    loaded, store = _open(world)
    entries = [entry | {"written_time": _stamp(entry["written_time"])} for entry in store.history()]
    lines = []
    for entry in entries:
        lines.append(f"{entry['snapshot']}  {entry['written_time']}  {entry['message']}")
        lines.extend(_provenance_lines(entry["provenance"]))
    say({"world": loaded.name, "url": store.url, "snapshots": entries}, lines, as_json=as_json)


@cube_app.command("diff", epilog=example("cubecast cube diff 7QK2 1CECHNKREP0F1RSTCMT0 --world aarhus"))
def diff(
    old: Annotated[str, typer.Argument(help="A snapshot, or how its identity begins (see cube history).", metavar="A")],
    new: Annotated[str, typer.Argument(help="Another.", metavar="B")],
    world: WorldName,
    as_json: JsonObject = False,
) -> None:
    """What changed from snapshot A to snapshot B: steps, nodes, chunks by their digest, revisions."""
    from pipeline.cube.differences import differences

    loaded, newest = _open(world)
    known = [entry["snapshot"] for entry in newest.history()]
    stores = [_at(newest, _snapshot(known, name)) for name in (old, new)]
    books = [{name: store.book(name) for name in store.domains()} for store in stores]
    both = {name: (books[0][name], books[1][name]) for name in books[0] if name in books[1]}
    changes = {name: differences(a, b) for name, (a, b) in both.items()}
    added, gone = sorted(set(books[1]) - set(books[0])), sorted(set(books[0]) - set(books[1]))
    found = {
        "world": loaded.name,
        "from": stores[0].snapshot,
        "to": stores[1].snapshot,
        "domains_added": added,
        "domains_gone": gone,
        "domains": {name: _change(changes[name], both[name][1]) for name in changes},
    }
    lines = [f"{name}: a new domain" for name in added] + [f"{name}: gone" for name in gone]
    for name, change in changes.items():
        lines.extend(_change_lines(name, change, both[name][1]))
    say(found, lines, as_json=as_json)


@cube_app.command("export", epilog=example("cubecast cube export --world aarhus --domain traffic --to traffic.zarr"))
def export(
    world: WorldName,
    domain: Annotated[str, typer.Option("--domain", "-d", help="The domain to copy.")],
    to: Annotated[str, typer.Option("--to", help="A local path where there is nothing yet.", metavar="PATH")],
    as_of: Annotated[
        str | None, typer.Option(help="Only what was known at this instant; by default that of the newest snapshot.", metavar="TIME")
    ] = None,
    form: Annotated[
        Literal["zarr", "netcdf"] | None, typer.Option("--format", help="By default netcdf for a path that ends in .nc, else zarr.")
    ] = None,
    as_json: JsonObject = False,
) -> None:
    """Copy a domain, as it was known at an instant, to plain Zarr or NetCDF with CF attributes, and the graph of its nodes."""
    from pipeline.alignment.graph import edges
    from pipeline.cube.groups import groups_of
    from pipeline.stores import cube_export

    loaded, newest = _open(world)
    if "://" in to:
        raise ConfigError(asked=f"--to {to}", found="no local path", mend="export to a local path, and copy it from there")
    one_of("domain", domain, list(dict.fromkeys((*newest.domains(), *groups_of(loaded)))))
    entry = newest.history()[0]
    built = parse_instant(entry["provenance"]["as_of"])
    moment = read_instant(as_of, "--as-of", built)
    if moment > built:
        raise NotYetAvailable(
            asked=f"export as of {format_instant(moment)}",
            found=f"a cube that was built as of {format_instant(built)}",
            mend=f"cubecast build-cube --world {loaded.name}, or an earlier --as-of",
        )
    store, path = _at(newest, entry["snapshot"]), Path(to)
    chosen = form or ("netcdf" if path.suffix == ".nc" else "zarr")
    book, cube = store.book(domain), store.open(moment, domain)
    facts = {key: str(entry["provenance"][key]) for key in ("world", "world_digest", "code_version")} | {"domain": domain}
    graph = edges(cube.nodes, loaded.domains[domain].graph) if domain in loaded.domains and cube.nodes.shape is None else None
    dataset = cube_export.to_dataset(cube, book, facts, graph)
    cube_export.export(dataset, path, chosen, chunk_steps=book.chunk_steps)
    sizes = {str(name): size for name, size in dataset.sizes.items()}
    found = {"path": str(path.resolve()), "format": chosen, "as_of": format_instant(moment), "snapshot": cube.snapshot, "sizes": sizes}
    words = ", ".join(f"{size:,} {name}" for name, size in sizes.items())
    lines = [f"{domain} of {loaded.name} as of {found['as_of']}: {words}, {len(cube.variables)} variable(s), {chosen}: {found['path']}"]
    say(found, lines, as_json=as_json)


def _open(world: str) -> tuple[api.World, CubeStore]:
    from pipeline.stores.cubes import CubeStore

    loaded = api.load_world(world)
    store = CubeStore(read_settings().store, loaded.name)
    if not store.history():
        raise NotYetAvailable(
            asked=f"cube {store.url}", found="a repository without a snapshot: no build has finished", mend="run build-cube first"
        )
    return loaded, store


def _at(store: CubeStore, snapshot: str) -> CubeStore:
    return type(store)(store.root, store.world, at=snapshot)


def _snapshot(known: list[str], name: str) -> str:
    """The one snapshot whose identity begins so."""
    meant = [snapshot for snapshot in known if snapshot.startswith(name)]
    if len(meant) != 1:
        found = f"{len(meant)} snapshots that begin so" if meant else f"{len(known)} snapshots, none begins so"
        raise ConfigError(asked=f"snapshot '{name}'", found=found, mend="take one that `cubecast cube history` names")
    return meant[0]


def _stamp(moment: Any) -> str | None:
    return None if moment is None else format_instant(moment)


def _time(seconds: int | None) -> str | None:
    return None if seconds is None else format_instant(from_seconds(seconds))


def _provenance_lines(provenance: Mapping[str, Any]) -> list[str]:
    return [f"  {key:14} {value if isinstance(value, str) else json.dumps(value)}" for key, value in provenance.items()]


def _clock(world: api.World, name: str) -> str | None:
    from pipeline.cube.groups import groups_of

    group = groups_of(world).get(name)
    if group is None:
        return None
    clock = group.clock
    return clock.calendar or (None if clock.step is None else format_duration(clock.step))


def _domain_info(world: api.World, name: str, held: DomainState, book: DomainBook) -> dict[str, Any]:
    return {
        "title": book.title,
        "clock": _clock(world, name),
        "steps": held.steps,
        "nodes": held.nodes,
        "grid_shape": book.nodes.shape,
        "start": _time(held.start),
        "end": _time(held.end),
        "chunk_steps": held.chunk_steps,
        "chunks": len(book.chunk_digests),
        "variables": {v: {"units": book.attributes[v]["units"], "missing": held.missing[v]} for v in book.variables},
        "bytes": held.steps * held.nodes * len(book.variables) * 10,  # float32, uint16, int32
        "revisions": held.revisions,
        "consumed": held.consumed,
        "recipe": held.recipe,
        "digest": held.digest,
    }


def _change(change: Change, new: DomainBook) -> dict[str, Any]:
    from pipeline.cube.differences import chunk_span

    spans = [{"chunk": k, "from": _time(chunk_span(new, k)[0]), "to": _time(chunk_span(new, k)[1])} for k in change.chunks_changed]
    return {
        "steps_added": [_time(s) for s in change.steps_added],
        "steps_gone": [_time(s) for s in change.steps_gone],
        "nodes_added": list(change.nodes_added),
        "nodes_gone": list(change.nodes_gone),
        "variables_added": list(change.variables_added),
        "variables_gone": list(change.variables_gone),
        "chunks_added": list(change.chunks_added),
        "chunks_changed": spans,
        "chunks_gone": change.chunks_gone,
        "revisions_added": change.revisions_added,
        "revisions_gone": change.revisions_gone,
        "rebuilt": change.rebuilt,
    }


def _change_lines(name: str, change: Change, new: DomainBook) -> list[str]:
    if change.is_none:
        return [f"{name}: unchanged"]
    found = _change(change, new)
    lines = [f"{name}:{' built anew under other settings' if change.rebuilt else ''}"]
    for what in ("steps", "nodes", "variables", "chunks", "revisions"):
        for how in ("added", "changed", "gone"):
            value = found.get(f"{what}_{how}")
            if value and isinstance(value, int):
                lines.append(f"  {value:,} {what} {how}")
            elif value:
                words = [f"{v['chunk']} ({v['from']} .. {v['to']})" if isinstance(v, dict) else str(v) for v in value]
                listed = [*words[: _LISTED // 2], "…", words[-1]] if len(words) > _LISTED else words
                lines.append(f"  {len(value):,} {what} {how}: {', '.join(listed)}")
    return lines
