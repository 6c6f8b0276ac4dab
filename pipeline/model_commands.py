"""`cubecast models`: the candidates of a world, what speaks for each, and the champion changed by hand, one command back."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline import api, clock
from pipeline.command_options import AsOf, By, JsonObject, Options, Seed, WorldName, example, read_instant, read_way, settings_of
from pipeline.settings import read_settings
from pipeline.stores.objects import ObjectStore
from pipeline.telemetry import progress_on

if TYPE_CHECKING:
    from pipeline.steps.champions import Change
    from pipeline.stores.registry import Registry

models_app = typer.Typer(help="The models of a world, and which of them is the champion.", no_args_is_help=True)

Model = Annotated[str, typer.Argument(help="A model's id, or an unambiguous beginning of it.", metavar="MODEL")]
Reason = Annotated[str, typer.Option(help="Why; kept in the log of champions for good.", metavar="TEXT")]
SinceWhen = Annotated[
    str | None,
    typer.Option(
        "--as-of",
        help="The instant from which the change holds; earlier instants keep their champion. "
        "By default now, and in a world of ended feeds the instant that its file names.",
        metavar="TIME",
    ),
]


@models_app.command("list", epilog=example("cubecast models list --world aarhus"))
def models_list(world: WorldName, as_of: AsOf = None, as_json: JsonObject = False) -> None:
    """Every candidate with its cut-off and scores, the champion now, and what is published per target."""
    from pipeline.model_lines import list_lines
    from pipeline.steps.candidates import list_candidates

    loaded = api.load_world(world)
    moment = read_instant(as_of, "--as-of", clock.clock_of(loaded))
    _say(list_candidates(_registry(loaded), loaded.name, moment), as_json, list_lines)


@models_app.command("show", epilog=example("cubecast models show 3f2a91c0 --world aarhus"))
def models_show(model: Model, world: WorldName, by: By = "all", as_json: JsonObject = False) -> None:
    """A model's card, its scorecard told apart as --by says, and the verdict on each target with every reason."""
    from pipeline.model_lines import show_lines
    from pipeline.steps.candidates import show_candidate

    loaded = api.load_world(world)
    _say(show_candidate(_registry(loaded), loaded, model), as_json, partial(show_lines, by=read_way(by)))


@models_app.command("explain", epilog=example("cubecast models explain 3f2a91c0 --world aarhus"))
def models_explain(
    world: WorldName,
    model: Annotated[str | None, typer.Argument(help="A model's id; by default the champion.", metavar="MODEL")] = None,
    as_of: AsOf = None,
    as_json: JsonObject = False,
) -> None:
    """How a model mixes: alpha per node, beta per node and lead, w per modality and lead; every number with --json."""
    from pipeline.model_lines import explain_lines
    from pipeline.steps.candidates import explain_candidate

    loaded = api.load_world(world)
    registry = _registry(loaded)
    chosen = model or registry.champion(read_instant(as_of, "--as-of", clock.clock_of(loaded))).model_id
    _say(explain_candidate(registry, loaded.name, chosen), as_json, explain_lines)


@models_app.command("export", epilog=example("cubecast models export 3f2a91c0 --world aarhus --out programs"))
def models_export(
    world: WorldName,
    out: Annotated[Path, typer.Option(help="The folder to write to; files of the same names are replaced.", metavar="FOLDER")],
    model: Annotated[str | None, typer.Argument(help="A model's id; by default the champion.", metavar="MODEL")] = None,
    as_of: AsOf = None,
    as_json: JsonObject = False,
) -> None:
    """A model as programs that need PyTorch alone, one a domain, each checked against the model; about a minute a domain."""
    from pipeline.model_lines import export_lines
    from pipeline.steps.portable import export_model

    loaded = api.load_world(world)
    chosen = model or _registry(loaded).champion(read_instant(as_of, "--as-of", clock.clock_of(loaded))).model_id
    with progress_on(sys.stderr, as_json=as_json) as progress:
        _say(export_model(loaded, read_settings(), chosen, out, progress), as_json, export_lines)


@models_app.command("search", epilog=example("cubecast models search --world aarhus --trials 30 --minutes 120 --set epochs=4"))
def models_search(
    world: WorldName,
    as_of: AsOf = None,
    trials: Annotated[int, typer.Option(help="Trials in all, those of earlier calls included.", min=1)] = 20,
    minutes: Annotated[float | None, typer.Option(help="Minutes after which this call begins no other trial.", min=0.0)] = None,
    recipe: Annotated[str | None, typer.Option(help="The recipe that is varied; by default the world's.")] = None,
    options: Options = None,
    seed: Seed = 0,
    as_json: JsonObject = False,
) -> None:
    """Search for better options of a recipe on the validation fold; killed or out of time, the same command goes on."""
    from pipeline.model_lines import search_lines
    from pipeline.steps.search import Wanted, search_options

    loaded = api.load_world(world)
    wanted = Wanted(
        as_of=read_instant(as_of, "--as-of", clock.issue_time_of(loaded)),
        recipe=recipe,
        options=settings_of(options or []),
        seed=seed,
        trials=trials,
        minutes=minutes,
    )
    with progress_on(sys.stderr, as_json=as_json) as progress:
        _say(search_options(loaded, read_settings(), wanted, progress), as_json, search_lines)


@models_app.command("compare", epilog=example("cubecast models compare 3f2a91c0 77b0e4d1 --world aarhus"))
def models_compare(
    first: Annotated[str, typer.Argument(help="A model's id.", metavar="A")],
    second: Annotated[str, typer.Argument(help="Its rival's id.", metavar="B")],
    world: WorldName,
    as_json: JsonObject = False,
) -> None:
    """The errors of two models on the held-out windows that both were scored on, and how sure the difference is."""
    from pipeline.model_lines import compare_lines
    from pipeline.steps.candidates import compare_candidates

    loaded = api.load_world(world)
    _say(compare_candidates(_registry(loaded), loaded.name, first, second), as_json, compare_lines)


@models_app.command(
    "promote",
    epilog=example('cubecast models promote 3f2a91c0 --world aarhus --as-of 2014-09-30T06:00Z --reason "agreed with the city"'),
)
def models_promote(model: Model, world: WorldName, reason: Reason, as_of: SinceWhen = None, as_json: JsonObject = False) -> None:
    """Name a model the champion by hand; per target its own scorecard decides what is published."""
    from pipeline.steps.champions import promote_by_hand

    loaded = api.load_world(world)
    moment = _since_when(loaded, as_of)
    _tell(promote_by_hand(_registry(loaded), loaded, model, as_of=moment, reason=reason), as_json)


@models_app.command(
    "rollback", epilog=example('cubecast models rollback --world aarhus --as-of 2014-09-30T06:00Z --reason "wrong at the harbour"')
)
def models_rollback(world: WorldName, reason: Reason, as_of: SinceWhen = None, as_json: JsonObject = False) -> None:
    """Name the previous champion again, with what was published then; the daily promotion does not undo it."""
    from pipeline.steps.champions import roll_back

    loaded = api.load_world(world)
    moment = _since_when(loaded, as_of)
    _tell(roll_back(_registry(loaded), loaded.name, as_of=moment, reason=reason), as_json)


@models_app.command(
    "approve", epilog=example('cubecast models approve 3f2a91c0 --world aarhus --as-of 2014-09-30T09:00Z --reason "seen by the desk"')
)
def models_approve(model: Model, world: WorldName, reason: Reason, as_of: SinceWhen = None, as_json: JsonObject = False) -> None:
    """Let a proposal that waits for a person come true; until then, and after its time-out, the champion stays."""
    from pipeline.steps.champions import approve

    loaded = api.load_world(world)
    _tell(approve(_registry(loaded), model, as_of=_since_when(loaded, as_of), reason=reason), as_json)


@models_app.command(
    "reject", epilog=example('cubecast models reject 3f2a91c0 --world aarhus --as-of 2014-09-30T09:00Z --reason "odd at night"')
)
def models_reject(model: Model, world: WorldName, reason: Reason, as_of: SinceWhen = None, as_json: JsonObject = False) -> None:
    """Let a proposal that waits for a person lapse; the champion stays."""
    from pipeline.model_lines import rejection_lines
    from pipeline.steps.champions import reject

    loaded = api.load_world(world)
    decision = reject(_registry(loaded), model, as_of=_since_when(loaded, as_of), reason=reason)
    _say({"outcome": "done", "decision": decision.model_dump(mode="json", exclude={"verdicts"})}, as_json, rejection_lines)


def _registry(world: api.World) -> Registry:
    from pipeline.stores.registry import Registry

    return Registry(ObjectStore(read_settings().store), world.name)


def _since_when(world: api.World, text: str | None) -> datetime:
    """The instant from which a change holds, in whole seconds, within the world's time."""
    moment = read_instant(text, "--as-of", clock.issue_time_of(world)).replace(microsecond=0)
    clock.check_issue_time(world, moment)
    return moment


def _say(content: dict[str, Any], as_json: bool, lines: Callable[[dict[str, Any]], str]) -> None:
    print(json.dumps(content, ensure_ascii=False) if as_json else lines(content), flush=True)


def _tell(change: Change, as_json: bool) -> None:
    from pipeline.model_lines import change_lines

    outcome = "done" if change.created else "unchanged"
    _say({"outcome": outcome, "promotion": change.promotion.model_dump(mode="json")}, as_json, change_lines)
