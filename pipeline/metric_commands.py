"""`cubecast metrics`: what Prometheus scrapes."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Annotated, Any

import typer

from pipeline import api
from pipeline.command_options import WorldName, example
from pipeline.settings import read_settings
from pipeline.status import collect
from pipeline.stores.monitoring import MonitoringStore
from pipeline.stores.objects import ObjectStore
from pipeline.stores.receipts import Receipts

metrics_app = typer.Typer(help="Gauges for Prometheus: steps, rows, freshness, skill, training throughput.", no_args_is_help=True)


def state_of(world: api.World) -> dict[str, Any]:
    """What `cubecast status` says of a world."""
    store = read_settings().store
    objects = ObjectStore(store)
    return collect(world, store, Receipts(objects).newest(world.name), MonitoringStore(objects, world.name).standing())


def _states(worlds: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    for name in worlds:
        yield state_of(api.load_world(name))


@metrics_app.command("show", epilog=example("cubecast metrics show --world synthetic"))
def metrics_show(world: WorldName) -> None:
    """Print a world's gauges once, in Prometheus' text format."""
    from pipeline.metrics import exposition

    sys.stdout.write(exposition(lambda: _states((world,))).decode())


@metrics_app.command("serve", epilog=example("cubecast metrics serve --port 9464"))
def metrics_serve(
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="The port to listen on.", min=1, max=65535)] = 9464,
) -> None:
    """Answer Prometheus' scrapes for all worlds that CUBECAST_WORLDS names, until Ctrl-C."""
    from pipeline.metrics import serve

    print(f"metrics on http://{host}:{port}/metrics", file=sys.stderr, flush=True)
    serve(lambda: _states(api.scheduled_worlds()), host=host, port=port)
