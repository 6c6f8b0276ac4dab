"""`cubecast sources …`: what a provider hands over now, and which rows of it were not taken."""

from __future__ import annotations

from typing import Annotated

import typer

from pipeline import api, clock
from pipeline.command_options import AsOf, JsonObject, Source, WorldName, example, one_of, read_instant, say
from pipeline.settings import read_settings

sources_app = typer.Typer(help="The feeds of a world.", no_args_is_help=True)


@sources_app.command("probe", epilog=example("cubecast sources probe electricity --world london"))
def sources_probe(
    name: Annotated[str, typer.Argument(help="The source's name in the world file.", metavar="NAME")], world: WorldName, as_of: AsOf = None
) -> None:
    """Ask the real provider for its newest delivery and say what came; nothing is kept."""
    from pipeline.sources.probe import probe, probe_lines

    loaded = api.load_world(world)
    print("\n".join(probe_lines(probe(loaded, name, read_settings(), read_instant(as_of, "--as-of", clock.clock_of(loaded))))))


@sources_app.command("rejected", epilog=example("cubecast sources rejected --world aarhus --source weather"))
def sources_rejected(
    world: WorldName,
    source: Source = None,
    most: Annotated[int, typer.Option(help="How many rows of each source are shown, the newest.", min=1, metavar="N")] = 20,
    as_json: JsonObject = False,
) -> None:
    """The rows that were not taken: file, row, the rule broken, the mend, the row's text. Repeated readings are not among them."""
    from pipeline.sources.mends import mend_of
    from pipeline.stores.objects import ObjectStore
    from pipeline.stores.observations import ObservationStore

    loaded, objects = api.load_world(world), ObjectStore(read_settings().store)
    names = [one_of("source", source, list(loaded.sources))] if source else list(loaded.sources)
    found, lines = {}, list[str]()
    for name in names:
        rows = [row for row in ObservationStore(objects, loaded, name).rejections().to_pylist() if row["reason"] != "duplicate"]
        shown = [row | {"mend": mend_of(row["reason"])} for row in rows[-most:]]
        found[name] = {"rejected": len(rows), "rows": shown}
        lines.append(f"{name}: {len(rows):,} rows rejected" + (f", the newest {most}:" if len(rows) > most else ""))
        lines += [f"  {r['file']} row {r['row']}: {r['reason']}. Mend: {r['mend']}\n    {r['raw']}" for r in shown]
    say({"world": loaded.name, "sources": found}, lines, as_json=as_json)
