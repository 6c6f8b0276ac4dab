"""`cubecast scores`: what published forecasts scored against what came."""

from __future__ import annotations

import json
import sys
from typing import Annotated

import typer

from pipeline import api, clock
from pipeline.command_options import By, JsonObject, WorldName, example, read_instant, read_way
from pipeline.contracts.times import to_seconds
from pipeline.settings import read_settings
from pipeline.telemetry import progress_on

scores_app = typer.Typer(help="What published forecasts scored against what came.", no_args_is_help=True)

First = Annotated[str | None, typer.Option("--from", "--first", help="The first issue time; by default that of the first.", metavar="TIME")]
Last = Annotated[str | None, typer.Option("--to", "--last", help="The last issue time; by default now.", metavar="TIME")]


@scores_app.command("show", epilog=example("cubecast scores show --world aarhus --from 2014-09-01T00:00Z --by hour"))
def scores_show(world: WorldName, first: First = None, last: Last = None, by: By = "all", as_json: JsonObject = False) -> None:
    """Every figure of the forecasts issued in a period: what was published, the joint model and each baseline, on the same cells."""
    from pipeline.score_lines import score_tables
    from pipeline.steps.verified import show_scores

    loaded = api.load_world(world)
    now = clock.clock_of(loaded)
    start = to_seconds(read_instant(first, "--from", loaded.start))
    found = show_scores(read_settings(), loaded, start, to_seconds(read_instant(last, "--to", now)))
    said = f"{found['issue_times']:,} issue times verified, {found['observed']:,} of them with an observation"
    left_out = [f"{found['left_out']:,} issue times of other variables or leads are left out"] if found["left_out"] else []
    lines = [said, *left_out, *score_tables(found, read_way(by))]
    print(json.dumps(found, ensure_ascii=False) if as_json else "\n\n".join(lines), flush=True)


@scores_app.command("fast", epilog=example("cubecast scores fast --world aarhus --from 2014-09-01T00:00Z"))
def scores_fast(world: WorldName, first: First = None, last: Last = None, as_json: JsonObject = False) -> None:
    """MAE, RMSE, bias and pinball of what was published, straight from its arrays: nothing is kept, and nothing must fit in memory."""
    from pipeline.steps.quick_scores import quick_scores
    from pipeline.text_tables import table

    loaded = api.load_world(world)
    now = clock.clock_of(loaded)
    start, end = to_seconds(read_instant(first, "--from", loaded.start)), to_seconds(read_instant(last, "--to", now))
    with progress_on(sys.stderr, as_json=as_json) as progress:
        found = quick_scores(world, read_settings(), start, end, to_seconds(now), progress)
    titles = ("target", "lead", "MAE", "RMSE", "bias", "pinball", "n")
    rows = [
        (
            f"{row['domain']} {row['variable']}",
            str(row["lead"] or "all"),
            *("-" if row[k] is None else f"{row[k]:.4g}" for k in ("mae", "rmse", "bias", "pinball")),
            f"{row['n']:,}",
        )
        for row in found["rows"]
    ]
    print(json.dumps(found) if as_json else table(titles, rows), flush=True)
