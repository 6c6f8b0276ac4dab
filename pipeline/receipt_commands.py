"""`cubecast receipts`: what a step said of what it did, with its notes and details."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from pipeline import api, clock
from pipeline.command_options import AsOf, JsonObject, Source, WorldName, example, read_instant
from pipeline.contracts.times import format_instant
from pipeline.errors import NotYetAvailable
from pipeline.settings import read_settings
from pipeline.status import receipt_line
from pipeline.stores.objects import ObjectStore
from pipeline.stores.receipts import Receipts

receipts_app = typer.Typer(help="What each step said of what it did.", no_args_is_help=True)


@receipts_app.command("show", epilog=example("cubecast receipts show promote --world aarhus --as-of 2014-09-30T06:00Z"))
def receipts_show(
    step: Annotated[str, typer.Argument(help="The step, such as build_cube.", metavar="STEP")],
    world: WorldName,
    as_of: AsOf = None,
    source: Source = None,
    as_json: JsonObject = False,
) -> None:
    """The receipt of one step for one instant: counts, ids, paths, and all that it noted; exit code 75 where there is none."""
    loaded = api.load_world(world)
    moment = read_instant(as_of, "--as-of", clock.issue_time_of(loaded))
    record = Receipts(ObjectStore(read_settings().store)).find(loaded.name, moment, step.replace("-", "_"), source)
    if record is None:
        raise NotYetAvailable(
            asked=f"the receipt of {step} of {loaded.name} as of {format_instant(moment)}",
            found="none",
            mend=f"cubecast status --world {loaded.name} --days 7 shows when each step ran",
        )
    if as_json:
        print(json.dumps(record["receipt"], ensure_ascii=False), flush=True)
        return
    receipt = api.Receipt.model_validate(record["receipt"])
    parts = [receipt_line(receipt.model_copy(update={"notes": ()}), record["seconds"]), *receipt.notes]
    parts += [f"{name}: {value}" for name, value in (receipt.ids | receipt.paths).items()]
    print("\n  ".join([*parts, *json.dumps(receipt.details, indent=1, ensure_ascii=False).splitlines()]), flush=True)


@receipts_app.command("read", epilog=example("cubecast receipts read store/receipts/aarhus/2014-09/20140930T060000Z/promote.json"))
def receipts_read(
    paths: Annotated[list[str], typer.Argument(help="Where they lie, as a step's --json says: paths.receipt.", metavar="PATH ...")],
) -> None:
    """The receipts at these paths, each as one JSON object on a line of its own."""
    receipts = Receipts(ObjectStore(read_settings().store))
    for record in [receipts.at(path) for path in paths]:
        print(json.dumps(record["receipt"], ensure_ascii=False), flush=True)
