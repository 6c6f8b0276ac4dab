"""`cubecast replay` and `cubecast lanes`: the forecasts of the past, beside the live ones, and what they scored."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from pipeline import api, clock
from pipeline.command_options import (
    AsOf,
    By,
    Json,
    JsonObject,
    Options,
    Parent,
    Seed,
    WorldName,
    example,
    read_instant,
    read_way,
    settings_of,
)
from pipeline.settings import read_settings
from pipeline.step_commands import ask, perform

replay_app = typer.Typer()
lanes_app = typer.Typer(help="The lanes of replay: what each is, and what it scored.", no_args_is_help=True)

First = Annotated[str, typer.Option("--from", "--first", help="The first issue time.", metavar="TIME")]
Last = Annotated[str, typer.Option("--to", "--last", help="Where the issue times end; this one is left out.", metavar="TIME")]
Every = Annotated[str, typer.Option(help="From one issue time to the next: 15min, 1h, 1d.", metavar="DURATION")]
RetrainWord = Annotated[
    str, typer.Option(help="Train models of the past as it goes: daily, weekly; or none: those that were live.", metavar="HOW")
]
ModeWord = Annotated[
    str, typer.Option(help="replay: the models of then; reforecast: the champion of now, applied to the past.", metavar="MODE")
]
Since = Annotated[
    str | None,
    typer.Option(
        help="When the first training is in force: the same for all slices of one lane. By default --from.",
        metavar="TIME",
    ),
]
Workers = Annotated[int | None, typer.Option(help="Processes that work on issue times; by default one per core.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what there is to do and how long it takes, and do nothing.")]


@replay_app.command(
    "replay",
    rich_help_panel="Run",
    epilog=example("cubecast replay --world aarhus --from 2014-09-16T00:00Z --to 2014-09-30T00:00Z --retrain daily"),
)
def replay(
    world: WorldName,
    first: First,
    last: Last,
    every: Every = "1h",
    retrain: RetrainWord = "none",
    workers: Workers = None,
    mode: ModeWord = "replay",
    since: Since = None,
    as_of: AsOf = None,
    options: Options = None,
    seed: Seed = 0,
    dry_run: DryRun = False,
    as_json: Json = False,
    parent: Parent = None,
) -> None:
    """The forecasts of the past as they would have been issued: data, models and promotions of then, in a lane of their own."""
    now = clock.clock_of(api.load_world(world))
    request = ask(
        api.ReplayRequest,
        world=world,
        as_of=read_instant(as_of, "--as-of", now),
        first=read_instant(first, "--from", now),
        last=read_instant(last, "--to", now),
        every=every,
        mode=mode,
        retrain=retrain,
        since=None if since is None else read_instant(since, "--since", now),
        options=settings_of(options or []),
        seed=seed,
        workers=workers,
        dry_run=dry_run,
    )
    perform(request, as_json=as_json, parent=parent)


@lanes_app.command("list", epilog=example("cubecast lanes list --world aarhus"))
def lanes_list(world: WorldName, as_json: JsonObject = False) -> None:
    """Every lane: what was asked, by which code, and how many issue times it holds; the whole ones first, then what is damaged."""
    from pipeline.steps.replayed import list_lanes

    loaded = api.load_world(world)
    lanes, damage = list_lanes(read_settings(), loaded)
    lines = [_line(lane) for lane in lanes] or [
        f"no replay of {loaded.name} yet; try: cubecast replay --world {loaded.name} --from … --to …"
    ]
    if lanes or not damage:
        _say({"world": loaded.name, "lanes": lanes}, lines, as_json)
    if damage:
        raise damage[0]


@lanes_app.command("show", epilog=example("cubecast lanes show 3f2a91c07b1e --world aarhus"))
def lanes_show(
    lane: Annotated[str, typer.Argument(help="A lane.", metavar="LANE")], world: WorldName, by: By = "all", as_json: JsonObject = False
) -> None:
    """A lane's scorecard told apart as --by says: what was published, the joint model and each baseline, on the same cells."""
    from pipeline.score_lines import score_tables
    from pipeline.steps.replayed import show_lane

    found = show_lane(read_settings(), api.load_world(world), lane)
    _say(found, [_line(found), *score_tables(found, read_way(by)), found["url"], found["scorecard_url"]], as_json)


def _line(lane: dict[str, Any]) -> str:
    record = lane["record"]
    foreign = [word for word, same in (("code", lane["of_this_code"]), ("world file", lane["of_this_world"])) if not same]
    trained = "" if record["retrain"] == "none" else f", retrained {record['retrain']} since {record['since']}"
    other = f"; made by another {' and '.join(foreign)}" if foreign else ""
    return f"{lane['lane']}  {record['mode']}{trained}: {lane['issue_times']:,} issue times, {lane['counts']['observed']:,} values scored{other}"


def _say(content: dict[str, Any], lines: list[str], as_json: bool) -> None:
    print(json.dumps(content, ensure_ascii=False) if as_json else "\n".join(lines), flush=True)
