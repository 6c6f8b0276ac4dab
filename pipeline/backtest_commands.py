"""`cubecast backtest` and `cubecast backtests`: models on rolling origins, and what they scored."""

from __future__ import annotations

import json
from collections.abc import Mapping
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
from pipeline.replay_commands import DryRun, First, Last
from pipeline.settings import read_settings
from pipeline.step_commands import ask, perform

backtest_app = typer.Typer()
backtests_app = typer.Typer(help="Backtests on rolling origins: what each was asked, and what it scored.", no_args_is_help=True)


@backtest_app.command(
    "backtest",
    rich_help_panel="Run",
    epilog=example("cubecast backtest --world aarhus --from 2014-09-16T00:00Z --to 2014-09-28T00:00Z --origins 4 --embargo 1d"),
)
def backtest(
    world: WorldName,
    first: First,
    last: Last,
    origins: Annotated[int, typer.Option(help="Test blocks of equal length, each with a model of its own.", min=1)] = 4,
    embargo: Annotated[str, typer.Option(help="Between what a model learned from and its block.", metavar="DURATION")] = "1d",
    recipe: Annotated[str | None, typer.Option(help="A named configuration of the model; by default the world's.")] = None,
    options: Options = None,
    seed: Seed = 0,
    workers: Annotated[int | None, typer.Option(help="Processes that work on origins; by default one per core.")] = None,
    as_of: AsOf = None,
    dry_run: DryRun = False,
    as_json: Json = False,
    parent: Parent = None,
) -> None:
    """Models of the past on blocks that none has seen: trained before a gap, scored after it, each origin by itself and all pooled."""
    now = clock.clock_of(api.load_world(world))
    request = ask(
        api.BacktestRequest,
        world=world,
        as_of=read_instant(as_of, "--as-of", now),
        first=read_instant(first, "--from", now),
        last=read_instant(last, "--to", now),
        origins=origins,
        embargo=embargo,
        recipe=recipe,
        options=settings_of(options or []),
        seed=seed,
        workers=workers,
        dry_run=dry_run,
    )
    receipt = perform(request, as_json=as_json, parent=parent)
    if not as_json and not dry_run:
        backtests_show(receipt.ids["backtest"], world)


@backtests_app.command("list", epilog=example("cubecast backtests list --world aarhus"))
def backtests_list(world: WorldName, as_json: JsonObject = False) -> None:
    """Every backtest: what was asked, by which code, and how many of its origins are done."""
    from pipeline.steps.backtested import list_backtests

    loaded = api.load_world(world)
    found = list_backtests(read_settings(), loaded)
    lines = [
        f"{b['backtest']}  {b['record']['first']} to {b['record']['last']}: {b['done']} of {b['record']['origins']} origins, "
        f"embargo {b['record']['embargo'] / 3600:g} h, code {b['record']['code_version']}"
        for b in found
    ] or [f"no backtest of {loaded.name} yet; try: cubecast backtest --world {loaded.name} --from … --to …"]
    print(json.dumps({"world": loaded.name, "backtests": found}) if as_json else "\n".join(lines), flush=True)


@backtests_app.command("show", epilog=example("cubecast backtests show 3f2a91c07b1e --world aarhus --by region"))
def backtests_show(
    backtest: Annotated[str, typer.Argument(help="A backtest.", metavar="BACKTEST")],
    world: WorldName,
    by: By = "all",
    as_json: JsonObject = False,
) -> None:
    """Each origin by itself, the pooled scores, and how sure the differences are, adjusted for being many."""
    from pipeline.steps.backtested import show_backtest

    found = show_backtest(read_settings(), api.load_world(world), backtest)
    print(json.dumps(found, ensure_ascii=False) if as_json else "\n\n".join(_lines(found, read_way(by))), flush=True)


def _lines(found: Mapping[str, Any], by: str) -> list[str]:
    from pipeline.score_lines import score_tables
    from pipeline.text_tables import table

    origins = [
        (str(o["number"]), o["begin"], o["end"], o["cut_off"], o["model_id"], *(f"{o[k]:,}" for k in ("expected", "n", "missing")), _won(o))
        for o in found["origins"]
    ]
    titles = ("origin", "from", "to", "trained as of", "model", "expected", "n", "missing", "MAE (best baseline)")
    sure = [] if by in ("all", "rival") else score_tables(found["scorecard"], "rival")
    notes = [f"note: {note}" for note in found["notes"]]
    return [f"backtest {found['id']}", table(titles, origins), *score_tables(found["scorecard"], by), *sure, *notes, found["url"]]


def _won(origin: Mapping[str, Any]) -> str:
    rows = [row for row in origin["rows"] if row["mae"] is not None]
    parts = []
    for joint in (row for row in rows if row["model"] == "joint"):
        rivals = [r["mae"] for r in rows if (r["domain"], r["variable"]) == (joint["domain"], joint["variable"]) and r is not joint]
        parts.append(f"{joint['variable']} {joint['mae']:.4g}" + (f" ({min(rivals):.4g})" if rivals else ""))
    return "; ".join(parts)
